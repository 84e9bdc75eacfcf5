"""Pod garbage collection: removes pods that nobody else will ever remove.

Those are the pods of a node that does not exist any more, since nobody is there to end them, and the oldest of the
finished ones when there are too many of them, since they are only kept for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from orchestrator.api.kinds import KubeObject
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Node, Pod
from orchestrator.clock import Clock
from orchestrator.controllers.informers import Informers
from orchestrator.controllers.pods import FINISHED, node_of
from orchestrator.controllers.silence import Silence
from orchestrator.runtime import Deletion, Plan
from orchestrator.runtime.reconciler import AnyInformer

# A node that registers anew under its old name gets this long to do so.
QUARANTINE_SECONDS = 40.0
# So many finished pods are kept (Kubernetes' default for its terminated-pod-gc-threshold).
FINISHED_LIMIT = 12_500
# The key under which finished pods are looked at; no node can be called this.
ALL_FINISHED = "finished pods"


@dataclass(frozen=True, slots=True)
class Lost:
    """Pods bound to a node that is not there."""

    pods: Sequence[Pod]
    missing_seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """All finished pods."""

    pods: Sequence[Pod]


Observed: TypeAlias = Lost | Finished


def decide(seen: Observed, now: datetime) -> Plan:
    match seen:
        case Lost(pods, missing_seconds):
            if pods and missing_seconds < QUARANTINE_SECONDS:
                return Plan(requeue_after=QUARANTINE_SECONDS - missing_seconds)
            removed = pods
        case Finished(pods):
            surplus = max(0, len(pods) - FINISHED_LIMIT)
            removed = sorted(pods, key=_age)[:surplus] if surplus else ()
    return Plan(delete=[Deletion(pod, grace_period_seconds=0) for pod in removed])


def _age(pod: Pod) -> tuple[datetime, str, str]:
    return to_datetime(pod.metadata.creation_timestamp), pod.metadata.namespace, pod.metadata.name


class PodGarbageCollector:
    """Shows the pods of each node that is missing, with how long it has been, and the finished ones."""

    name = "pod-garbage-collector"

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._nodes = informers.of(Node)
        self._pods = informers.of(Pod)
        self._pods.add_index("node", node_of)
        self._pods.add_index("finished", _finished)
        self._silence = Silence(clock)

    def informers(self) -> Sequence[AnyInformer]:
        return (self._nodes, self._pods)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        if isinstance(obj, Node):
            return [obj.metadata.name]
        if not isinstance(obj, Pod):
            return []
        name = obj.spec.node_name
        missing = [name] if name and self._nodes.get("", name) is None else []
        return [*missing, *_finished(obj)]

    def observe(self, key: str) -> Observed | None:
        if key == ALL_FINISHED:
            return Finished(self._pods.by_index("finished", ALL_FINISHED))
        pods = self._pods.by_index("node", key)
        if self._nodes.get("", key) is not None or not pods:
            self._silence.forget(key)
            return None
        return Lost(pods, self._silence.seconds(key, "missing"))

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)


def _finished(pod: Pod) -> Sequence[str]:
    return [ALL_FINISHED] if pod.status.phase in FINISHED else []
