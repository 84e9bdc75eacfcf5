"""Whether a pod is over, and how it ended. Pure; the planner and the status ask the same question here.

A pod whose phase is Succeeded or Failed never runs again, whatever else changes: the API's word is final, so the
decision survives the agent and the runtime.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from agents.node.notes import Notes, Verdict
from agents.node.restarts import is_sidecar, should_restart
from agents.node.runtime_state import PodRuntime
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Pod

SUCCEEDED = "Succeeded"
FAILED = "Failed"


def verdict(pod: Pod, runtime: PodRuntime, notes: Notes, now: datetime) -> Verdict | None:
    """How the pod has ended or is to end; None while it is to run."""
    if pod.status.phase in (SUCCEEDED, FAILED):
        return Verdict(pod.status.phase, pod.status.reason, pod.status.message)
    if notes.refused is not None:
        return notes.refused
    due = deadline(pod)
    if due is not None and now >= due:
        return Verdict(FAILED, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
    return _finished(pod, runtime)


def deadline(pod: Pod) -> datetime | None:
    """When activeDeadlineSeconds are over."""
    if not pod.spec.HasField("active_deadline_seconds") or not pod.status.HasField("start_time"):
        return None
    return to_datetime(pod.status.start_time) + timedelta(seconds=pod.spec.active_deadline_seconds)


def is_deleted(pod: Pod) -> bool:
    return pod.metadata.HasField("deletion_timestamp")


def _finished(pod: Pod, runtime: PodRuntime) -> Verdict | None:
    if (pod.spec.restart_policy or "Always") == "Always":
        return None
    if pod.spec.restart_policy == "Never":
        for container in pod.spec.init_containers:
            record = runtime.latest(container.name)
            if record is not None and record.exited and record.exit_code and not is_sidecar(container):
                return Verdict(FAILED)
    lost = _lost(pod, runtime)
    codes = []
    for container in pod.spec.containers:
        record = runtime.latest(container.name)
        if record is None:
            if not lost:
                return None
            codes.append(1)
        elif not record.exited or should_restart(pod, container, record.exit_code):
            return None
        else:
            codes.append(record.exit_code)
    return Verdict(FAILED if any(codes) else SUCCEEDED)


def _lost(pod: Pod, runtime: PodRuntime) -> bool:
    """The sandbox of a pod that is never restarted has died after containers were in it: the others can't start."""
    sandbox = runtime.sandbox
    return (
        pod.spec.restart_policy == "Never"
        and sandbox is not None
        and not sandbox.ready
        and any(runtime.latest(container.name) is not None for container in pod.spec.containers)
    )
