"""Pod CIDRs: each node gets a /24 of the pod network, for as long as it exists.

All nodes are one subject, looked at by one worker, so that no two get the same network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.api.conventions import NODE_PREFIX, POD_NETWORK
from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.v1 import Node
from orchestrator.controllers.informers import Informers
from orchestrator.runtime import EventRecord, Plan
from orchestrator.runtime.reconciler import AnyInformer

ALL = "all"


@dataclass(frozen=True, slots=True)
class Observed:
    nodes: Sequence[Node]


def decide(seen: Observed, now: datetime) -> Plan:
    taken = {node.spec.pod_cidr for node in seen.nodes if node.spec.pod_cidr}
    free = (str(network) for network in POD_NETWORK.subnets(new_prefix=NODE_PREFIX) if str(network) not in taken)
    update: list[Node] = []
    events: list[EventRecord] = []
    for node in sorted(seen.nodes, key=lambda each: each.metadata.name):
        if node.spec.pod_cidr or node.metadata.HasField("deletion_timestamp"):
            continue
        network = next(free, None)
        if network is None:
            message = f"Node {node.metadata.name} gets no pod network: all of {POD_NETWORK} is given out"
            events.append(EventRecord(node, "Warning", "CIDRNotAvailable", message))
            continue
        assigned = clone(node)
        assigned.spec.pod_cidr = network
        assigned.spec.pod_cidrs.append(network)
        update.append(assigned)
    return Plan(update=update, events=events)


class PodCidrController:
    """Shows all nodes at once. Run it with one worker."""

    name = "pod-cidr-controller"

    def __init__(self, informers: Informers) -> None:
        self._nodes = informers.of(Node)

    def informers(self) -> Sequence[AnyInformer]:
        return (self._nodes,)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        return [ALL]

    def observe(self, key: str) -> Observed | None:
        return Observed(self._nodes.list())

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)
