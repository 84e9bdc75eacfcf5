"""One call on a connection: what its handler sees of it, and what is still to be sent to its caller."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NoReturn

import grpc
import grpc.aio

from orchestrator.rpc.headers import Metadata, Request

if TYPE_CHECKING:
    from orchestrator.rpc.connection import Connection, Method


class Call:
    """The `grpc.aio.ServicerContext` of a call, as far as our handlers use one."""

    __slots__ = (
        "_connection",
        "ended_by_caller",
        "headers_sent",
        "incoming",
        "messages",
        "method",
        "news",
        "number",
        "outgoing",
        "read_bytes",
        "request",
        "room",
        "status",
        "task",
        "window",
    )

    def __init__(self, connection: Connection, number: int, request: Request, window: int) -> None:
        self._connection = connection
        self.number = number
        self.request = request
        self.window = window
        """Bytes the caller takes now."""
        self.method: Method | None = None
        self.incoming = bytearray()
        """What has come and is no whole message yet."""
        self.messages: deque[bytes] = deque()
        self.read_bytes = 0
        """What a handler has read and the caller was not told of."""
        self.ended_by_caller = False
        self.news: asyncio.Future[None] | None = None
        """Somebody waits for a message."""
        self.outgoing: deque[tuple[bytes, bool]] = deque()
        """(data or a block of trailers, whether it is trailers) that the caller does not take yet."""
        self.room: asyncio.Future[None] | None = None
        """Somebody waits for the outgoing to go."""
        self.headers_sent = False
        self.status: tuple[grpc.StatusCode, str, Metadata] | None = None
        self.task: asyncio.Task[None] | None = None

    # What handlers use.

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        self.status = (code, details, trailing_metadata)
        raise grpc.aio.AbortError("the call is aborted")

    async def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        self._connection.begin(self, initial_metadata)

    async def write(self, message: bytes) -> None:
        """Returns when the message is on its way, which may be when the caller has taken earlier ones."""
        self._connection.message(self, message)
        if self.outgoing:
            self.room = asyncio.get_running_loop().create_future()
            await self.room

    async def read(self) -> object:
        """The caller's next message; `grpc.aio.EOF` when there are no more."""
        while not self.messages:
            if self.ended_by_caller:
                return grpc.aio.EOF  # type: ignore[attr-defined]
            self.news = asyncio.get_running_loop().create_future()
            await self.news
        message = self.messages.popleft()
        self._connection.consumed(self, len(message) + 5)
        return message

    async def iterate(self) -> AsyncIterator[bytes]:
        while isinstance(message := await self.read(), bytes):
            yield message

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._connection.auth_context

    def peer(self) -> str:
        return self._connection.peer

    def invocation_metadata(self) -> Metadata:
        return self.request.metadata
