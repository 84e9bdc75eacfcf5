"""One container's status, in the words Kubernetes uses: waiting for what, running since when, ended how. Pure.

What is shown is what the runtime has; where it has nothing yet, or nothing any more, it is what stood in the way, or
what the API knew before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from agents.node.notes import Failure, Notes
from agents.node.restarts import is_init, is_sidecar, restart_at, restart_delay, should_restart
from agents.node.runtime_state import ContainerRecord, PodRuntime
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
)

CONTAINER_CREATING = "ContainerCreating"
POD_INITIALIZING = "PodInitializing"
CRASH_LOOP = "CrashLoopBackOff"
# So long a failure shows as itself; then as the waiting for the next attempt.
ERROR_SHOWN = timedelta(seconds=1)

_SHOWN_ITSELF = {"RunContainerError", "PostStartHookError"}
_LOST_EXIT_CODE = 137
_LOST_REASON = "ContainerStatusUnknown"
_LOST_MESSAGE = "The container could not be located when the pod was terminated"


def container_status(
    pod: Pod, container: Container, runtime: PodRuntime, notes: Notes, now: datetime, *, over: bool
) -> ContainerStatus:
    """`over`: nothing of the pod will be started again."""
    before = _known(pod, container.name)
    records = runtime.of(container.name)
    latest = records[0] if records else None
    if latest is None:
        return _without_record(pod, container, notes, now, before, over=over)
    status = ContainerStatus(
        name=container.name,
        restart_count=latest.attempt,
        image=latest.image or container.image,
        image_id=latest.image_ref,
        container_id=container_id(latest),
        started=False,
    )
    # Such an init container is ready when it has done its part; the others are while they run.
    one_time = is_init(pod, container.name) and not is_sidecar(container)
    previous = next((record for record in records[1:] if record.exited), None)
    if latest.running and container.name not in notes.starting:
        status.state.running.CopyFrom(_running(latest))
        status.started, healthy = _health(container, latest, notes, before)
        status.ready = healthy and not one_time
    elif latest.exited:
        waiting = None if over else _waiting_again(pod, container, latest, notes, now)
        if waiting is None:
            status.state.terminated.CopyFrom(_terminated(latest))
            status.ready = one_time and latest.exit_code == 0
        else:
            status.state.waiting.CopyFrom(waiting)
            previous = latest
    else:
        status.state.waiting.CopyFrom(_waiting(pod, container, notes, now))
    if previous is not None:
        status.last_state.terminated.CopyFrom(_terminated(previous))
    elif before is not None and before.container_id == status.container_id and before.HasField("last_state"):
        status.last_state.CopyFrom(before.last_state)
    return status


def container_id(record: ContainerRecord) -> str:
    return f"containerd://{record.id}"


def _without_record(
    pod: Pod, container: Container, notes: Notes, now: datetime, before: ContainerStatus | None, *, over: bool
) -> ContainerStatus:
    """The runtime has none: it was never made, or everything was lost, as when the machine was set up anew."""
    status = ContainerStatus(name=container.name, image=container.image, started=False)
    if before is not None and before.container_id:
        status.CopyFrom(before)
        status.ready = status.started = False
        if before.state.HasField("running"):
            lost = ContainerStateTerminated(
                exit_code=_LOST_EXIT_CODE,
                reason=_LOST_REASON,
                message=_LOST_MESSAGE,
                started_at=before.state.running.started_at,
                finished_at=_stamp(now),
                container_id=before.container_id,
            )
            status.state.CopyFrom(ContainerState(terminated=lost))
        if over:
            return status
        if status.state.HasField("terminated"):
            status.last_state.CopyFrom(status.state)
    status.state.CopyFrom(ContainerState(waiting=_waiting(pod, container, notes, now)))
    return status


def _waiting(pod: Pod, container: Container, notes: Notes, now: datetime) -> ContainerStateWaiting:
    """For the first start, or for what stands in its way."""
    failure = notes.failures.get(container.name)
    if failure is not None:
        return _after(container, failure, now)
    return ContainerStateWaiting(reason=POD_INITIALIZING if pod.spec.init_containers else CONTAINER_CREATING)


def _waiting_again(
    pod: Pod, container: Container, latest: ContainerRecord, notes: Notes, now: datetime
) -> ContainerStateWaiting | None:
    """For the next start of a container that has ended; None when it just has, or has for good."""
    failure = notes.failures.get(container.name)
    again = should_restart(pod, container, latest.exit_code)
    delay = restart_delay(latest)
    waits = again and delay > 0 and (now < restart_at(latest) or container.name in notes.starting)
    if failure is not None:
        # That a start had failed is shown for a moment; what counts then is that it fails again and again.
        just_now = now < failure.at + ERROR_SHOWN
        if just_now or not (waits and failure.reason in _SHOWN_ITSELF):
            return _after(container, failure, now)
    if not waits:
        return None
    metadata = pod.metadata
    message = (
        f"back-off {_span(delay)} restarting failed container={container.name} "
        f"pod={metadata.name}_{metadata.namespace}({metadata.uid})"
    )
    return ContainerStateWaiting(reason=CRASH_LOOP, message=message)


def _after(container: Container, failure: Failure, now: datetime) -> ContainerStateWaiting:
    if failure.reason == "ErrImagePull" and now >= failure.at + ERROR_SHOWN:
        message = f'Back-off pulling image "{container.image}": {failure.reason}: {failure.message}'
        return ContainerStateWaiting(reason="ImagePullBackOff", message=message)
    return ContainerStateWaiting(reason=failure.reason, message=failure.message)


def _running(record: ContainerRecord) -> ContainerStateRunning:
    return ContainerStateRunning(started_at=_stamp(record.started_at or record.created_at))


def _terminated(record: ContainerRecord) -> ContainerStateTerminated:
    return ContainerStateTerminated(
        exit_code=record.exit_code,
        reason=record.reason or ("Error" if record.exit_code else "Completed"),
        message=record.message,
        started_at=_stamp(record.started_at or record.created_at),
        finished_at=_stamp(record.finished_at or record.started_at or record.created_at),
        container_id=container_id(record),
    )


def _health(
    container: Container, record: ContainerRecord, notes: Notes, before: ContainerStatus | None
) -> tuple[bool, bool]:
    """(started, ready) of a running container. As long as its probes are silent, what the API knew of it holds."""
    started = not container.HasField("startup_probe")
    ready = started and not container.HasField("readiness_probe")
    if before is not None and before.container_id == container_id(record):
        started, ready = started or before.started, ready or before.ready
    health = notes.health.get(record.id)
    if health is not None:
        started = started if health.started is None else health.started
        ready = ready if health.ready is None else health.ready
    return started, started and ready


def _known(pod: Pod, name: str) -> ContainerStatus | None:
    """What the API has."""
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if status.name == name:
            return status
    return None


def _stamp(moment: datetime) -> Timestamp:
    # The API shows seconds; what it doesn't show must not make a difference either.
    return to_timestamp(moment.replace(microsecond=0))


def _span(seconds: float) -> str:
    """A time as Kubernetes writes it: 10s, 2m40s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
