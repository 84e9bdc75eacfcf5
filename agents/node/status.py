"""A pod's status, from what the runtime has and what the agent knows. Pure.

The phase sums up the containers, the conditions tell how far the pod has come and whether it can serve. Nothing is
remembered between two calls but what the API itself holds: when a condition last changed, when the pod was begun, which
conditions others have set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from agents.node.container_status import ERROR_SHOWN, container_status
from agents.node.notes import Notes, Verdict
from agents.node.outcome import FAILED, SUCCEEDED, is_deleted, verdict
from agents.node.restarts import is_sidecar
from agents.node.runtime_state import PodRuntime
from orchestrator.api.qos import qos_class
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus

PENDING = "Pending"
RUNNING = "Running"
OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def pod_status(pod: Pod, runtime: PodRuntime, notes: Notes, now: datetime, *, host_ips: Sequence[str]) -> PodStatus:
    """The whole status as it should be in the API now."""
    end = verdict(pod, runtime, notes, now) or _end_by_deletion(pod, runtime, notes)
    # What has begun to run is to end first; until then the pod takes its place on the node.
    over = end is not None and not runtime.running and not notes.starting
    inits = [
        container_status(pod, container, runtime, notes, now, over=end is not None)
        for container in pod.spec.init_containers
    ]
    mains = [
        container_status(pod, container, runtime, notes, now, over=end is not None) for container in pod.spec.containers
    ]
    status = PodStatus(
        observed_generation=pod.metadata.generation,
        init_container_statuses=inits,
        container_statuses=mains,
        qos_class=pod.status.qos_class or qos_class(pod.spec),
        nominated_node_name=pod.status.nominated_node_name,
    )
    status.start_time.CopyFrom(pod.status.start_time if pod.status.HasField("start_time") else _stamp(now))
    if end is not None and over:
        status.phase = end.phase
    else:
        status.phase = _phase(pod, inits, mains, runtime)
    if end is not None:
        status.reason, status.message = end.reason, end.message
    _set_addresses(status, pod, runtime, host_ips, over=over)
    status.conditions.extend(_conditions(pod, status, runtime, end, now))
    if over and not any(each.container_id for each in (*inits, *mains)):
        # Nothing has ever run: the reason is the pod's, and no container waits for anything.
        status.ClearField("container_statuses")
        status.ClearField("init_container_statuses")
    return status


def status_due(notes: Notes, now: datetime) -> datetime | None:
    """When the status next changes by time alone."""
    moments = [failure.at + ERROR_SHOWN for failure in notes.failures.values()]
    return min((moment for moment in moments if moment > now), default=None)


def _end_by_deletion(pod: Pod, runtime: PodRuntime, notes: Notes) -> Verdict | None:
    """How a pod under deletion has ended, once all its containers have."""
    if not is_deleted(pod) or runtime.running or notes.starting:
        return None
    records = [runtime.latest(container.name) for container in pod.spec.containers]
    codes = [record.exit_code for record in records if record is not None and record.exited]
    if len(codes) < len(records):
        return None
    return Verdict(FAILED if any(codes) else SUCCEEDED)


def _phase(pod: Pod, inits: Sequence[ContainerStatus], mains: Sequence[ContainerStatus], runtime: PodRuntime) -> str:
    """The phase of a pod that is to run, or whose deletion is under way."""
    if not all(_has_run(status) for status in mains):
        return PENDING
    # In a new sandbox everything begins again.
    return PENDING if _incomplete(pod, inits, runtime) else RUNNING


def _has_run(status: ContainerStatus) -> bool:
    return not status.state.HasField("waiting") or status.last_state.HasField("terminated")


def _incomplete(pod: Pod, inits: Sequence[ContainerStatus], runtime: PodRuntime) -> list[str]:
    """The init containers that are still to do their part."""
    if any(runtime.current(container.name) is not None for container in pod.spec.containers):
        # Whatever they show, it was done before these could begin.
        return []
    return [
        status.name
        for container, status in zip(pod.spec.init_containers, inits, strict=True)
        if not (status.started if is_sidecar(container) else status.ready)
    ]


def _set_addresses(status: PodStatus, pod: Pod, runtime: PodRuntime, host_ips: Sequence[str], *, over: bool) -> None:
    if host_ips:
        status.host_ip = host_ips[0]
        status.host_ips.extend(HostIP(ip=ip) for ip in host_ips)
    ips: Iterable[str] = runtime.ips
    if pod.spec.host_network and runtime.sandbox is not None:
        ips = host_ips
    elif over and not runtime.ips:
        # What it had, for people who look back.
        ips = [each.ip for each in pod.status.pod_ips]
    status.pod_ips.extend(PodIP(ip=ip) for ip in ips)
    if status.pod_ips:
        status.pod_ip = status.pod_ips[0].ip


def _conditions(
    pod: Pod, status: PodStatus, runtime: PodRuntime, end: Verdict | None, now: datetime
) -> list[PodCondition]:
    sandbox = runtime.sandbox
    networked = sandbox is not None and sandbox.ready and bool(status.pod_ips)
    incomplete = _incomplete(pod, status.init_container_statuses, runtime)
    unready = _unready(pod, status)
    containers_ready = _judged("ContainersReady", "containers with unready status", unready, "ContainersNotReady", end)
    wanted = [
        PodCondition(type="PodReadyToStartContainers", status=_truth(networked)),
        _judged("Initialized", "containers with incomplete status", incomplete, "ContainersNotInitialized", end),
        _ready(pod, containers_ready),
        containers_ready,
        PodCondition(type="PodScheduled", status="True"),
    ]
    if end is not None and end.phase == SUCCEEDED:
        wanted[1].CopyFrom(PodCondition(type="Initialized", status="True", reason="PodCompleted"))
    known = {condition.type: condition for condition in pod.status.conditions}
    for condition in wanted:
        condition.observed_generation = pod.metadata.generation
        before = known.get(condition.type)
        if before is not None and before.status == condition.status and before.HasField("last_transition_time"):
            condition.last_transition_time.CopyFrom(before.last_transition_time)
        else:
            condition.last_transition_time.CopyFrom(_stamp(now))
        if before is not None and before.HasField("last_probe_time"):
            condition.last_probe_time.CopyFrom(before.last_probe_time)
    # Others' conditions, as of readiness gates, stay as they are.
    return wanted + [condition for condition in pod.status.conditions if condition.type not in OWN_CONDITIONS]


def _unready(pod: Pod, status: PodStatus) -> list[str]:
    sidecars = [
        each.name
        for container, each in zip(pod.spec.init_containers, status.init_container_statuses, strict=True)
        if is_sidecar(container) and not each.ready
    ]
    return sidecars + [each.name for each in status.container_statuses if not each.ready]


def _judged(kind: str, words: str, names: Sequence[str], reason: str, end: Verdict | None) -> PodCondition:
    if not names:
        return PodCondition(type=kind, status="True")
    if end is not None and end.phase == SUCCEEDED:
        return PodCondition(type=kind, status="False", reason="PodCompleted")
    if end is not None:
        return PodCondition(type=kind, status="False", reason="PodFailed")
    return PodCondition(type=kind, status="False", reason=reason, message=f"{words}: [{' '.join(names)}]")


def _ready(pod: Pod, containers_ready: PodCondition) -> PodCondition:
    """The containers are, and every readiness gate is open."""
    condition = PodCondition(type="Ready", status="True")
    if containers_ready.status != "True":
        condition.CopyFrom(containers_ready)
        condition.type = "Ready"
        return condition
    found = {each.type: each.status for each in pod.status.conditions}
    faults = []
    for gate in pod.spec.readiness_gates:
        kind = gate.condition_type
        if kind not in found:
            faults.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found[kind] != "True":
            faults.append(f'the status of pod readiness gate "{kind}" is not "True", but {found[kind]}')
    if faults:
        condition.status, condition.reason, condition.message = "False", "ReadinessGatesNotReady", ", ".join(faults)
    return condition


def _truth(value: bool) -> str:
    return "True" if value else "False"


def _stamp(moment: datetime) -> Timestamp:
    return to_timestamp(moment.replace(microsecond=0))
