"""Pod garbage collection: pods whose node does not exist any more will not be ended by anybody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.api.kinds import KubeObject
from orchestrator.api.v1 import Node, Pod
from orchestrator.clock import Clock
from orchestrator.controllers.informers import Informers
from orchestrator.controllers.pods import node_of
from orchestrator.controllers.silence import Silence
from orchestrator.runtime import Deletion, Plan
from orchestrator.runtime.reconciler import AnyInformer

# A node that registers anew under its old name gets this long to do so.
QUARANTINE_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Observed:
    pods: Sequence[Pod]  # bound to a node that is not there
    missing_seconds: float


def decide(seen: Observed, now: datetime) -> Plan:
    if not seen.pods:
        return Plan()
    if seen.missing_seconds < QUARANTINE_SECONDS:
        return Plan(requeue_after=QUARANTINE_SECONDS - seen.missing_seconds)
    return Plan(delete=[Deletion(pod, grace_period_seconds=0) for pod in seen.pods])


class PodGarbageCollector:
    """Shows the pods of each node that is missing, and for how long it has been."""

    name = "pod-garbage-collector"

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._nodes = informers.of(Node)
        self._pods = informers.of(Pod)
        self._pods.add_index("node", node_of)
        self._silence = Silence(clock)

    def informers(self) -> Sequence[AnyInformer]:
        return (self._nodes, self._pods)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        if isinstance(obj, Node):
            return [obj.metadata.name]
        name = obj.spec.node_name if isinstance(obj, Pod) else ""
        return [name] if name and self._nodes.get("", name) is None else []

    def observe(self, key: str) -> Observed | None:
        pods = self._pods.by_index("node", key)
        if self._nodes.get("", key) is not None or not pods:
            self._silence.forget(key)
            return None
        return Observed(pods, self._silence.seconds(key, "missing"))

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)
