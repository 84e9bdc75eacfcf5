"""A further process in a running container, with its streams: what `exec` is made of.

The CRI offers exec through an HTTP server of its own, whose WebSocket form has no way to end standard input and which
leaves the process running when the caller goes away. containerd's task service, on the same socket, does both; the
streams are named pipes on this machine. So this module speaks to containerd directly: a process ends its input when it
is told to, and does not outlive whoever asked for it.
"""

from __future__ import annotations

import asyncio
import enum
import json
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as Packed

from agents.cri.errors import CriError, CriNotFoundError, cri_error
from agents.cri.v1 import containers_pb2 as containers
from agents.cri.v1 import tasks_pb2 as tasks
from agents.cri.v1.containers_pb2_grpc import ContainersStub
from agents.cri.v1.tasks_pb2_grpc import TasksStub

if TYPE_CHECKING:
    from agents.cri.v1.tasks_pb2_grpc import TasksAsyncStub

Q = TypeVar("Q")
A = TypeVar("A")

_METADATA = (("containerd-namespace", "k8s.io"),)
_PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_CALL = 30.0
_PIECE = 32 << 10
# A process that has ended can leave children which keep its output open: they are not waited for longer than this.
_DRAIN = 2.0
# Between asking a process whose caller is gone to end, and ending it.
_GRACE = 5.0


class Stream(enum.Enum):
    STDOUT = 1
    STDERR = 2


@dataclass(frozen=True, slots=True)
class Output:
    stream: Stream
    data: bytes


class Process:
    """One running process. Iterate over its output; afterwards `exit_code` is known."""

    def __init__(self, task: TasksAsyncStub, container_id: str, exec_id: str, ended: asyncio.Task[int]) -> None:
        self._tasks = task
        self._container_id = container_id
        self._exec_id = exec_id
        self._ended = ended
        self._stdin: int | None = None
        self._outputs: dict[Stream, int] = {}

    @property
    def exit_code(self) -> int:
        return self._ended.result()

    async def write(self, data: bytes) -> None:
        """Writes to its standard input; waits while the pipe is full. What a closed input can't take is dropped."""
        rest = memoryview(data)
        while rest and self._stdin is not None:
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                await _writable(self._stdin, self._ended)
                if self._ended.done():
                    return
            except BrokenPipeError:
                return

    async def close_stdin(self) -> None:
        """Lets the process read the end of its input. Can be repeated."""
        if self._stdin is None:
            return
        os.close(self._stdin)
        self._stdin = None
        request = tasks.CloseIORequest(container_id=self._container_id, exec_id=self._exec_id, stdin=True)
        await self._unless_ended(self._tasks.CloseIO, request)

    async def resize(self, width: int, height: int) -> None:
        """Tells its terminal how large it is, in characters."""
        request = tasks.ResizePtyRequest(
            container_id=self._container_id, exec_id=self._exec_id, width=width, height=height
        )
        await self._unless_ended(self._tasks.ResizePty, request)

    async def output(self) -> AsyncIterator[Output]:
        """What it writes, as it comes, until it has ended. A slow reader slows the process."""
        pieces: asyncio.Queue[Output | None] = asyncio.Queue(maxsize=2)
        pumps = asyncio.gather(*(self._pump(stream, pieces) for stream in self._outputs))
        closing = asyncio.ensure_future(self._finish(pumps, pieces))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await closing
        finally:
            for task in (closing, pumps):
                task.cancel()
            await asyncio.gather(closing, pumps, return_exceptions=True)

    async def _pump(self, stream: Stream, pieces: asyncio.Queue[Output | None]) -> None:
        descriptor = self._outputs[stream]
        while True:
            await _readable(descriptor)
            try:
                data = os.read(descriptor, _PIECE)
            except BlockingIOError:
                continue
            if not data:
                return
            await pieces.put(Output(stream, data))

    async def _finish(self, pumps: asyncio.Future[list[None]], pieces: asyncio.Queue[Output | None]) -> None:
        await asyncio.wait((self._ended,))
        # Not a limit on slow readers: as long as there is something to hand over, it goes on.
        while not pumps.done():
            before = pieces.qsize()
            await asyncio.wait((pumps,), timeout=_DRAIN)
            if pieces.empty() and not before:
                break
        await pieces.put(None)

    async def end(self) -> None:
        """Makes sure that it has ended: asked first, killed after a while."""
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            if self._ended.done():
                return
            request = tasks.KillRequest(container_id=self._container_id, exec_id=self._exec_id, signal=number)
            await self._unless_ended(self._tasks.Kill, request)
            if number != signal.SIGHUP:
                await asyncio.wait((self._ended,), timeout=_GRACE)

    async def _unless_ended(self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q) -> None:
        try:
            await _call(method, request)
        except CriError:
            # A process that has just ended can't be resized, closed or killed, and containerd words that in many ways.
            if not self._ended.done():
                await asyncio.wait((self._ended,), timeout=_DRAIN)

    def attach(self, stdin: int | None, outputs: dict[Stream, int]) -> None:
        self._stdin = stdin
        self._outputs = outputs

    def detach(self) -> None:
        """Closes our ends of the pipes."""
        for descriptor in [*self._outputs.values(), *([] if self._stdin is None else [self._stdin])]:
            os.close(descriptor)
        self._outputs, self._stdin = {}, None


class Processes:
    """Starts processes in containers of one runtime. `directory` holds their pipes."""

    def __init__(self, channel: grpc.aio.Channel, directory: Path) -> None:
        self._containers = ContainersStub(channel)
        self._tasks = TasksStub(channel)
        self._directory = directory

    def sweep(self) -> None:
        """Removes pipes that a killed predecessor has left. Call it before the first start."""
        shutil.rmtree(self._directory, ignore_errors=True)

    @asynccontextmanager
    async def start(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> AsyncIterator[Process]:
        """A process in the container, as the container's own user and with its environment.

        It is ended, if it still runs, when the context is left. Raises CriError with the runtime's words, as when there
        is no such command.
        """
        spec = await self._specification(container_id, command, tty)
        exec_id = "navarch-" + uuid.uuid4().hex
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        pipes = Path(tempfile.mkdtemp(prefix="exec-", dir=self._directory))
        ended: asyncio.Task[int] | None = None
        process: Process | None = None
        outputs: dict[Stream, int] = {}
        try:
            wanted = {"stdin": stdin, "stdout": stdout or tty, "stderr": stderr and not tty}
            paths = {name: _pipe(pipes / name) if yes else "" for name, yes in wanted.items()}
            for name, stream in (("stdout", Stream.STDOUT), ("stderr", Stream.STDERR)):
                if paths[name]:
                    outputs[stream] = os.open(paths[name], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            request = tasks.ExecProcessRequest(
                container_id=container_id, exec_id=exec_id, terminal=tty, spec=spec, **paths
            )
            await _call(self._tasks.Exec, request)
            ended = asyncio.ensure_future(self._wait(container_id, exec_id))
            process = Process(self._tasks, container_id, exec_id, ended)
            process.attach(None, outputs)
            await _call(self._tasks.Start, tasks.StartRequest(container_id=container_id, exec_id=exec_id))
            if stdin:
                # The runtime has opened the other end by now; if it is closed again, the process has ended already.
                process.attach(_open_writer(paths["stdin"]), outputs)
            yield process
            # Without a failure, its end is awaited by the reader of its output; otherwise it is brought about here.
        finally:
            try:
                if process is not None and ended is not None:
                    await process.end()
                    await self._forget(container_id, exec_id)
            finally:
                if ended is not None:
                    ended.cancel()
                    await asyncio.gather(ended, return_exceptions=True)
                if process is not None:
                    process.detach()
                else:
                    for descriptor in outputs.values():
                        os.close(descriptor)
                shutil.rmtree(pipes, ignore_errors=True)

    async def _specification(self, container_id: str, command: Sequence[str], tty: bool) -> Packed:
        answer = await _call(self._containers.Get, containers.GetContainerRequest(id=container_id))
        process = json.loads(answer.container.spec.value).get("process")
        if not isinstance(process, dict):
            raise CriError(f"container {container_id} has no process to take after")
        process |= {"args": list(command), "terminal": tty}
        process.pop("consoleSize", None)
        if tty and not any(entry.startswith("TERM=") for entry in process.get("env", [])):
            process["env"] = [*process.get("env", []), "TERM=xterm"]
        return Packed(type_url=_PROCESS_TYPE, value=json.dumps(process).encode())

    async def _wait(self, container_id: str, exec_id: str) -> int:
        request = tasks.WaitRequest(container_id=container_id, exec_id=exec_id)
        try:
            return (await self._tasks.Wait(request, metadata=_METADATA)).exit_status
        except grpc.aio.AioRpcError as failure:
            raise cri_error(failure) from None

    async def _forget(self, container_id: str, exec_id: str) -> None:
        request = tasks.DeleteProcessRequest(container_id=container_id, exec_id=exec_id)
        try:
            await _call(self._tasks.DeleteProcess, request)
        except CriNotFoundError:
            return
        except CriError as error:
            # The container has ended, and its processes with it.
            if error.code not in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNKNOWN):
                raise


async def _call(method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q) -> A:
    try:
        return await method(request, metadata=_METADATA, timeout=_CALL)
    except grpc.aio.AioRpcError as failure:
        raise cri_error(failure) from None


def _pipe(path: Path) -> str:
    os.mkfifo(path, 0o600)
    return str(path)


def _open_writer(path: str) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def _writable(descriptor: int, ended: asyncio.Task[int]) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _settle, ready)
    try:
        await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_writer(descriptor)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
