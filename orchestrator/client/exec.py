"""A command running in a container, seen from the client: bytes in, bytes out, an exit code at the end.

The stream opens with what to run; then input and terminal sizes go one way while output comes the other. The last
message is the exit code: a stream that ends without one was cut, and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc.aio

from orchestrator.api import errors
from orchestrator.api.v1 import ExecReply, ExecRequest, ExecStart, TerminalSize

if TYPE_CHECKING:
    ExecCall = grpc.aio.StreamStreamCall[ExecRequest, ExecReply]

# Input goes in pieces that leave room for terminal sizes between them.
STDIN_PIECE = 32 << 10


class Channel(Enum):
    """Where a piece of output was written. With a terminal everything is stdout."""

    STDOUT = 1
    STDERR = 2


class ExecSession:
    """`async with` opens and closes it; iterating gives (channel, bytes) until the command ends."""

    def __init__(
        self,
        open_stream: Callable[[], ExecCall],
        start: ExecStart,
        translated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._open_stream = open_stream
        self._start = start
        self._translated = translated
        self._call: ExecCall | None = None
        # Input and terminal sizes come from different tasks, and gRPC takes one write at a time.
        self._writing = asyncio.Lock()
        self.exit_code: int | None = None

    @staticmethod
    def start(
        name: str,
        namespace: str,
        command: Iterable[str],
        *,
        container: str,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        tty: bool,
    ) -> ExecStart:
        return ExecStart(
            namespace=namespace,
            pod=name,
            container=container,
            command=command,
            stdin=stdin,
            stdout=stdout,
            # A terminal has one output.
            stderr=stderr and not tty,
            tty=tty,
        )

    async def __aenter__(self) -> Self:
        self._call = self._open_stream()
        await self._write(ExecRequest(start=self._start))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._call.cancel()

    async def send(self, data: bytes) -> None:
        """Write to the command's standard input; waits while the other side is slow to take it."""
        for offset in range(0, len(data), STDIN_PIECE):
            await self._write(ExecRequest(stdin=data[offset : offset + STDIN_PIECE]))

    async def close_stdin(self) -> None:
        """End of input."""
        await self._write(ExecRequest(close_stdin=True))

    async def resize(self, width: int, height: int) -> None:
        """Tell the command's terminal its size in characters."""
        await self._write(ExecRequest(resize=TerminalSize(width=width, height=height)))

    async def __aiter__(self) -> AsyncIterator[tuple[Channel, bytes]]:
        call = self._opened()
        with self._translated():
            # gRPC wants a stream that is written to with `write` to be read with `read`.
            while isinstance(reply := await call.read(), ExecReply):
                match reply.WhichOneof("message"):
                    case "stdout":
                        yield Channel.STDOUT, reply.stdout
                    case "stderr":
                        yield Channel.STDERR, reply.stderr
                    case "exit_code":
                        self.exit_code = reply.exit_code
        if self.exit_code is None:
            raise errors.ServiceUnavailable("the connection ended before the command did; it may still be running")

    async def _write(self, request: ExecRequest) -> None:
        call = self._opened()
        async with self._writing:
            # Input for a command that has ended has nowhere to go; how it ended is for the reader to tell.
            if call.done():
                return
            with self._translated():
                await call.write(request)

    def _opened(self) -> ExecCall:
        if self._call is None:
            raise RuntimeError("an exec session is used inside its `async with`")
        return self._call
