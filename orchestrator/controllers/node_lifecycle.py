"""Node lifecycle: says when a node is lost, keeps pods off it, and takes away those that can't stay.

A node is heard of by its Lease and by the heartbeat in its conditions. When neither has changed for 40 seconds, the
node's conditions become Unknown and its pods are no longer ready. Taints follow the conditions, and pods that don't
tolerate a NoExecute taint are deleted: at once, or when the time their toleration grants has passed.

When no node at all is ready, the fault is more likely on this side, and there is nowhere to go: then nobody is made to
leave (Kubernetes calls this full disruption), and pods stay as ready as they were: to take them out of their Services
would end traffic that may well flow, without sending it anywhere better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.api.conventions import LEASE_NAMESPACE, NOT_READY, UNREACHABLE, UNSCHEDULABLE
from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.timestamps import to_datetime, to_timestamp
from orchestrator.api.v1 import Lease, Node, NodeCondition, Pod, Taint, Toleration
from orchestrator.clock import Clock
from orchestrator.controllers.informers import Informers
from orchestrator.controllers.pods import FINISHED, condition, node_of
from orchestrator.controllers.silence import Silence
from orchestrator.runtime import Deletion, EventRecord, Plan
from orchestrator.runtime.reconciler import AnyInformer

GRACE_SECONDS = 40.0
_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_NO_SCHEDULE = {
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}
_OURS = frozenset((NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_NO_SCHEDULE.values()))


@dataclass(frozen=True, slots=True)
class Observed:
    node: Node
    pods: Sequence[Pod]  # bound to it
    silent_seconds: float  # since anything was heard of it
    others_ready: bool = True  # whether any other node is ready


def decide(seen: Observed, now: datetime) -> Plan:
    node = seen.node
    lost = seen.silent_seconds >= GRACE_SECONDS
    told = _lost(node, now) if lost else node
    ready = _status(told, "Ready")
    update: list[KubeObject] = []
    events: list[EventRecord] = []
    taints = _taints(told, ready, now, evict=seen.others_ready)
    if taints != list(node.spec.taints):
        tainted = clone(node)
        del tainted.spec.taints[:]
        tainted.spec.taints.extend(taints)
        update.append(tainted)
    statuses: list[KubeObject] = []
    if told is not node:
        statuses.append(told)
        if _status(node, "Ready") == "True":
            message = f"Node {node.metadata.name} status is now: NodeNotReady"
            events.append(EventRecord(node, "Normal", "NodeNotReady", message))
    # A node that says itself that it is not ready tells of its pods too.
    if lost and seen.others_ready:
        statuses += [_not_ready(pod, now) for pod in seen.pods if _claims_ready(pod)]
    # A taint takes effect once it is on the node: until then somebody may know better.
    effective = [taint for taint in taints if taint in node.spec.taints]
    delete, next_eviction = _evictions(seen.pods, effective, now)
    events += [
        EventRecord(
            each.obj,
            "Normal",
            "TaintManagerEviction",
            f"Marking for deletion Pod {each.obj.metadata.namespace}/{each.obj.metadata.name}",
        )
        for each in delete
    ]
    waits = [] if lost else [GRACE_SECONDS - seen.silent_seconds]
    waits += [next_eviction] if next_eviction is not None else []
    return Plan(
        update=update, update_status=statuses, delete=delete, events=events, requeue_after=min(waits, default=None)
    )


def _status(node: Node, kind: str) -> str:
    return next((each.status for each in node.status.conditions if each.type == kind), "")


def _is_ready(node: Node) -> bool:
    return _status(node, "Ready") == "True"


def _heartbeat(node: Node) -> float:
    """When the node says that it last told of itself: any other time than before is a sign of life."""
    return max((to_datetime(each.last_heartbeat_time).timestamp() for each in node.status.conditions), default=0.0)


def _lost(node: Node, now: datetime) -> Node:
    """The node with its conditions Unknown; itself when they are already."""
    if all(_status(node, kind) == "Unknown" for kind in _CONDITIONS):
        return node
    told = clone(node)
    for kind in _CONDITIONS:
        known = next((each for each in told.status.conditions if each.type == kind), None)
        if known is None:
            known = told.status.conditions.add(type=kind)
        if known.status != "Unknown":
            _make_unknown(known, now)
    return told


def _make_unknown(known: NodeCondition, now: datetime) -> None:
    never = not known.status
    known.status = "Unknown"
    known.reason = "NodeStatusNeverUpdated" if never else "NodeStatusUnknown"
    known.message = "Kubelet never posted node status." if never else "Kubelet stopped posting node status."
    known.last_transition_time.CopyFrom(to_timestamp(now.replace(microsecond=0)))


def _taints(node: Node, ready: str, now: datetime, *, evict: bool) -> list[Taint]:
    """The node's taints with ours as its conditions want them. The times of those that stay are kept."""
    wanted: list[tuple[str, str]] = []
    if ready != "True":
        key = UNREACHABLE if ready == "Unknown" else NOT_READY
        wanted = [(key, "NoSchedule"), (key, "NoExecute")] if ready and evict else [(key, "NoSchedule")]
    wanted += [(key, "NoSchedule") for kind, key in _NO_SCHEDULE.items() if _status(node, kind) == "True"]
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    taints = [each for each in node.spec.taints if each.key not in _OURS or (each.key, each.effect) in wanted]
    present = {(each.key, each.effect) for each in taints}
    stamp = to_timestamp(now.replace(microsecond=0))
    for key, effect in wanted:
        if (key, effect) not in present:
            taints.append(Taint(key=key, effect=effect, time_added=stamp))
    return taints


def _claims_ready(pod: Pod) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready.status == "True" and pod.status.phase not in FINISHED


def _not_ready(pod: Pod, now: datetime) -> Pod:
    told = clone(pod)
    ready = condition(told, "Ready")
    assert ready is not None
    ready.status = "False"
    ready.reason = "NodeNotReady"
    ready.last_transition_time.CopyFrom(to_timestamp(now.replace(microsecond=0)))
    return told


def _evictions(pods: Iterable[Pod], taints: Sequence[Taint], now: datetime) -> tuple[list[Deletion], float | None]:
    """The pods that have to go now, and the seconds until the next one has to."""
    executing = [taint for taint in taints if taint.effect == "NoExecute"]
    delete: list[Deletion] = []
    waits: list[float] = []
    if not executing:
        return delete, None
    for pod in pods:
        if pod.metadata.HasField("deletion_timestamp") or pod.status.phase in FINISHED:
            continue
        moment = _tolerated_until(pod.spec.tolerations, executing, now)
        if moment is None:
            continue
        if moment <= now:
            delete.append(Deletion(pod))
        else:
            waits.append((moment - now).total_seconds())
    return delete, min(waits, default=None)


def _tolerated_until(tolerations: Sequence[Toleration], taints: Sequence[Taint], now: datetime) -> datetime | None:
    """When a pod has to leave a node with these NoExecute taints; None: never."""
    limits: list[datetime] = []
    for taint in taints:
        matching = [each for each in tolerations if tolerates(each, taint)]
        if not matching:
            return now
        granted = [each.toleration_seconds for each in matching if each.HasField("toleration_seconds")]
        if granted:
            since = to_datetime(taint.time_added) if taint.HasField("time_added") else now
            limits.append(since + timedelta(seconds=max(0, min(granted))))
    return min(limits, default=None)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a toleration covers a taint (an empty key with Exists covers all, an empty effect every effect)."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


class NodeLifecycleController:
    """Shows each node its pods, and how long nothing was heard of it."""

    name = "node-lifecycle-controller"

    def __init__(self, informers: Informers, clock: Clock) -> None:
        self._nodes = informers.of(Node)
        self._leases = informers.of(Lease)
        self._pods = informers.of(Pod)
        self._pods.add_index("node", node_of)
        self._silence = Silence(clock)

    def informers(self) -> Sequence[AnyInformer]:
        return (self._nodes, self._leases, self._pods)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        match obj:
            case Node():
                # Whether those that are not ready have to be left depends on whether others are.
                return [obj.metadata.name, *(each.metadata.name for each in self._nodes.list() if not _is_ready(each))]
            case Lease():
                return [obj.metadata.name] if obj.metadata.namespace == LEASE_NAMESPACE else []
            case Pod() if obj.spec.node_name:
                return [obj.spec.node_name]
            case _:
                return []

    def observe(self, key: str) -> Observed | None:
        node = self._nodes.get("", key)
        if node is None:
            self._silence.forget(key)
            return None
        lease = self._leases.get(LEASE_NAMESPACE, key)
        mark = f"{lease.metadata.resource_version if lease is not None else ''} {_heartbeat(node)}"
        others_ready = any(_is_ready(each) for each in self._nodes.list() if each is not node)
        return Observed(node, self._pods.by_index("node", key), self._silence.seconds(key, mark), others_ready)

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)
