"""Is this object allowed? Its faults all at once, but not hundreds, each with its path, in Kubernetes' wording.

`validate` looks at one object, after defaults; `validate_update` at a change from one to the next: what may not change;
`validate_status` at what a component reports. All are pure, and an update must pass the first two. What depends on
other objects (a free node port, an existing namespace) is not decided here.

Each kind's rules are in the file of its group. They are generators of faults over (message, path), so that a Pod and
the template of a Deployment share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import cast

from orchestrator.api import names
from orchestrator.api.errors import FieldError, not_supported, required
from orchestrator.api.kinds import K, KubeObject, as_message, kind_of
from orchestrator.api.names import NameRule
from orchestrator.api.v1 import (
    Binding,
    ConfigMap,
    Deployment,
    EndpointSlice,
    Event,
    Lease,
    Namespace,
    Node,
    Pod,
    ReplicaSet,
    Scale,
    Secret,
    Service,
    ServiceAccount,
)
from orchestrator.api.validation import (
    apps,
    config,
    coordination,
    discovery,
    event,
    meta,
    namespace,
    node,
    pod,
    service,
)
from orchestrator.api.validation.wellformed import wellformed

Faults = Iterator[FieldError]

MAX_FAULTS = 50


@dataclass(frozen=True, slots=True)
class _Rules:
    """What is asked of objects of one kind."""

    check: Callable[[KubeObject], Faults]
    check_update: Callable[[KubeObject, KubeObject], Faults]
    name_rule: NameRule


def validate(obj: KubeObject) -> list[FieldError]:
    """What is wrong with an object; empty when it may be stored."""
    rules = _RULES[type(obj)]
    return _first(
        meta.metadata(obj.metadata, namespaced=kind_of(obj).namespaced, name_rule=rules.name_rule),
        rules.check(obj),
        wellformed(as_message(obj), ""),
    )


def validate_update(new: K, old: K) -> list[FieldError]:
    """The changes that are not allowed. `new` must pass `validate` too."""
    return _first(meta.metadata_update(new.metadata, old.metadata), _RULES[type(new)].check_update(new, old))


def validate_status(obj: KubeObject) -> list[FieldError]:
    """What is wrong with the status that a component reports: amounts, addresses and times that are none."""
    match obj:
        case Node():
            faults = node.node_status(obj.status)
        case Pod():
            faults = pod.pod_status(obj.status)
        case Service():
            faults = service.service_status(obj.status)
        case _:
            faults = iter(())
    return _first(faults, wellformed(as_message(obj), ""))


def _first(*faults: Faults) -> list[FieldError]:
    """Rules are generators: what nobody wants to read is not looked for."""
    return list(islice(chain(*faults), MAX_FAULTS))


_RULES: dict[type[KubeObject], _Rules] = {}


def _nothing(obj: KubeObject) -> Faults:
    return iter(())


def _free(new: KubeObject, old: KubeObject) -> Faults:
    return iter(())


def _kind(
    message: type[K],
    check: Callable[[K], Faults] = _nothing,
    update: Callable[[K, K], Faults] = _free,
    name: NameRule = names.subdomain,
) -> None:
    _RULES[message] = _Rules(
        cast(Callable[[KubeObject], Faults], check), cast(Callable[[KubeObject, KubeObject], Faults], update), name
    )


def _binding(obj: Binding) -> Faults:
    if obj.target.kind not in {"", "Node"}:
        yield not_supported("target.kind", obj.target.kind, ["Node", "<empty>"])
    if not obj.target.name:
        yield required("target.name")


_kind(Pod, pod.pod, pod.pod_update)
_kind(Node, node.node, node.node_update)
_kind(Namespace, namespace.namespace, name=names.label)
_kind(Service, service.service, service.service_update, name=names.label_1035)
_kind(ConfigMap, config.config_map, config.config_map_update)
_kind(Secret, config.secret, config.secret_update)
_kind(ServiceAccount)
_kind(Event, event.event)
_kind(EndpointSlice, discovery.endpoint_slice, discovery.endpoint_slice_update)
_kind(Lease, coordination.lease)
_kind(ReplicaSet, apps.replica_set, apps.replica_set_update)
_kind(Deployment, apps.deployment, apps.deployment_update)
_kind(Binding, _binding)
_kind(Scale, apps.scale)
