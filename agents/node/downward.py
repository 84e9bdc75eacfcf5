"""What a pod can learn about itself: its own fields and its containers' resources, as text.

The same rules serve environment variables and files of downwardAPI volumes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from agents.node.errors import ConfigError
from orchestrator.api.quantity import parse_quantity
from orchestrator.api.v1 import Container, Pod, ResourceFieldSelector

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the node knows about the pod before the API does."""

    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    # What the node offers to pods: the limit of a container that has none.
    allocatable: Mapping[str, str] = field(default_factory=dict)


def field_value(pod: Pod, path: str, facts: Facts) -> str:
    """The field of a fieldRef."""
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        entries = pod.metadata.labels if subscript[1] == "labels" else pod.metadata.annotations
        return entries.get(subscript[2], "")
    match path:
        case "metadata.name":
            return pod.metadata.name
        case "metadata.namespace":
            return pod.metadata.namespace
        case "metadata.uid":
            return pod.metadata.uid
        case "metadata.labels":
            return _lines(pod.metadata.labels)
        case "metadata.annotations":
            return _lines(pod.metadata.annotations)
        case "spec.nodeName":
            return pod.spec.node_name
        case "spec.serviceAccountName":
            return pod.spec.service_account_name
        case "status.hostIP":
            return facts.host_ips[0] if facts.host_ips else ""
        case "status.hostIPs":
            return ",".join(facts.host_ips)
        case "status.podIP":
            return facts.pod_ips[0] if facts.pod_ips else ""
        case "status.podIPs":
            return ",".join(facts.pod_ips)
        case _:
            raise ConfigError(f"unsupported fieldPath: {path}")


def resource_value(pod: Pod, container: Container | None, selector: ResourceFieldSelector, facts: Facts) -> str:
    """The resource of a resourceFieldRef, in units of its divisor, rounded up.

    `container` is the one that asks; the selector may name another.
    """
    if selector.container_name:
        container = _container(pod, selector.container_name)
    if container is None:
        raise ConfigError(f"resource {selector.resource} needs a containerName")
    what, _, resource = selector.resource.partition(".")
    match what:
        case "limits":
            amount = container.resources.limits.get(resource) or facts.allocatable.get(resource, "0")
        case "requests":
            amount = container.resources.requests.get(resource, "0")
        case _:
            raise ConfigError(f"unsupported container resource: {selector.resource}")
    divisor = parse_quantity(selector.divisor).value if selector.divisor else Decimal(0)
    units = parse_quantity(amount).value / (divisor or Decimal(1))
    return str(int(units.to_integral_value(ROUND_CEILING)))


def _container(pod: Pod, name: str) -> Container:
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        if container.name == name:
            return container
    raise ConfigError(f"container {name} not found")


def _lines(entries: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={json.dumps(entries[key], ensure_ascii=False)}" for key in sorted(entries))
