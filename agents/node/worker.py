"""One pod's worker: looks, plans, begins operations, reports; again whenever something has happened.

There is one worker for each pod, so nothing is ever done to a pod twice at a time, and pods don't wait for each other.
Operations run as tasks beside the worker: a container that takes its grace period to stop keeps nobody from noticing
that another one has crashed. What an operation has done is entered into the picture of the runtime at once, so the
next plan rests on it without asking the runtime again; what happened from outside comes as news of single containers,
and, when news may have been lost, by looking at the whole pod while nothing is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime

from agents.cri.errors import CriError
from agents.node import operations
from agents.node.errors import ConfigError
from agents.node.notes import SANDBOX, Failure, Notes, Verdict
from agents.node.operations import Node, find_container
from agents.node.outcome import is_deleted
from agents.node.plan import Actions, CreateSandbox, Kill, Start, plan_orphan, plan_pod
from agents.node.probe_handlers import Target
from agents.node.probe_state import ProbeKind
from agents.node.probes import PodProbes
from agents.node.runtime_state import ContainerRecord, Listing, PodRuntime, agrees, group
from agents.node.sandbox_config import POD_UID
from agents.node.status import OWN_CONDITIONS, pod_status, status_due
from agents.node.status_writer import StatusWriter
from orchestrator.api import errors
from orchestrator.api.kinds import clone
from orchestrator.api.v1 import Pod, PodStatus
from orchestrator.client import Client
from orchestrator.logs import fields
from orchestrator.runtime.events import EventRecorder
from orchestrator.runtime.plan import EventRecord

log = logging.getLogger("node.pod")

# The runtime notes the end of a container a moment after it has told of it.
_SETTLING = 0.005
_SETTLING_TRIES = 200
# After a fault of the worker itself, or of the runtime while looking.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
# Seconds until an operation is tried again that nobody waits for.
_AGAIN = 0.5
_REASONS = {"sandbox": "FailedCreatePodSandBox"}


@dataclass(slots=True)
class _Operation:
    task: asyncio.Task[None]
    # When the container it stops is killed.
    deadline: datetime | None = None
    # It has begun to change the runtime: it is not given up any more.
    committed: bool = True


class PodWorker:
    """`update` and `container_changed` wake it; `run` returns when the pod is gone from API, runtime and disk."""

    def __init__(
        self,
        node: Node,
        client: Client,
        uid: str,
        runtime: PodRuntime,
        statuses: StatusWriter,
        recorder: EventRecorder,
        rng: random.Random,
    ) -> None:
        self._node = node
        self._client = client
        self._uid = uid
        self._runtime = runtime
        self._statuses = statuses
        self._recorder = recorder
        self._pod: Pod | None = None
        self._last_pod: Pod | None = None
        self._reported: PodStatus | None = None
        self._refused: Verdict | None = None
        self._failures: dict[str, Failure] = {}
        self._deletion_seen: datetime | None = None
        self._operations: dict[str, _Operation] = {}
        self._changed_ids: set[str] = set()
        self._adopted = {record.id for record in runtime.running}
        self._stale = False
        self._pause = 0.0
        self._woken = asyncio.Event()
        self._probes = PodProbes(node.runtime, node.clock, rng, changed=self._woken.set, failed=self._probe_failed)
        self._group: asyncio.TaskGroup | None = None
        # Counts what operations have entered into the picture.
        self.version = 0

    @property
    def pod(self) -> Pod | None:
        return self._pod

    @property
    def busy(self) -> bool:
        return bool(self._operations)

    def update(self, pod: Pod | None) -> None:
        """The API has this now; None: the pod is gone."""
        if (pod is None or is_deleted(pod)) and self._deletion_seen is None:
            self._deletion_seen = self._node.clock.now()
        if pod is None and self._pod is not None and not is_deleted(self._pod):
            # Removed without a grace period.
            self._deletion_seen = self._node.clock.now()
        self._pod = pod
        self._last_pod = pod or self._last_pod
        self._woken.set()

    def refuse(self, verdict: Verdict) -> None:
        """The node doesn't take the pod."""
        self._refused = verdict
        self._say("Warning", verdict.reason, verdict.message)
        self._woken.set()

    def container_changed(self, container_id: str) -> None:
        """Something has happened to this container or sandbox of the pod."""
        self._changed_ids.add(container_id)
        self._woken.set()

    def agrees_with(self, listing: Listing | None) -> bool:
        """Whether the picture has what a list of the runtime shows: the same sandboxes and containers, in the same
        states."""
        shown = listing or Listing(self._uid, "", "", (), ())
        return agrees(self._runtime, shown)

    def look_again(self) -> None:
        """The picture of the runtime may be wrong: look when nothing is under way."""
        self._stale = True
        self._woken.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._group = tasks
            try:
                await self._work()
            finally:
                await self._probes.close()
                for operation in self._operations.values():
                    operation.task.cancel()
        self._statuses.forget(self._uid)

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            due: datetime | None = None
            try:
                actions = await self._sync()
                if actions.finish and not self._operations and await self._finish():
                    return
                due = actions.look_again_at
                self._pause = 0.0
            except CriError as error:
                log.info("the runtime does not answer", extra=self._fields(error=error.message))
                self._back_off()
            except errors.ApiError as error:
                log.info("the server does not answer", extra=self._fields(error=error.message))
                self._back_off()
            except Exception:
                log.exception("a fault in a pod's worker", extra=self._fields())
                self._back_off()
            await self._wait(due)

    def _back_off(self) -> None:
        self._stale = True
        self._pause = min(_LONGEST_PAUSE, self._pause * 2) if self._pause else _FIRST_PAUSE

    async def _wait(self, due: datetime | None) -> None:
        """Until woken, until `due`, or until a pause is over, whichever comes first."""
        if self._woken.is_set() and not self._pause:
            return
        clock = self._node.clock
        seconds = self._pause or None
        if due is not None:
            until = max(0.0, (due - clock.now()).total_seconds())
            seconds = until if seconds is None else min(seconds, until)
        if seconds is None:
            await self._woken.wait()
            return
        if self._pause:
            # What goes wrong at once again must not spin, whoever wakes it.
            await clock.sleep(seconds)
            return
        alarm = asyncio.ensure_future(clock.sleep(seconds))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait((alarm, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            woken.cancel()
            await asyncio.gather(alarm, woken, return_exceptions=True)

    async def _sync(self) -> Actions:
        await self._take_in_news()
        now = self._node.clock.now()
        pod = self._view()
        if pod is None:
            actions = plan_orphan(self._runtime, self._notes(), now)
        else:
            actions = plan_pod(pod, self._runtime, self._notes(), now)
        self._begin(pod, actions)
        await self._adjust_probes(pod)
        if pod is None or self._pod is None:
            return actions
        notes = self._notes()
        status = pod_status(pod, self._runtime, notes, now, host_ips=self._node.host_ips)
        self._reported = status
        self._statuses.offer(self._pod, status)
        moments = [each for each in (actions.look_again_at, status_due(notes, now)) if each is not None]
        return replace(actions, look_again_at=min(moments, default=None))

    def _view(self) -> Pod | None:
        """The API's pod with the status this agent has reported last, which may still be on its way."""
        if self._pod is None or self._reported is None:
            return self._pod
        view = clone(self._pod)
        conditions = [each for each in self._reported.conditions if each.type in OWN_CONDITIONS]
        conditions += [each for each in self._pod.status.conditions if each.type not in OWN_CONDITIONS]
        view.status.CopyFrom(self._reported)
        view.status.ClearField("conditions")
        view.status.conditions.extend(conditions)
        return view

    def _notes(self) -> Notes:
        starting, stopping, removing = set(), {}, set()
        for key, operation in self._operations.items():
            what, _, which = key.partition(":")
            if what == "start":
                starting.add(which)
            elif what == "stop" and operation.deadline is not None:
                stopping[which] = operation.deadline
            elif what == "remove":
                removing.add(which)
        return Notes(
            failures=self._failures,
            health=self._probes.health(),
            sandbox_busy="sandbox" in self._operations,
            starting=frozenset(starting),
            stopping=stopping,
            removing=frozenset(removing),
            refused=self._refused,
            deletion_seen=self._deletion_seen,
        )

    # What the runtime has

    async def _take_in_news(self) -> None:
        if self._stale and not self._operations:
            self._stale = False
            self._changed_ids.clear()
            await self._look()
            return
        for container_id in list(self._changed_ids):
            if f"stop:{container_id}" in self._operations or f"remove:{container_id}" in self._operations:
                self._changed_ids.discard(container_id)
                continue
            record = self._runtime.container(container_id)
            if record is not None:
                self._changed_ids.discard(container_id)
                await self._refresh_container(record)
            elif any(each.id == container_id for each in self._runtime.sandboxes):
                self._changed_ids.discard(container_id)
                await self._refresh_sandbox(container_id)
            elif not self._operations:
                # Neither known nor about to be.
                self._changed_ids.discard(container_id)

    async def _look(self) -> None:
        runtime, labels = self._node.runtime, {POD_UID: self._uid}
        listed = group(
            await runtime.list_pod_sandboxes(labels=labels), await runtime.list_containers(labels=labels)
        ).get(self._uid)
        if listed is None:
            self._runtime = PodRuntime(self._uid, self._runtime.name, self._runtime.namespace)
        else:
            self._runtime = await operations.look_at_pod(self._node, listed, self._last_pod, self._runtime)

    async def _refresh_container(self, record: ContainerRecord) -> None:
        if not record.running:
            return
        for _ in range(_SETTLING_TRIES):
            found = await operations.look_at_container(self._node, self._last_pod, record.id, record.sandbox_id)
            if found is None:
                self._enter(self._runtime.without_container(record.id))
                return
            if not found.running:
                self._enter(self._runtime.with_container(found))
                return
            await self._node.clock.sleep(_SETTLING)
        self._stale = True

    async def _refresh_sandbox(self, sandbox_id: str) -> None:
        for _ in range(_SETTLING_TRIES):
            found = await operations.look_at_sandbox(self._node, sandbox_id)
            if found is None:
                self._enter(self._runtime.without_sandbox(sandbox_id))
                return
            if not found.ready:
                self._enter(self._runtime.with_sandbox(found))
                return
            await self._node.clock.sleep(_SETTLING)
        self._stale = True

    def _enter(self, runtime: PodRuntime) -> None:
        self._runtime = runtime
        self.version += 1

    # Probes

    async def _adjust_probes(self, pod: Pod | None) -> None:
        if pod is None:
            await self._probes.close()
            return
        stopping = {key.partition(":")[2] for key in self._operations if key.startswith("stop:")}
        wanted = []
        for record in self._runtime.running:
            container = find_container(pod, record.name)
            starting = f"start:{record.name}" in self._operations
            if container is None or starting or (record.id in stopping and not is_deleted(pod)):
                continue
            wanted.append(record.id)
            ips = self._node.host_ips if pod.spec.host_network else self._runtime.ips
            known = next(
                (
                    each
                    for each in (*pod.status.container_statuses, *pod.status.init_container_statuses)
                    if each.container_id.endswith(record.id)
                ),
                None,
            )
            self._probes.begin(
                Target(container, record.id, ips[0] if ips else ""),
                adopted=record.id in self._adopted,
                started=known is not None and known.started,
                ready=known is not None and known.ready,
            )
        await self._probes.keep(wanted)

    def _probe_failed(self, container_id: str, kind: ProbeKind, message: str) -> None:
        self._say("Warning", "Unhealthy", f"{kind.value} probe failed: {message}")

    # Operations

    def _begin(self, pod: Pod | None, actions: Actions) -> None:
        if actions.give_up_starts:
            for key, operation in self._operations.items():
                if not operation.committed and (key == "sandbox" or key.startswith("start:")):
                    operation.task.cancel()
        if actions.create_sandbox is not None and pod is not None:
            self._spawn("sandbox", SANDBOX, self._create_sandbox(pod, actions.create_sandbox), committed=False)
        for start in actions.start:
            if pod is not None:
                self._spawn(f"start:{start.name}", start.name, self._start(pod, start), committed=False)
        for kill in actions.kill:
            record = self._runtime.container(kill.container_id)
            if record is not None:
                self._stop(record, kill)
        for sandbox_id in actions.stop_sandboxes:
            self._spawn("sandbox", None, self._stop_sandbox(sandbox_id))
        for sandbox_id in actions.remove_sandboxes:
            self._spawn(f"remove:{sandbox_id}", None, self._remove_sandbox(sandbox_id))
        for container_id in actions.remove:
            record = self._runtime.container(container_id)
            if record is not None:
                self._spawn(f"remove:{container_id}", None, self._remove_container(record))

    def _stop(self, record: ContainerRecord, kill: Kill) -> None:
        key = f"stop:{record.id}"
        earlier = self._operations.pop(key, None)
        if earlier is not None:
            # There is less time than there was: begin anew, without the hook that has already begun.
            earlier.task.cancel()
        self._spawn(key, None, self._stop_container(record, kill, again=earlier is not None), kill.deadline)

    def _spawn(
        self,
        key: str,
        failing: str | None,
        work: Coroutine[None, None, None],
        deadline: datetime | None = None,
        *,
        committed: bool = True,
    ) -> None:
        if key in self._operations or self._group is None:
            work.close()
            return
        task = self._group.create_task(self._carry_out(key, failing, work), name=f"{key} of {self._uid}")
        self._operations[key] = _Operation(task, deadline, committed)

    async def _carry_out(self, key: str, failing: str | None, work: Coroutine[None, None, None]) -> None:
        """An operation to its end, whichever it is; `failing` is what its failures are noted under."""
        me = asyncio.current_task()
        try:
            await work
            if failing is not None:
                self._failures.pop(failing, None)
        except ConfigError as error:
            self._note_failure(failing, error.reason, error.message)
        except CriError as error:
            self._stale = True
            log.info("an operation failed", extra=self._fields(operation=key, error=error.message))
            self._note_failure(failing, _REASONS.get(key, "CreateContainerError"), error.message)
            if failing is None:
                # It is planned again; not at once, for it would fail again.
                await self._node.clock.sleep(_AGAIN)
        except errors.ApiError as error:
            self._note_failure(failing, "CreateContainerConfigError", error.message)
        except Exception as error:
            log.exception("an operation failed", extra=self._fields(operation=key))
            self._stale = True
            self._note_failure(failing, "CreateContainerConfigError", str(error))
            if failing is None:
                await self._node.clock.sleep(_AGAIN)
        finally:
            operation = self._operations.get(key)
            # A stop that was begun anew has taken the place of its predecessor.
            if operation is not None and operation.task is me:
                del self._operations[key]
            self._woken.set()

    def _note_failure(self, name: str | None, reason: str, message: str) -> None:
        if name is None:
            return
        before = self._failures.get(name)
        count = before.count + 1 if before is not None and before.reason == reason else 1
        self._failures[name] = Failure(reason, message, self._node.clock.now(), count)
        if name == SANDBOX:
            word = "FailedMount" if reason == "FailedMount" else "FailedCreatePodSandBox"
            self._say("Warning", word, message)
        elif reason == "ErrImagePull" and count > 1:
            self._say("Normal", "BackOff", f"Back-off pulling image: {message}")

    def _committing(self, key: str) -> Callable[[], None]:
        def commit() -> None:
            operation = self._operations.get(key)
            if operation is not None:
                operation.committed = True

        return commit

    async def _create_sandbox(self, pod: Pod, action: CreateSandbox) -> None:
        record = await operations.create_sandbox(self._node, pod, action, self._committing("sandbox"))
        runtime = _named(self._runtime, pod)
        for older in runtime.sandboxes:
            # Their networks have been taken down.
            runtime = runtime.with_sandbox(replace(older, ready=False))
        self._enter(runtime.with_sandbox(record))

    async def _start(self, pod: Pod, action: Start) -> None:
        container = find_container(pod, action.name)
        if container is None:
            return
        latest = self._runtime.latest(action.name)
        if latest is not None and latest.exited and action.crashes > 1:
            self._say(
                "Warning", "BackOff", f"Back-off restarting failed container {action.name} in pod {pod.metadata.name}"
            )

        def made(record: ContainerRecord) -> None:
            self._enter(self._runtime.with_container(record))
            self._woken.set()

        commit = self._committing(f"start:{action.name}")
        record = await operations.start_container(
            self._node, pod, container, action, self._runtime, self._say, made, commit
        )
        made(record)

    async def _stop_container(self, record: ContainerRecord, kill: Kill, *, again: bool) -> None:
        pod = None if again else self._last_pod
        ips = self._runtime.ips
        if self._last_pod is not None and self._last_pod.spec.host_network:
            ips = tuple(self._node.host_ips)
        ended = await operations.stop_container(self._node, pod, record, kill, ips, self._say)
        if ended is None:
            self._enter(self._runtime.without_container(record.id))
            return
        self._enter(self._runtime.with_container(ended))
        if ended.running:
            self._stale = True

    async def _stop_sandbox(self, sandbox_id: str) -> None:
        await self._node.runtime.stop_pod_sandbox(sandbox_id)
        found = await operations.look_at_sandbox(self._node, sandbox_id)
        if found is None:
            self._enter(self._runtime.without_sandbox(sandbox_id))
        else:
            self._enter(self._runtime.with_sandbox(replace(found, ready=False)))

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        await operations.remove_sandbox(self._node, sandbox_id)
        for record in self._runtime.containers:
            if record.sandbox_id == sandbox_id:
                self._node.owners.pop(record.id, None)
        self._enter(self._runtime.without_sandbox(sandbox_id))

    async def _remove_container(self, record: ContainerRecord) -> None:
        await operations.remove_container(self._node, self._last_pod, record)
        self._enter(self._runtime.without_container(record.id))

    async def _finish(self) -> bool:
        """Removes the pod's files, and then the API's object. True when nothing is left of it anywhere."""
        runtime = self._runtime if self._last_pod is None else _named(self._runtime, self._last_pod)
        await operations.remove_files(self._node, runtime)
        pod = self._pod
        if pod is None:
            return True
        # Gone, or another of the same name: the informer will say so.
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._client.delete(
                Pod, pod.metadata.name, namespace=pod.metadata.namespace, grace_period_seconds=0, uid=self._uid
            )
        # With a finalizer it stays a while; nothing is left to do here until it goes.
        await self._gone(pod)
        return self._pod is None

    async def _gone(self, pod: Pod) -> None:
        while self._pod is not None:
            await self._woken.wait()
            self._woken.clear()
        log.info("pod removed", extra=fields(pod=f"{pod.metadata.namespace}/{pod.metadata.name}", uid=self._uid))

    def _say(self, type_: str, reason: str, message: str) -> None:
        about = self._last_pod
        if about is not None:
            self._recorder.record(EventRecord(about, type_, reason, message))

    def _fields(self, **more: object) -> dict[str, object]:
        pod = self._last_pod
        name = f"{pod.metadata.namespace}/{pod.metadata.name}" if pod is not None else self._uid
        return fields(pod=name, **more)


def _named(runtime: PodRuntime, pod: Pod) -> PodRuntime:
    return replace(runtime, name=pod.metadata.name, namespace=pod.metadata.namespace)
