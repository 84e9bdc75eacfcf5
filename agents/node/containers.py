"""Finds the container a stream is about, in the runtime's own list.

The runtime's labels say which pod and container an entry belongs to, so this works right after the agent was
restarted, without any memory of what was started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.errors import CriError, CriNotFoundError
from agents.cri.events import ContainerEvents, EventType, Resync
from agents.cri.v1 import runtime_pb2 as cri
from agents.node.container_config import CONTAINER_NAME, log_path
from agents.node.sandbox_config import POD_UID, pod_log_directory
from orchestrator.api import errors
from orchestrator.api.v1 import Pod
from orchestrator.clock import Clock
from orchestrator.paths import Paths

# The API's pod by namespace and name, None when this node has none of that name.
PodLookup = Callable[[str, str], Pod | None]

# Between the event that a container has ended and the runtime's saying so lies the writing of its last output.
_SETTLING = 0.01


@dataclass(frozen=True, slots=True)
class LogFile:
    file: Path
    # The container that writes it; empty when it is gone.
    container_id: str
    running: bool


class ContainerFinder:
    """The containers of this node's pods."""

    def __init__(self, paths: Paths, runtime: CriClient, pods: PodLookup) -> None:
        self._paths = paths
        self._runtime = runtime
        self._pods = pods

    async def running(self, namespace: str, pod_name: str, container: str) -> str:
        """The id of a running container. Raises NotFound or BadRequest."""
        pod = self._pod(namespace, pod_name)
        name = _container_name(pod, container)
        for found in await self._attempts(pod, name):
            if found.state == cri.CONTAINER_RUNNING:
                return found.id
        raise errors.BadRequest(f'container "{name}" in pod "{pod_name}" is not running')

    async def log_file(self, namespace: str, pod_name: str, container: str, *, previous: bool) -> LogFile:
        """Where the log of a container is, or of the one before it. Raises NotFound or BadRequest."""
        pod = self._pod(namespace, pod_name)
        name = _container_name(pod, container)
        attempts = await self._attempts(pod, name)
        directory = pod_log_directory(self._paths.pod_logs, pod)
        newest = attempts[0].metadata.attempt if attempts else await asyncio.to_thread(_newest, directory / name)
        if previous:
            file = directory / log_path(name, newest - 1)
            if newest < 1 or not file.is_file():
                raise errors.BadRequest(f'previous terminated container "{name}" in pod "{pod_name}" not found')
            return LogFile(file, "", running=False)
        file = directory / log_path(name, newest)
        if newest < 0 or not file.is_file():
            raise errors.BadRequest(
                f'container "{name}" in pod "{pod_name}" is waiting to start: {_why_waiting(pod, name)}'
            )
        if not attempts:
            return LogFile(file, "", running=False)
        return LogFile(file, attempts[0].id, attempts[0].state in (cri.CONTAINER_RUNNING, cri.CONTAINER_CREATED))

    def _pod(self, namespace: str, name: str) -> Pod:
        pod = self._pods(namespace, name)
        if pod is None:
            raise errors.NotFound.of("pods", name)
        return pod

    async def _attempts(self, pod: Pod, container: str) -> Sequence[cri.Container]:
        """Newest first."""
        labels = {POD_UID: pod.metadata.uid, CONTAINER_NAME: container}
        try:
            found = await self._runtime.list_containers(labels=labels)
        except CriError as error:
            raise errors.ServiceUnavailable(f"the container runtime does not answer: {error.message}") from error
        return sorted(found, key=lambda each: (each.metadata.attempt, each.created_at), reverse=True)


class Endings:
    """Tells when containers end. Runs one stream of events for all who wait."""

    def __init__(self, runtime: CriClient, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}

    async def run(self) -> None:
        async for event in ContainerEvents(self._runtime.channel, self._clock):
            match event:
                case Resync():
                    for waiting in self._waiting.values():
                        _set_all(waiting)
                case _ if event.type is EventType.EXITED:
                    _set_all(self._waiting.get(event.container_id, set()))

    async def of(self, container_id: str) -> None:
        """Returns once a container has ended and all it wrote is in its log."""
        woken = asyncio.Event()
        self._waiting.setdefault(container_id, set()).add(woken)
        try:
            while await self._runs(container_id):
                await woken.wait()
                woken.clear()
                # The event comes a moment before the runtime has noted it down.
                for _ in range(100):
                    if not await self._runs(container_id):
                        return
                    await self._clock.sleep(_SETTLING)
        finally:
            waiting = self._waiting[container_id]
            waiting.discard(woken)
            if not waiting:
                del self._waiting[container_id]

    async def _runs(self, container_id: str) -> bool:
        try:
            status = await self._runtime.container_status(container_id)
        except CriNotFoundError:
            return False
        except CriError:
            # The runtime is being restarted; the container isn't. The stream of events says when to look again.
            return True
        return status.state in (cri.CONTAINER_RUNNING, cri.CONTAINER_CREATED)


def _set_all(waiting: set[asyncio.Event]) -> None:
    for event in waiting:
        event.set()


def _container_name(pod: Pod, wanted: str) -> str:
    names = [container.name for container in (*pod.spec.containers, *pod.spec.init_containers)]
    if wanted:
        if wanted not in names:
            raise errors.BadRequest(f"container {wanted} is not valid for pod {pod.metadata.name}")
        return wanted
    if len(pod.spec.containers) > 1:
        raise errors.BadRequest(
            f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{' '.join(names)}]"
        )
    return names[0]


def _newest(directory: Path) -> int:
    """The latest attempt that has left a log; -1: none has."""
    if not directory.is_dir():
        return -1
    numbers = [int(path.stem) for path in directory.glob("*.log") if path.stem.isdigit()]
    return max(numbers, default=-1)


def _why_waiting(pod: Pod, name: str) -> str:
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if status.name == name and status.state.waiting.reason:
            return status.state.waiting.reason
    return "ContainerCreating"
