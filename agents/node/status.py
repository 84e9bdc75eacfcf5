"""The status of a pod, as the API shows it: phase, conditions, addresses, containers. Pure.

It is computed from what the runtime has and what the agent knows, never from an earlier computation; only what belongs
to others (foreign conditions) and what must not flicker (times of transitions, the start time, readiness over a
restart of the agent) is taken from the status that is there. The same inputs give the same status, so writing it can
be skipped when nothing has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agents.node.container_status import container_status, seconds
from agents.node.notes import Notes, Verdict
from agents.node.outcome import FAILED, SUCCEEDED, is_deleted, verdict
from agents.node.restarts import is_sidecar
from agents.node.runtime_state import PodRuntime
from orchestrator.api.qos import qos_class
from orchestrator.api.v1 import ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus

_OWN = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def pod_status(
    pod: Pod, runtime: PodRuntime, notes: Notes, now: datetime, *, host_ips: Sequence[str] = ()
) -> PodStatus:
    """`host_ips`: the node's addresses, the first one first."""
    old = pod.status
    end = verdict(pod, runtime, notes, now)
    over = end is not None or is_deleted(pod)
    inits = [
        container_status(
            pod, container, runtime, notes, now, initialized=False, over=over, old=_find(old, container.name)
        )
        for container in pod.spec.init_containers
    ]
    missing = _not_initialized(pod, inits, runtime)
    mains = [
        container_status(
            pod, container, runtime, notes, now, initialized=not missing, over=over, old=_find(old, container.name)
        )
        for container in pod.spec.containers
    ]
    status = PodStatus(
        observed_generation=pod.metadata.generation,
        init_container_statuses=inits,
        container_statuses=mains,
        qos_class=old.qos_class or qos_class(pod.spec),
        nominated_node_name=old.nominated_node_name,
        start_time=old.start_time if old.HasField("start_time") else seconds(now),
    )
    busy_ending = bool(runtime.running) and old.phase not in (SUCCEEDED, FAILED)
    if end is not None and not busy_ending:
        status.phase, status.reason, status.message = end.phase, end.reason, end.message
    elif is_deleted(pod) and _all_ended(mains) and not runtime.running:
        status.phase = FAILED if any(each.state.terminated.exit_code for each in mains) else SUCCEEDED
    else:
        status.phase = _phase(mains, initialized=not missing)
    _set_addresses(status, pod, runtime, host_ips, over=over)
    final = Verdict(status.phase) if status.phase in (SUCCEEDED, FAILED) else None
    _set_conditions(status, pod, runtime, missing, final, now)
    return status


def _find(status: PodStatus, name: str) -> ContainerStatus | None:
    for each in (*status.container_statuses, *status.init_container_statuses):
        if each.name == name:
            return each
    return None


def _not_initialized(pod: Pod, inits: Sequence[ContainerStatus], runtime: PodRuntime) -> list[str]:
    """The init containers that the others still wait for."""
    if any(runtime.current(container.name) is not None for container in pod.spec.containers):
        return []
    missing = []
    for container, status in zip(pod.spec.init_containers, inits, strict=True):
        done = status.started if is_sidecar(container) else status.ready
        if not done:
            missing.append(container.name)
    return missing


def _all_ended(statuses: Sequence[ContainerStatus]) -> bool:
    return all(each.state.HasField("terminated") for each in statuses)


def _phase(mains: Sequence[ContainerStatus], *, initialized: bool) -> str:
    begun = all(
        each.state.HasField("running") or each.state.HasField("terminated") or each.last_state.HasField("terminated")
        for each in mains
    )
    return "Running" if initialized and begun else "Pending"


def _set_addresses(status: PodStatus, pod: Pod, runtime: PodRuntime, host_ips: Sequence[str], *, over: bool) -> None:
    if host_ips:
        status.host_ip = host_ips[0]
        status.host_ips.extend(HostIP(ip=ip) for ip in host_ips)
    ips: Sequence[str] = runtime.ips
    if pod.spec.host_network and runtime.sandbox is not None:
        ips = host_ips
    elif not ips and over:
        ips = [each.ip for each in pod.status.pod_ips]
    if ips:
        status.pod_ip = ips[0]
        status.pod_ips.extend(PodIP(ip=ip) for ip in ips)


def _set_conditions(
    status: PodStatus, pod: Pod, runtime: PodRuntime, missing: Sequence[str], end: Verdict | None, now: datetime
) -> None:
    scheduled = next((each for each in pod.status.conditions if each.type == "PodScheduled"), None)
    found = [
        _sandbox_condition(runtime),
        _initialized(missing, end),
        _ready(pod, status, end),
        _containers_ready(status, pod, end),
        scheduled or PodCondition(type="PodScheduled", status="True"),
    ]
    before = {each.type: each for each in pod.status.conditions}
    for condition in found:
        condition.observed_generation = pod.metadata.generation
        earlier = before.get(condition.type)
        if earlier is not None and earlier.status == condition.status:
            condition.last_transition_time.CopyFrom(earlier.last_transition_time)
        else:
            condition.last_transition_time.CopyFrom(seconds(now))
    status.conditions.extend(found)
    status.conditions.extend(each for each in pod.status.conditions if each.type not in _OWN)


def _condition(kind: str, status: bool, reason: str = "", message: str = "") -> PodCondition:
    return PodCondition(type=kind, status="True" if status else "False", reason=reason, message=message)


def _sandbox_condition(runtime: PodRuntime) -> PodCondition:
    return _condition("PodReadyToStartContainers", runtime.sandbox is not None and runtime.sandbox.ready)


def _initialized(missing: Sequence[str], end: Verdict | None) -> PodCondition:
    if end is not None and end.phase == SUCCEEDED:
        return _condition("Initialized", True, "PodCompleted")
    if missing:
        message = f"containers with incomplete status: [{' '.join(missing)}]"
        return _condition("Initialized", False, "ContainersNotInitialized", message)
    return _condition("Initialized", True)


def _containers_ready(status: PodStatus, pod: Pod, end: Verdict | None) -> PodCondition:
    reason, message = _why_unready(status, pod, end)
    return _condition("ContainersReady", not reason, reason, message)


def _ready(pod: Pod, status: PodStatus, end: Verdict | None) -> PodCondition:
    reason, message = _why_unready(status, pod, end)
    if not reason:
        faults = []
        for gate in pod.spec.readiness_gates:
            found = next((each for each in pod.status.conditions if each.type == gate.condition_type), None)
            if found is None:
                faults.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
            elif found.status != "True":
                faults.append(
                    f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {found.status}'
                )
        if faults:
            reason, message = "ReadinessGatesNotReady", ", ".join(faults)
    return _condition("Ready", not reason, reason, message)


def _why_unready(status: PodStatus, pod: Pod, end: Verdict | None) -> tuple[str, str]:
    if end is not None:
        return ("PodCompleted", "") if end.phase == SUCCEEDED else ("PodFailed", "")
    sidecars = {container.name for container in pod.spec.init_containers if is_sidecar(container)}
    counted = [each for each in status.init_container_statuses if each.name in sidecars]
    unready = [each.name for each in (*counted, *status.container_statuses) if not each.ready]
    if unready:
        return "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return "", ""
