"""What of a pod matters to the scheduler, as one hashable value: pods of equal shape are decided together.

Requests count as in Kubernetes: containers and restartable init containers (sidecars) run side by side and add up; an
init container runs alone beside the sidecars started before it, so the largest such moment counts; overhead is added.
CPU is in thousandths, everything else in whole units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.api.quantity import milli, whole
from orchestrator.api.selectors import Operator, Requirement
from orchestrator.api.v1 import Container, NodeSelectorTerm, Pod, PodSpec

CPU, MEMORY, PODS = "cpu", "memory", "pods"

# What a container without requests is taken to use when nodes are compared, so that such pods spread as well.
ASSUMED_CPU = 100
ASSUMED_MEMORY = 200 * 1024 * 1024
# Beyond any machine, and far enough from 2**63 that sums of a node's pods stay exact.
LARGEST = 1 << 53
ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node that a pod wants."""

    address: str
    protocol: str
    port: int

    def clashes(self, other: HostPort) -> bool:
        same_port = self.port == other.port and self.protocol == other.protocol
        return same_port and (self.address == other.address or ANY_ADDRESS in (self.address, other.address))


@dataclass(frozen=True, slots=True)
class Toleration:
    """Which taints a pod does not mind. Empty parts match everything, as in the API."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, key: str, value: str, effect: str) -> bool:
        if self.effect not in ("", effect) or self.key not in ("", key):
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == value)


@dataclass(frozen=True, slots=True)
class Term:
    """Requirements on a node's labels and on its name; all must hold. Without any, it matches no node."""

    labels: tuple[Requirement, ...]
    names: tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class PodShape:
    """Everything about a pod that decides where it may and should run."""

    requests: tuple[tuple[str, int], ...]
    scored_cpu: int
    scored_memory: int
    node_selector: tuple[Requirement, ...] = ()
    # None: no required affinity. Empty: no node will do.
    required: tuple[Term, ...] | None = None
    preferred: tuple[tuple[int, Term], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    ports: tuple[HostPort, ...] = ()
    # The uid of what controls the pod: pods of one owner should not share a node.
    owner: str = ""


def shape_of(pod: Pod) -> PodShape:
    spec = pod.spec
    requests = pod_requests(spec)
    assumed = _total(spec, {CPU: ASSUMED_CPU, MEMORY: ASSUMED_MEMORY})
    affinity = spec.affinity.node_affinity
    required = None
    if affinity.HasField("required_during_scheduling_ignored_during_execution"):
        terms = affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
        required = tuple(map(_term, terms))
    return PodShape(
        requests=tuple(sorted((name, amount) for name, amount in requests.items() if amount)),
        scored_cpu=assumed[CPU],
        scored_memory=assumed[MEMORY],
        node_selector=tuple(
            Requirement(key, Operator.IN, frozenset({value})) for key, value in sorted(spec.node_selector.items())
        ),
        required=required,
        preferred=tuple(
            (each.weight, _term(each.preference))
            for each in affinity.preferred_during_scheduling_ignored_during_execution
        ),
        tolerations=tuple(Toleration(each.key, each.operator, each.value, each.effect) for each in spec.tolerations),
        ports=tuple(host_ports(spec)),
        owner=next((owner.uid for owner in pod.metadata.owner_references if owner.controller), ""),
    )


def pod_requests(spec: PodSpec) -> Mapping[str, int]:
    """What the pod takes of a node, itself included as one of `pods`."""
    return _total(spec, {}) + Counter({PODS: 1})


def host_ports(spec: PodSpec) -> Iterable[HostPort]:
    sidecars = (container for container in spec.init_containers if container.restart_policy == "Always")
    for container in (*spec.containers, *sidecars):
        for port in container.ports:
            if port.host_port:
                yield HostPort(port.host_ip or ANY_ADDRESS, port.protocol or "TCP", port.host_port)


def amount(resource: str, text: str) -> int:
    """A quantity in the scheduler's units."""
    return min(LARGEST, milli(text) if resource == CPU else whole(text))


def _total(spec: PodSpec, absent: Mapping[str, int]) -> Counter[str]:
    sidecars: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    for container in spec.init_containers:
        own = _container(container, absent)
        if container.restart_policy == "Always":
            sidecars.update(own)
            peak |= sidecars
        else:
            peak |= sidecars + own
    running = Counter(sidecars)
    for container in spec.containers:
        running.update(_container(container, absent))
    total = running | peak
    total.update({name: amount(name, text) for name, text in spec.overhead.items()})
    for name in total:
        total[name] = min(LARGEST, total[name])
    return total


def _container(container: Container, absent: Mapping[str, int]) -> Counter[str]:
    stated = {name: amount(name, text) for name, text in container.resources.requests.items()}
    return Counter({**absent, **stated})


def _term(term: NodeSelectorTerm) -> Term:
    return Term(
        tuple(Requirement(e.key, Operator(e.operator), frozenset(e.values)) for e in term.match_expressions),
        tuple(Requirement(e.key, Operator(e.operator), frozenset(e.values)) for e in term.match_fields),
    )
