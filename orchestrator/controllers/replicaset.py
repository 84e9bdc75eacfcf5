"""ReplicaSet: keep the wanted number of pods, choosing the cheapest ones to delete.

Pods that match the selector and belong to nobody are adopted, pods that stopped matching are let go. What is told in
the status counts pods that are not on their way out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from orchestrator.api.generated_names import with_suffix
from orchestrator.api.kinds import KubeObject, clone, key_of
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import ObjectMeta, Pod, ReplicaSet, ReplicaSetStatus
from orchestrator.client import Informer
from orchestrator.controllers.informers import Informers
from orchestrator.controllers.ownership import (
    claim,
    controller_key,
    controller_of,
    controller_uid,
    orphaned_in,
    owner_reference,
)
from orchestrator.controllers.pods import FINISHED, available_at, is_active, is_available, is_ready, ready_since
from orchestrator.runtime import Deletion, EventRecord, Plan
from orchestrator.runtime.reconciler import AnyInformer

# At most so many pods are made or removed in one step: the next look takes the next step.
BURST = 500
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Observed:
    replica_set: ReplicaSet
    pods: Sequence[Pod]  # owned by it or by nobody, in any order
    siblings: Sequence[Pod] = ()  # of the other ReplicaSets of the same Deployment


def decide(seen: Observed, now: datetime) -> Plan:
    replica_set = seen.replica_set
    query = from_label_selector(replica_set.spec.selector)
    alive = [pod for pod in seen.pods if pod.status.phase not in FINISHED]
    claims = claim(replica_set, alive, lambda pod: query.matches(pod.metadata.labels))
    if claims.updates:
        return Plan(update=claims.updates)
    active = [pod for pod in claims.owned if is_active(pod)]
    create: list[Pod] = []
    delete: list[Pod] = []
    if not replica_set.metadata.HasField("deletion_timestamp"):
        missing = replica_set.spec.replicas - len(active)
        names = pod_names(replica_set, {pod.metadata.name for pod in seen.pods})
        create = [pod_from_template(replica_set, name) for name in islice(names, max(0, min(missing, BURST)))]
        delete = deletion_order(active, seen.siblings)[: min(-missing, BURST)] if missing < 0 else []
    status = _status(replica_set, claims.owned, active, now)
    changed = status != replica_set.status
    return Plan(
        create=create,
        delete=[Deletion(pod) for pod in delete],
        update_status=[_with_status(replica_set, status)] if changed else [],
        events=[
            *(_told(replica_set, "SuccessfulCreate", f"Created pod: {pod.metadata.name}") for pod in create),
            *(_told(replica_set, "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}") for pod in delete),
        ],
        requeue_after=_next_available(active, replica_set.spec.min_ready_seconds, now),
    )


def pod_names(replica_set: ReplicaSet, taken: Set[str]) -> Iterator[str]:
    """Endless names for new pods, always the same ones for the same view: creating twice creates once."""
    seed = "/".join((replica_set.metadata.uid, replica_set.metadata.resource_version, *sorted(taken)))
    rng = random.Random(seed)
    while True:
        name = with_suffix(replica_set.metadata.name, rng)
        if name not in taken:
            yield name


def pod_from_template(replica_set: ReplicaSet, name: str) -> Pod:
    """A new pod of the set."""
    template = replica_set.spec.template
    pod = Pod(
        metadata=ObjectMeta(
            name=name,
            generate_name=f"{replica_set.metadata.name}-",
            namespace=replica_set.metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=[owner_reference(replica_set)],
        )
    )
    pod.spec.CopyFrom(template.spec)
    return pod


def deletion_order(pods: Sequence[Pod], siblings: Iterable[Pod] = ()) -> list[Pod]:
    """Pods in the order in which they are given up: first those whose loss costs least.

    Not yet on a node, not running, not ready, declared cheap, crowded on their node (siblings count), ready or alive
    for the shortest time, most often restarted. (The order of Kubernetes' ActivePodsWithRanks.)
    """
    crowd = Counter(pod.spec.node_name for pod in (*pods, *siblings) if pod.spec.node_name and is_active(pod))

    def rank(pod: Pod) -> tuple[object, ...]:
        ready = is_ready(pod)
        since = ready_since(pod) or _LONG_AGO
        restarts = max((status.restart_count for status in pod.status.container_statuses), default=0)
        return (
            bool(pod.spec.node_name),
            {"Pending": 0, "Unknown": 1}.get(pod.status.phase, 2),
            ready,
            _deletion_cost(pod.metadata.annotations),
            -crowd[pod.spec.node_name] if pod.spec.node_name else 0,
            -since.timestamp() if ready else 0.0,
            -restarts,
            -to_datetime(pod.metadata.creation_timestamp).timestamp(),
            pod.metadata.name,
        )

    return sorted(pods, key=rank)


def _deletion_cost(annotations: Mapping[str, str]) -> int:
    try:
        return int(annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _told(replica_set: ReplicaSet, reason: str, message: str) -> EventRecord:
    return EventRecord(replica_set, "Normal", reason, message)


def _status(replica_set: ReplicaSet, owned: Sequence[Pod], active: Sequence[Pod], now: datetime) -> ReplicaSetStatus:
    wanted = dict(replica_set.spec.template.metadata.labels)
    min_ready = replica_set.spec.min_ready_seconds
    ready = [pod for pod in active if is_ready(pod)]
    leaving = [pod for pod in owned if pod.metadata.HasField("deletion_timestamp")]
    status = ReplicaSetStatus()
    status.CopyFrom(replica_set.status)
    status.replicas = len(active)
    status.fully_labeled_replicas = sum(_has_labels(pod, wanted) for pod in active)
    status.ready_replicas = len(ready)
    status.available_replicas = sum(is_available(pod, min_ready, now) for pod in ready) if min_ready else len(ready)
    status.terminating_replicas = len(leaving)
    status.observed_generation = replica_set.metadata.generation
    return status


def _has_labels(pod: Pod, wanted: Mapping[str, str]) -> bool:
    labels = pod.metadata.labels
    return all(labels.get(key) == value for key, value in wanted.items())


def _with_status(replica_set: ReplicaSet, status: ReplicaSetStatus) -> ReplicaSet:
    changed = clone(replica_set)
    changed.status.CopyFrom(status)
    return changed


def _next_available(pods: Iterable[Pod], min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until the next ready pod counts as available."""
    if not min_ready_seconds:
        return None
    moments = (available_at(pod, min_ready_seconds) for pod in pods)
    return min(((moment - now).total_seconds() for moment in moments if moment and moment > now), default=None)


class ReplicaSetController:
    """Shows each ReplicaSet its pods."""

    name = "replicaset-controller"

    def __init__(self, informers: Informers) -> None:
        self._sets = informers.of(ReplicaSet)
        self._pods: Informer[Pod] = informers.of(Pod)
        self._sets.add_index("controller", controller_uid)
        self._pods.add_index("controller", controller_uid)
        self._pods.add_index("orphans", orphaned_in)

    def informers(self) -> Sequence[AnyInformer]:
        return (self._sets, self._pods)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        if isinstance(obj, ReplicaSet):
            return [key_of(obj)]
        if controller_of(obj) is not None:
            return controller_key(obj, "ReplicaSet")
        labels = obj.metadata.labels
        return [
            key_of(each)
            for each in self._sets.list(obj.metadata.namespace)
            if from_label_selector(each.spec.selector).matches(labels)
        ]

    def observe(self, key: str) -> Observed | None:
        replica_set = self._sets.get_by_key(key)
        if replica_set is None:
            return None
        owned = self._pods.by_index("controller", replica_set.metadata.uid)
        orphans = self._pods.by_index("orphans", replica_set.metadata.namespace)
        owner = controller_of(replica_set)
        siblings = [
            pod
            for each in (self._sets.by_index("controller", owner.uid) if owner is not None else ())
            if each is not replica_set
            for pod in self._pods.by_index("controller", each.metadata.uid)
        ]
        return Observed(replica_set, [*owned, *orphans], siblings)

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)
