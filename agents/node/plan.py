"""The heart of the node agent: what to do next about one pod. Pure.

Given what is wanted (the API's pod), what there is (the runtime's containers) and what the agent knows besides,
`plan_pod` says which operations to begin now and when to look again. Operations run side by side and take their time;
what is under way is part of the input, so planning again in the meantime begins nothing twice. Once everything is as
it should be the plan is empty.

Promises: of one name there is never more than one container running; containers start only in a running sandbox and
after the init containers; what has ended for good is never started again; a container gets the grace period it was
promised, which shrinks when the deletion becomes more urgent and never grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agents.node.container_config import container_hash
from agents.node.notes import SANDBOX, Notes
from agents.node.outcome import deadline, is_deleted, verdict
from agents.node.restarts import crashes_before_next, is_sidecar, next_attempt, restart_at, should_restart
from agents.node.runtime_state import ContainerRecord, PodRuntime, State
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Container, Pod

DEFAULT_GRACE_SECONDS = 30
# What containers get whose pod has vanished from the API without a grace period.
ORPHAN_GRACE_SECONDS = 1
# The newest containers of a name that are kept: for its status, its logs, and the logs before.
KEPT = 2
# How far the clocks of server and node may differ before it shortens a grace period.
CLOCK_SKEW = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """`replaces` are older ones whose network has to be taken down first."""

    attempt: int
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """Create a container and start it in the sandbox."""

    name: str
    attempt: int
    sandbox_id: str
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class Kill:
    """Stop a running container: its preStop hook, the stop signal, and at the deadline SIGKILL."""

    container_id: str
    name: str
    deadline: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Actions:
    """What to begin now. Nothing in it waits for anything else in it."""

    create_sandbox: CreateSandbox | None = None
    start: tuple[Start, ...] = ()
    kill: tuple[Kill, ...] = ()
    # Dead containers and dead sandboxes that nobody needs any more, by id.
    remove: tuple[str, ...] = ()
    stop_sandboxes: tuple[str, ...] = ()
    remove_sandboxes: tuple[str, ...] = ()
    # Starts under way are given up as far as they have not reached the runtime.
    give_up_starts: bool = False
    # Nothing is left in the runtime of a pod that is to go: its files go, and then the API's object.
    finish: bool = False
    look_again_at: datetime | None = None

    @property
    def idle(self) -> bool:
        """Nothing is to be done now."""
        return replace(self, look_again_at=None, give_up_starts=False) == Actions()


@dataclass(slots=True)
class _Draft:
    """Actions while they are being collected."""

    create_sandbox: CreateSandbox | None = None
    start: list[Start] = field(default_factory=list)
    kill: list[Kill] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    stop_sandboxes: list[str] = field(default_factory=list)
    remove_sandboxes: list[str] = field(default_factory=list)
    look_again_at: datetime | None = None

    def look_again(self, moment: datetime) -> None:
        self.look_again_at = moment if self.look_again_at is None else min(self.look_again_at, moment)

    def actions(self) -> Actions:
        return Actions(
            create_sandbox=self.create_sandbox,
            start=tuple(self.start),
            kill=tuple(self.kill),
            remove=tuple(self.remove),
            stop_sandboxes=tuple(self.stop_sandboxes),
            remove_sandboxes=tuple(self.remove_sandboxes),
            look_again_at=self.look_again_at,
        )


def plan_pod(pod: Pod, runtime: PodRuntime, notes: Notes, now: datetime) -> Actions:
    """What to begin now for a pod that the API has."""
    if is_deleted(pod):
        return _plan_removal(pod.spec.init_containers, runtime, notes, deletion_deadline(pod, notes, now))
    if verdict(pod, runtime, notes, now) is not None:
        return _plan_end(pod, runtime, notes, now + timedelta(seconds=grace_seconds(pod)))
    return _plan_running(pod, runtime, notes, now)


def plan_orphan(runtime: PodRuntime, notes: Notes, now: datetime) -> Actions:
    """What to begin now for a pod that the API doesn't have any more."""
    since = notes.deletion_seen or now
    return _plan_removal((), runtime, notes, since + timedelta(seconds=ORPHAN_GRACE_SECONDS))


def grace_seconds(pod: Pod) -> int:
    if pod.spec.HasField("termination_grace_period_seconds"):
        return pod.spec.termination_grace_period_seconds
    return DEFAULT_GRACE_SECONDS


def deletion_deadline(pod: Pod, notes: Notes, now: datetime) -> datetime:
    """When the containers of a pod under deletion are killed.

    Counted from when the deletion was first seen, so that clocks that differ a little take no grace away; an agent that
    was down meanwhile goes by the API's time.
    """
    grace = timedelta(seconds=pod.metadata.deletion_grace_period_seconds)
    seen = notes.deletion_seen or now
    return min(seen + grace, to_datetime(pod.metadata.deletion_timestamp) + CLOCK_SKEW)


def _plan_removal(
    init_containers: Sequence[Container], runtime: PodRuntime, notes: Notes, kill_at: datetime
) -> Actions:
    kills = _kill_all(init_containers, runtime, notes, kill_at, "")
    if kills or runtime.running or notes.busy:
        return Actions(kill=kills, give_up_starts=True)
    if not runtime.empty:
        return Actions(
            remove_sandboxes=tuple(sandbox.id for sandbox in runtime.sandboxes),
            # A container whose sandbox has already gone.
            remove=() if runtime.sandboxes else tuple(record.id for record in runtime.containers),
            give_up_starts=True,
        )
    return Actions(finish=True, give_up_starts=True)


def _plan_end(pod: Pod, runtime: PodRuntime, notes: Notes, kill_at: datetime) -> Actions:
    kills = _kill_all(pod.spec.init_containers, runtime, notes, kill_at, "")
    if kills or runtime.running or notes.busy:
        return Actions(kill=kills, give_up_starts=True)
    # What is left of the containers stays for their status and logs, until the pod is deleted.
    return Actions(stop_sandboxes=tuple(sandbox.id for sandbox in runtime.sandboxes if sandbox.ready))


def _kill_all(
    init_containers: Sequence[Container], runtime: PodRuntime, notes: Notes, kill_at: datetime, why: str
) -> tuple[Kill, ...]:
    """Sidecars end after those they serve, in the reverse of the order in which they started."""
    sidecars = [container.name for container in init_containers if is_sidecar(container)]
    others = [record for record in runtime.running if record.name not in sidecars]
    if others:
        return _kills(others, notes, kill_at, why)
    for name in reversed(sidecars):
        records = [record for record in runtime.running if record.name == name]
        if records:
            return _kills(records, notes, kill_at, why)
    return ()


def _kills(records: Iterable[ContainerRecord], notes: Notes, kill_at: datetime, why: str) -> tuple[Kill, ...]:
    return tuple(
        Kill(record.id, record.name, kill_at, why)
        for record in records
        if record.id not in notes.stopping or notes.stopping[record.id] > kill_at
    )


def _plan_running(pod: Pod, runtime: PodRuntime, notes: Notes, now: datetime) -> Actions:
    draft = _Draft()
    due = deadline(pod)
    if due is not None:
        draft.look_again(due)
    sandbox = runtime.sandbox
    if sandbox is None or not sandbox.ready:
        _plan_sandbox(pod, runtime, notes, now, draft)
        return draft.actions()
    _remove_old(pod, runtime, notes, draft)
    containers, initialized = _init_containers(pod, runtime, notes)
    if initialized:
        containers = [*containers, *pod.spec.containers]
    for container in containers:
        _plan_container(pod, container, runtime, notes, now, draft)
    return draft.actions()


def _plan_sandbox(pod: Pod, runtime: PodRuntime, notes: Notes, now: datetime, draft: _Draft) -> None:
    if notes.busy:
        return
    if runtime.running:
        # Their network has lost its keeper; they end as they would in a deletion.
        kill_at = now + timedelta(seconds=grace_seconds(pod))
        draft.kill += _kill_all(pod.spec.init_containers, runtime, notes, kill_at, "Pod sandbox has died")
        return
    failure = notes.failures.get(SANDBOX)
    if failure is not None and now < failure.retry_at:
        draft.look_again(failure.retry_at)
        return
    newest = runtime.sandbox
    attempt = 0 if newest is None else newest.attempt + 1
    draft.create_sandbox = CreateSandbox(attempt, tuple(each.id for each in runtime.sandboxes))


def _remove_old(pod: Pod, runtime: PodRuntime, notes: Notes, draft: _Draft) -> None:
    """Sandboxes and containers that have successors, and containers that were created and never started."""
    kept = {
        record.id
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        for record in runtime.of(container.name)[:KEPT]
    }
    latest = {record.id for record in runtime.containers if runtime.latest(record.name) == record}
    for sandbox in runtime.sandboxes[1:]:
        inside = {record.id for record in runtime.containers if record.sandbox_id == sandbox.id}
        if not inside & latest and sandbox.id not in notes.removing:
            draft.remove_sandboxes.append(sandbox.id)
    for record in runtime.containers:
        gone = record.sandbox_id in draft.remove_sandboxes or record.id in notes.removing
        half_made = record.state in (State.CREATED, State.UNKNOWN) and record.name not in notes.starting
        surplus = record.exited and record.id not in kept
        if (half_made or surplus) and not gone:
            draft.remove.append(record.id)


def _init_containers(pod: Pod, runtime: PodRuntime, notes: Notes) -> tuple[list[Container], bool]:
    """The init containers to look after now, and whether the others may start."""
    begun = any(runtime.current(container.name) is not None for container in pod.spec.containers)
    wanted: list[Container] = []
    for container in pod.spec.init_containers:
        record = runtime.current(container.name)
        if is_sidecar(container):
            wanted.append(container)
            if not begun and not (record is not None and record.running and has_started(container, record, notes)):
                return wanted, False
        elif not begun and not (record is not None and record.exited and record.exit_code == 0):
            wanted.append(container)
            return wanted, False
    return wanted, True


def has_started(container: Container, record: ContainerRecord, notes: Notes) -> bool:
    """Whether a running container has passed its startup probe, if it has one."""
    if not container.HasField("startup_probe"):
        return True
    health = notes.health.get(record.id)
    return health is not None and health.started is True


def _plan_container(
    pod: Pod, container: Container, runtime: PodRuntime, notes: Notes, now: datetime, draft: _Draft
) -> None:
    records = runtime.of(container.name)
    running = [record for record in records if record.running]
    if running:
        draft.kill += _plan_kills(pod, container, running, notes, now)
        return
    sandbox = runtime.sandbox
    if sandbox is None or notes.sandbox_busy or container.name in notes.starting:
        return
    latest = runtime.latest(container.name)
    if latest is not None and latest.id in draft.remove + list(notes.removing):
        return
    crashes = 0
    if latest is not None and latest.exited:
        if not _must_run_again(pod, container, latest, sandbox.id):
            return
        if latest.sandbox_id == sandbox.id and latest.hash == container_hash(container):
            if now < restart_at(latest):
                draft.look_again(restart_at(latest))
                return
            crashes = crashes_before_next(latest)
    failure = notes.failures.get(container.name)
    if failure is not None and now < failure.retry_at:
        draft.look_again(failure.retry_at)
        return
    attempt = next_attempt(pod, runtime, container.name)
    draft.start.append(Start(container.name, attempt, sandbox.id, crashes))


def _must_run_again(pod: Pod, container: Container, latest: ContainerRecord, sandbox_id: str) -> bool:
    if should_restart(pod, container, latest.exit_code):
        return True
    # A new sandbox has to be initialized again; what the pod is for has been done for good.
    init = any(each.name == container.name for each in pod.spec.init_containers)
    return init and latest.sandbox_id != sandbox_id


def _plan_kills(
    pod: Pod, container: Container, running: Sequence[ContainerRecord], notes: Notes, now: datetime
) -> tuple[Kill, ...]:
    newest, *others = running
    grace = grace_seconds(pod)
    # Two of one name can only be there by a fault outside; the newer one stays.
    kills = list(_kills(others, notes, now, "Container has a successor"))
    why = ""
    health = notes.health.get(newest.id)
    if newest.hash and newest.hash != container_hash(container):
        why = f"Container {container.name} definition changed, will be restarted"
    elif health is not None and health.fault:
        why = f"Container {container.name} {health.fault}, will be restarted"
        grace = grace if health.grace is None else health.grace
    if why and newest.id not in notes.stopping:
        kills.append(Kill(newest.id, newest.name, now + timedelta(seconds=grace), why))
    return tuple(kills)
