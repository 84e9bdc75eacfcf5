"""The row of a pod: what its many statuses come to, in the words of `kubectl get pods`.

STATUS is the most telling of the pod's reason, its init containers' progress or trouble and its containers' trouble;
a pod being deleted is Terminating whatever else it is. RESTARTS counts the containers that matter now: the init
containers (while the pod initializes), otherwise the sidecars and the containers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api.ages import age
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Container, ContainerState, ContainerStatus, Pod


@dataclass(slots=True)
class _Tally:
    """What has been counted so far."""

    ready: int = 0
    restarts: int = 0
    last_restart: datetime | None = None

    def add_restarts(self, status: ContainerStatus) -> None:
        self.restarts += status.restart_count
        if status.last_state.HasField("terminated"):
            self._note(status.last_state.terminated.finished_at)

    def _note(self, finished: Timestamp) -> None:
        moment = to_datetime(finished)
        if finished.seconds and (self.last_restart is None or moment > self.last_restart):
            self.last_restart = moment


@dataclass(frozen=True, slots=True)
class PodSummary:
    """A pod in four cells."""

    ready: str
    status: str
    restarts: str
    readiness_gates: str


def is_sidecar(container: Container) -> bool:
    """Whether an init container keeps running beside the others."""
    return container.restart_policy == "Always"


def summarize(pod: Pod, now: datetime) -> PodSummary:
    """Ready containers, the state in a word, restarts with the time of the last one, and readiness gates passed."""
    status = pod.status.reason or pod.status.phase
    conditions = {condition.type: condition for condition in pod.status.conditions}
    scheduled = conditions.get("PodScheduled")
    if scheduled is not None and scheduled.reason == "SchedulingGated":
        status = "SchedulingGated"

    sidecars = {container.name for container in pod.spec.init_containers if is_sidecar(container)}
    tally, trouble = _initialization(pod, sidecars)
    initialized = "Initialized" in conditions and conditions["Initialized"].status == "True"
    if trouble is not None:
        status = trouble
    if trouble is None or initialized:
        tally = _Tally(ready=tally.ready)
        for each in pod.status.init_container_statuses:
            if each.name in sidecars:
                tally.add_restarts(each)
        ready_condition = "Ready" in conditions and conditions["Ready"].status == "True"
        status = _containers(pod, tally, status, ready_condition=ready_condition)
    if pod.metadata.HasField("deletion_timestamp"):
        if pod.status.reason == "NodeLost":
            status = "Unknown"
        elif pod.status.phase not in ("Succeeded", "Failed"):
            status = "Terminating"

    restarts = str(tally.restarts)
    if tally.restarts and tally.last_restart is not None:
        restarts = f"{restarts} ({age(now, tally.last_restart)} ago)"
    gates = [gate.condition_type for gate in pod.spec.readiness_gates]
    passed = sum(1 for gate in gates if gate in conditions and conditions[gate].status == "True")
    return PodSummary(
        ready=f"{tally.ready}/{len(pod.spec.containers) + len(sidecars)}",
        status=status,
        restarts=restarts,
        readiness_gates=f"{passed}/{len(gates)}" if gates else "<none>",
    )


def _initialization(pod: Pod, sidecars: set[str]) -> tuple[_Tally, str | None]:
    """The first init container that is not through, as a status; None when all are."""
    tally = _Tally()
    for index, each in enumerate(pod.status.init_container_statuses):
        tally.add_restarts(each)
        state = each.state
        if state.HasField("terminated") and state.terminated.exit_code == 0:
            continue
        if each.name in sidecars and each.started:
            tally.ready += each.ready
            continue
        if state.HasField("terminated"):
            return tally, f"Init:{_how_it_ended(state)}"
        if state.waiting.reason not in ("", "PodInitializing"):
            return tally, f"Init:{state.waiting.reason}"
        return tally, f"Init:{index}/{len(pod.spec.init_containers)}"
    return tally, None


def _containers(pod: Pod, tally: _Tally, status: str, *, ready_condition: bool) -> str:
    """Counts the containers; the status is that of the first one in trouble, or `status` when none is."""
    running = False
    for each in reversed(pod.status.container_statuses):
        tally.add_restarts(each)
        if each.state.waiting.reason:
            status = each.state.waiting.reason
        elif each.state.HasField("terminated"):
            status = _how_it_ended(each.state)
        elif each.ready and each.state.HasField("running"):
            running = True
            tally.ready += 1
    if status == "Completed" and running:
        return "Running" if ready_condition else "NotReady"
    return status


def _how_it_ended(state: ContainerState) -> str:
    ended = state.terminated
    if ended.reason:
        return ended.reason
    return f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}"
