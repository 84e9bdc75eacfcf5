"""Carries the plans of one pod out: each operation a task of its own, and what came of it entered into the picture.

What is under way is known by a key ("start:web", "stop:<id>"), so the next plan sees it and nothing is begun twice.
Failures are noted for the planner, which decides when to try again, and for the status, which shows them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime

from agents.cri.errors import CriError
from agents.node import metrics, operations
from agents.node.errors import ConfigError
from agents.node.image_supply import Say
from agents.node.notes import IMAGE_REASONS, SANDBOX, Failure, Notes
from agents.node.operations import Node, find_container
from agents.node.picture import Picture
from agents.node.plan import Actions, CreateSandbox, Kill, Start
from agents.node.runtime_state import ContainerRecord
from orchestrator.api import errors
from orchestrator.api.v1 import Pod
from orchestrator.logs import fields

log = logging.getLogger("node.pod")

# Seconds until an operation is tried again whose failure nobody is told of.
_AGAIN = 0.5
_SANDBOX = "sandbox"


@dataclass(slots=True)
class _Operation:
    task: asyncio.Task[bool]
    # When the container it stops is killed.
    deadline: datetime | None
    # It has begun to change the runtime: it is not given up any more.
    committed: bool


class Execution:
    """`changed` is called whenever an operation has ended; tasks belong to `tasks`."""

    def __init__(
        self, node: Node, picture: Picture, tasks: asyncio.TaskGroup, say: Say, changed: Callable[[], None]
    ) -> None:
        self._node = node
        self._picture = picture
        self._tasks = tasks
        self._say = say
        self._changed = changed
        self._operations: dict[str, _Operation] = {}
        self._failures: dict[str, Failure] = {}
        # The newest pod known, also when the API has it no more.
        self._pod: Pod | None = None

    @property
    def under_way(self) -> frozenset[str]:
        return frozenset(self._operations)

    def is_starting(self, container: str) -> bool:
        return f"start:{container}" in self._operations

    def is_stopping(self, container_id: str) -> bool:
        return f"stop:{container_id}" in self._operations

    def annotate(self, notes: Notes) -> Notes:
        """The notes with what is under way and what has failed."""
        starting, removing, stopping = set(), set(), {}
        for key, operation in self._operations.items():
            what, _, which = key.partition(":")
            if what == "start":
                starting.add(which)
            elif what == "remove":
                removing.add(which)
            elif what == "stop" and operation.deadline is not None:
                stopping[which] = operation.deadline
        return replace(
            notes,
            failures=self._failures,
            sandbox_busy=_SANDBOX in self._operations,
            starting=frozenset(starting),
            stopping=stopping,
            removing=frozenset(removing),
        )

    def begin(self, pod: Pod | None, actions: Actions) -> None:
        """Begin everything in the plan. `pod` is None when the API has it no more."""
        self._pod = pod or self._pod
        if actions.give_up_starts:
            for operation in self._operations.values():
                if not operation.committed:
                    operation.task.cancel()
        if actions.create_sandbox is not None and pod is not None:
            self._spawn(_SANDBOX, SANDBOX, self._create_sandbox(pod, actions.create_sandbox), committed=False)
        for start in actions.start:
            if pod is not None:
                self._spawn(f"start:{start.name}", start.name, self._start(pod, start), committed=False)
        for kill in actions.kill:
            record = self._picture.runtime.container(kill.container_id)
            if record is not None:
                self._stop(record, kill)
        for sandbox_id in actions.stop_sandboxes:
            self._spawn(_SANDBOX, None, self._stop_sandbox(sandbox_id))
        for sandbox_id in actions.remove_sandboxes:
            self._spawn(f"remove:{sandbox_id}", None, self._remove_sandbox(sandbox_id))
        for container_id in actions.remove:
            record = self._picture.runtime.container(container_id)
            if record is not None:
                self._spawn(f"remove:{container_id}", None, self._remove_container(record))

    def cancel(self) -> None:
        """The agent ends; the containers don't."""
        for operation in self._operations.values():
            operation.task.cancel()

    def _stop(self, record: ContainerRecord, kill: Kill) -> None:
        key = f"stop:{record.id}"
        earlier = self._operations.pop(key, None)
        if earlier is not None:
            # There is less time than there was: begin anew, without the hook that has already begun.
            earlier.task.cancel()
        work = self._stop_container(record, kill, again=earlier is not None)
        self._spawn(key, None, work, deadline=kill.deadline)

    def _spawn(
        self,
        key: str,
        failing: str | None,
        work: Coroutine[None, None, None],
        *,
        deadline: datetime | None = None,
        committed: bool = True,
    ) -> None:
        if key in self._operations:
            work.close()
            return
        task = self._tasks.create_task(self._attempt(key, failing, work), name=key)
        self._operations[key] = _Operation(task, deadline, committed)
        began = self._node.clock.monotonic()

        def ended(task: asyncio.Task[bool]) -> None:
            # Of a task that was given up before its first step nothing has run, not even this.
            work.close()
            operation = self._operations.get(key)
            # A stop that was begun anew has taken the place of its predecessor.
            if operation is not None and operation.task is task:
                del self._operations[key]
            name = key.partition(":")[0]
            result = "given up" if task.cancelled() else "done" if task.result() else "failed"
            metrics.operations.labels(name, result).inc()
            metrics.operation_seconds.labels(name).observe(self._node.clock.monotonic() - began)
            self._changed()

        task.add_done_callback(ended)

    async def _attempt(self, key: str, failing: str | None, work: Coroutine[None, None, None]) -> bool:
        """An operation to its end, and whether it went well; `failing` is what its failure is noted under."""
        try:
            await work
            if failing is not None:
                self._failures.pop(failing, None)
            return True
        except ConfigError as error:
            self._note_failure(failing, error.reason, error.message)
            return False
        except errors.ApiError as error:
            self._note_failure(failing, "CreateContainerConfigError", error.message)
            return False
        except CriError as error:
            log.info("an operation failed", extra=self._fields(key, error.message))
            self._note_failure(failing, "CreateContainerError", error.message)
        except Exception as error:
            log.exception("an operation failed", extra=self._fields(key, str(error)))
            self._note_failure(failing, "CreateContainerError", str(error))
        # How far it came only the runtime knows.
        self._picture.doubt()
        if failing is None:
            # It is planned again; not at once, for it would fail again.
            await self._node.clock.sleep(_AGAIN)
        return False

    def _note_failure(self, name: str | None, reason: str, message: str) -> None:
        if name is None:
            return
        before = self._failures.get(name)
        count = before.count + 1 if before is not None and before.reason == reason else 1
        self._failures[name] = Failure(reason, message, self._node.clock.now(), count)
        if name == SANDBOX:
            self._say("Warning", "FailedMount" if reason == "FailedMount" else "FailedCreatePodSandBox", message)
        elif reason == "CreateContainerError":
            self._say("Warning", "Failed", f"Error: {message}")
        elif reason in IMAGE_REASONS:
            self._say("Warning", "Failed", f"Error: {reason}")
            container = find_container(self._pod, name) if self._pod is not None else None
            if container is not None and reason == "ErrImagePull":
                self._say("Normal", "BackOff", f'Back-off pulling image "{container.image}"')

    def _committing(self, key: str) -> Callable[[], None]:
        def commit() -> None:
            operation = self._operations.get(key)
            if operation is not None:
                operation.committed = True

        return commit

    async def _create_sandbox(self, pod: Pod, action: CreateSandbox) -> None:
        record = await operations.create_sandbox(self._node, pod, action, self._committing(_SANDBOX))
        self._picture.enter_sandbox(pod, record)

    async def _start(self, pod: Pod, action: Start) -> None:
        container = find_container(pod, action.name)
        if container is None:
            return
        key, runtime = f"start:{action.name}", self._picture.runtime

        def made(record: ContainerRecord) -> None:
            self._picture.enter_container(record.id, record)

        record = await operations.start_container(
            self._node, pod, container, action, runtime, self._say, made, self._committing(key)
        )
        made(record)

    async def _stop_container(self, record: ContainerRecord, kill: Kill, *, again: bool) -> None:
        pod, ips = self._pod, self._picture.runtime.ips
        if pod is not None and pod.spec.host_network:
            ips = tuple(self._node.host_ips)
        ended = await operations.stop_container(self._node, pod, record, kill, ips, self._say, with_hook=not again)
        self._picture.enter_container(record.id, ended)
        if ended is not None and ended.running:
            self._picture.doubt()

    async def _stop_sandbox(self, sandbox_id: str) -> None:
        await self._node.runtime.stop_pod_sandbox(sandbox_id)
        runtime = self._picture.runtime
        for sandbox in runtime.sandboxes:
            if sandbox.id == sandbox_id:
                runtime = runtime.with_sandbox(replace(sandbox, ready=False))
        self._picture.enter(runtime)

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        await operations.remove_sandbox(self._node, sandbox_id)
        for record in self._picture.runtime.containers:
            if record.sandbox_id == sandbox_id:
                self._node.owners.pop(record.id, None)
        self._picture.enter(self._picture.runtime.without_sandbox(sandbox_id))

    async def _remove_container(self, record: ContainerRecord) -> None:
        await operations.remove_container(self._node, self._pod, record)
        self._picture.enter_container(record.id, None)

    def _fields(self, operation: str, error: str) -> dict[str, object]:
        pod = self._pod
        name = "" if pod is None else f"{pod.metadata.namespace}/{pod.metadata.name}"
        return fields(pod=name, operation=operation, error=error)
