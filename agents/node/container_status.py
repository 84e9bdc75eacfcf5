"""The status of one container, as the API shows it. Pure.

A container is waiting (and why), running, or has ended (and how); a container that is started again keeps how it last
ended beside that.
"""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from agents.node.container_config import container_hash
from agents.node.notes import Notes
from agents.node.plan import has_started
from agents.node.restarts import is_init, is_sidecar, restart_at, restart_delay, should_restart
from agents.node.runtime_state import ContainerRecord, PodRuntime
from orchestrator.api.v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
)

RUNTIME = "containerd"


def container_status(
    pod: Pod,
    container: Container,
    runtime: PodRuntime,
    notes: Notes,
    now: datetime,
    *,
    initialized: bool,
    over: bool,
    old: ContainerStatus | None,
) -> ContainerStatus:
    """`over`: the pod is never to start anything again; `old` is what was reported last."""
    latest = runtime.latest(container.name)
    if latest is None and over and old is not None and old.container_id:
        # The runtime has forgotten it; the API's memory is all there is.
        kept = ContainerStatus()
        kept.CopyFrom(old)
        if kept.state.HasField("running"):
            kept.last_state.Clear()
            kept.state.CopyFrom(_vanished(old))
        kept.ready = kept.started = False
        return kept
    status = ContainerStatus(name=container.name, image=container.image, started=False)
    if latest is None:
        status.state.waiting.CopyFrom(_waiting(pod, container, notes, now, initialized=initialized))
        if old is not None and old.container_id:
            status.restart_count = old.restart_count
            status.last_state.CopyFrom(_vanished(old) if old.state.HasField("running") else old.state)
        return status
    status.restart_count = latest.attempt
    status.container_id = f"{RUNTIME}://{latest.id}"
    status.image_id = latest.image_ref
    previous = next((record for record in runtime.of(container.name)[1:] if record.exited), None)
    if previous is not None:
        status.last_state.terminated.CopyFrom(terminated(previous))
    elif old is not None and old.container_id == status.container_id:
        status.last_state.CopyFrom(old.last_state)
    if latest.running:
        status.state.running.CopyFrom(ContainerStateRunning(started_at=seconds(latest.started_at or latest.created_at)))
        status.started = has_started(container, latest, notes)
        status.ready = status.started and _ready(container, latest, notes, old)
    elif latest.exited:
        status.state.CopyFrom(_after_end(pod, container, latest, runtime, notes, now, initialized, over))
        if not status.state.HasField("terminated"):
            status.last_state.Clear()
            status.last_state.terminated.CopyFrom(terminated(latest))
        elif is_init(pod, container.name) and not is_sidecar(container):
            status.ready = latest.exit_code == 0
    else:
        status.state.waiting.CopyFrom(_waiting(pod, container, notes, now, initialized=initialized))
    return status


def terminated(record: ContainerRecord) -> ContainerStateTerminated:
    return ContainerStateTerminated(
        exit_code=record.exit_code,
        reason=record.reason or ("Error" if record.exit_code else "Completed"),
        message=record.message,
        started_at=seconds(record.started_at or record.created_at),
        finished_at=seconds(record.finished_at or record.created_at),
        container_id=f"{RUNTIME}://{record.id}",
    )


def seconds(moment: datetime) -> Timestamp:
    """The API's times have whole seconds."""
    return Timestamp(seconds=int(moment.timestamp()))


def in_words(duration: float) -> str:
    """5m0s, 1m20s, 40s."""
    minutes, rest = divmod(int(duration), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _after_end(
    pod: Pod,
    container: Container,
    latest: ContainerRecord,
    runtime: PodRuntime,
    notes: Notes,
    now: datetime,
    initialized: bool,
    over: bool,
) -> ContainerState:
    ended = ContainerState(terminated=terminated(latest))
    if over or not should_restart(pod, container, latest.exit_code):
        return ended
    if container.name in notes.failures:
        return ContainerState(waiting=_waiting(pod, container, notes, now, initialized=initialized))
    if runtime.current(container.name) is None:
        return ContainerState(waiting=_waiting(pod, container, notes, now, initialized=initialized))
    if latest.hash == container_hash(container) and now < restart_at(latest):
        wait = in_words(restart_delay(latest))
        where = f"pod={pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
        message = f"back-off {wait} restarting failed container={container.name} {where}"
        return ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff", message=message))
    return ended


def _waiting(
    pod: Pod, container: Container, notes: Notes, now: datetime, *, initialized: bool
) -> ContainerStateWaiting:
    failure = notes.failures.get(container.name)
    if failure is not None:
        if failure.reason == "ErrImagePull" and now >= failure.shown_until:
            message = f'Back-off pulling image "{container.image}": ErrImagePull: {failure.message}'
            return ContainerStateWaiting(reason="ImagePullBackOff", message=message)
        return ContainerStateWaiting(reason=failure.reason, message=failure.message)
    first = not pod.spec.init_containers or pod.spec.init_containers[0].name == container.name
    return ContainerStateWaiting(reason="ContainerCreating" if initialized or first else "PodInitializing")


def _ready(container: Container, record: ContainerRecord, notes: Notes, old: ContainerStatus | None) -> bool:
    if not container.HasField("readiness_probe"):
        return True
    health = notes.health.get(record.id)
    if health is not None and health.ready is not None:
        return health.ready
    # An agent that was restarted has not asked yet; what was true before holds until then.
    return old is not None and old.ready and old.container_id == f"{RUNTIME}://{record.id}"


def _vanished(old: ContainerStatus) -> ContainerState:
    """How a container ended that the runtime knows nothing of any more."""
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=137,
            reason="ContainerStatusUnknown",
            message="The container could not be located when the pod was terminated",
            started_at=old.state.running.started_at,
            container_id=old.container_id,
        )
    )
