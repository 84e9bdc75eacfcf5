"""Whether this node takes a pod that was given to it. Pure.

The scheduler has seen to it already, but from what it knew; and pods come here without a scheduler too. The node has
the last word, since it alone knows what runs on it. A pod that is refused has failed, and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agents.node.notes import Verdict
from agents.node.outcome import FAILED, SUCCEEDED
from agents.node.restarts import is_sidecar
from orchestrator.api.quantity import milli, whole
from orchestrator.api.v1 import Pod

_WILDCARDS = frozenset(("", "0.0.0.0", "::"))


def admit(pod: Pod, others: Iterable[Pod], allocatable: Mapping[str, str], labels: Mapping[str, str]) -> Verdict | None:
    """None when the node takes the pod. `others` are the pods it has taken, `labels` are the node's."""
    present = [each for each in others if each.status.phase not in (SUCCEEDED, FAILED)]
    for key, value in pod.spec.node_selector.items():
        if labels.get(key) != value:
            return Verdict(FAILED, "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed")
    taken = set(_host_ports(present))
    for wanted in _host_ports([pod]):
        if any(_collide(wanted, each) for each in taken):
            return Verdict(FAILED, "NodePorts", "Pod was rejected: Predicate NodePorts failed: a host port is taken")
    limit = whole(allocatable.get("pods", "0"))
    if limit and len(present) + 1 > limit:
        return _out_of("pods", 1, len(present), limit)
    for resource, wanted_amount in requests(pod).items():
        available = _amount(resource, allocatable.get(resource, "0"))
        used = sum(requests(each).get(resource, 0) for each in present)
        if wanted_amount and used + wanted_amount > available:
            return _out_of(resource, wanted_amount, used, available)
    return None


def requests(pod: Pod) -> dict[str, int]:
    """What the pod asks for: CPU in thousandths, everything else in units.

    Init containers run one by one before the others, sidecars beside all that come after them.
    """
    total: dict[str, int] = {}
    for container in pod.spec.containers:
        _add(total, _requested(container.resources.requests))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in pod.spec.init_containers:
        asked = _requested(container.resources.requests)
        if is_sidecar(container):
            _add(sidecars, asked)
        else:
            together = dict(sidecars)
            _add(together, asked)
            for resource, amount in together.items():
                peak[resource] = max(peak.get(resource, 0), amount)
    _add(total, sidecars)
    for resource, amount in peak.items():
        total[resource] = max(total.get(resource, 0), amount)
    _add(total, _requested(pod.spec.overhead))
    return total


def _requested(amounts: Mapping[str, str]) -> dict[str, int]:
    return {resource: _amount(resource, text) for resource, text in amounts.items()}


def _amount(resource: str, text: str) -> int:
    return milli(text) if resource == "cpu" else whole(text)


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for resource, amount in more.items():
        total[resource] = total.get(resource, 0) + amount


def _out_of(resource: str, requested: int, used: int, capacity: int) -> Verdict:
    message = (
        f"Pod was rejected: Node didn't have enough resource: {resource}, "
        f"requested: {requested}, used: {used}, capacity: {capacity}"
    )
    return Verdict(FAILED, f"OutOf{resource}", message)


_HostPort = tuple[str, int, str]


def _host_ports(pods: Iterable[Pod]) -> Iterator[_HostPort]:
    for pod in pods:
        for container in (*pod.spec.containers, *(each for each in pod.spec.init_containers if is_sidecar(each))):
            for port in container.ports:
                number = port.host_port or (port.container_port if pod.spec.host_network else 0)
                if number:
                    yield port.protocol or "TCP", number, port.host_ip


def _collide(one: _HostPort, other: _HostPort) -> bool:
    if one[:2] != other[:2]:
        return False
    return one[2] == other[2] or one[2] in _WILDCARDS or other[2] in _WILDCARDS
