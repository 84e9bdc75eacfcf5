"""The wire between members: one gRPC stream for each pair, both ways, mutual TLS.

Of two members the one whose name comes first opens the stream, and opens it again when it breaks. Who is at the other
end, the certificates say: a member's certificate is signed by the cluster's authority, its common name is the member's
with a prefix nobody else's has, and it serves under a name made of it. The greeting that follows only tells a member of
another cluster, or of another version, why it is turned away.

What cannot be sent at once waits, up to a number of bytes for each peer; beyond that it is dropped, as a broken line
would: Raft sends it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import grpc.aio

from orchestrator.clock import Clock
from orchestrator.pki import identity_of
from orchestrator.store.errors import StoreUnavailable
from orchestrator.store.v1 import peers_pb2_grpc
from orchestrator.store.v1.raft_pb2 import Hello, Message
from orchestrator.store.wire import Receive

log = logging.getLogger(__name__)

VERSION = 1
MEMBER_PREFIX = "system:store:"
"""The common name of a member's certificate is this and the member's name."""
MESSAGE_LIMIT = 32 << 20
QUEUE_BYTES = 64 << 20
_AGAIN_FIRST, _AGAIN_MOST = 0.05, 1.0
"""Seconds before a broken stream is opened again; it doubles."""
_HELLO_SECONDS = 5.0
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.so_reuseport", 0),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
)

Context: TypeAlias = "grpc.aio.ServicerContext[Message, Message]"


def serving_name(member: str) -> str:
    """The DNS name in a member's certificate, under which it is verified whatever its address is."""
    return f"{member}.store.navarch.internal"


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM: the authority, and this member's certificate and key."""

    authority: bytes
    certificate: bytes
    key: bytes


class _Line:
    """What waits to be sent to one peer, and whether anybody is sending it."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._user: object = None

    @property
    def up(self) -> bool:
        return self._user is not None

    def put(self, message: Message) -> None:
        size = message.ByteSize()
        if self._bytes + size <= QUEUE_BYTES:
            self._queue.append(message)
            self._bytes += size
            self._news.set()

    def take(self, user: object) -> None:
        """A new stream begins; whoever had the line before loses it. What waited is of the past."""
        self._user = user
        self._queue.clear()
        self._bytes = 0
        self._news.set()

    def leave(self, user: object) -> None:
        """The stream has ended; whoever waits for something to send on it is told."""
        if self._user is user:
            self._user = None
            self._news.set()

    async def pump(self, user: object, write: Callable[[Message], Awaitable[None]]) -> None:
        """Write what is put, until the stream ends or somebody else takes the line."""
        while self._user is user:
            while self._queue and self._user is user:
                message = self._queue.popleft()
                self._bytes -= message.ByteSize()
                await write(message)
            self._news.clear()
            if not self._queue and self._user is user:
                await self._news.wait()


class GrpcWire:
    """One member's end of all its streams."""

    def __init__(
        self,
        member: str,
        peers: Mapping[str, str],
        *,
        listen: str,
        cluster: str,
        credentials: Credentials,
        clock: Clock,
    ) -> None:
        """`peers`: the other members' names and addresses; `cluster`: a name that all members of it share."""
        self._member, self._peers, self._cluster = member, dict(peers), cluster
        self._credentials, self._clock = credentials, clock
        self._lines = {name: _Line() for name in peers}
        self._receive: Receive | None = None
        self._changed: Callable[[], None] = _ignore
        self._tasks: list[asyncio.Task[None]] = []
        self._listen = listen
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Bind the address. Raises StoreUnavailable when it is taken."""
        server = grpc.aio.server(options=_OPTIONS)
        peers_pb2_grpc.add_PeersServicer_to_server(_Door(self), server)
        pair = [(self._credentials.key, self._credentials.certificate)]
        tls = grpc.ssl_server_credentials(pair, self._credentials.authority, require_client_auth=True)
        try:
            self.port = server.add_secure_port(self._listen, tls)
        except RuntimeError as error:
            raise StoreUnavailable(
                f"{self._listen}, where the other members would call, cannot be used: {error}"
            ) from error
        await server.start()
        self._server = server

    def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        self._receive, self._changed = receive, changed
        loop = asyncio.get_running_loop()
        for name, address in self._peers.items():
            if self._member < name:
                self._tasks.append(loop.create_task(self._call(name, address), name=f"store-peer-{name}"))

    def send(self, member: str, message: Message) -> None:
        line = self._lines[member]
        if line.up:
            line.put(message)

    def connected(self, member: str) -> bool:
        return self._lines[member].up

    def move(self, member: str, address: str) -> None:
        """The member answers somewhere else from now on; used with the next call."""
        self._peers[member] = address

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._server is not None:
            await self._server.stop(None)

    # Calling.

    async def _call(self, name: str, address: str) -> None:
        """Keep a stream to the peer open for ever."""
        again = _AGAIN_FIRST
        said = ""
        while True:
            began = self._clock.monotonic()
            try:
                await self._exchange(name, self._peers[name])
            except (grpc.aio.AioRpcError, _Refused, TimeoutError) as error:
                why = error.details() or "" if isinstance(error, grpc.aio.AioRpcError) else str(error)
                if why != said:
                    log.warning("no connection to member %s at %s: %s", name, self._peers[name], why)
                    said = why
            again = _AGAIN_FIRST if self._clock.monotonic() - began > _AGAIN_MOST else min(2 * again, _AGAIN_MOST)
            await self._clock.sleep(again)

    async def _exchange(self, name: str, address: str) -> None:
        tls = grpc.ssl_channel_credentials(
            self._credentials.authority, self._credentials.key, self._credentials.certificate
        )
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", serving_name(name)))
        async with grpc.aio.secure_channel(address, tls, options=options) as channel:
            call = peers_pb2_grpc.PeersStub(channel).Exchange()  # type: ignore[call-arg]  # it is written to below
            await call.write(self._hello())
            async with asyncio.timeout(_HELLO_SECONDS):
                greeting = await call.read()
            if not isinstance(greeting, Message):
                raise _Refused("it hung up")
            self._check(name, greeting)
            log.info("connected to member %s at %s", name, address)
            await self._converse(name, call, call.read, call.write)

    async def _converse(
        self,
        name: str,
        stream: object,
        read: Callable[[], Awaitable[object]],
        write: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Carry messages both ways until the stream ends."""
        line = self._lines[name]
        line.take(stream)
        writing = asyncio.ensure_future(line.pump(stream, write))
        try:
            self._changed()
            while isinstance(message := await read(), Message):
                self._deliver(name, message)
        finally:
            line.leave(stream)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    # Being called.

    async def answer(self, context: Context) -> None:
        name = self._caller(context)
        if name is None or name not in self._peers:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the caller is no member of this store")
        assert name is not None
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                greeting = await context.read()
            self._check(name, greeting if isinstance(greeting, Message) else Message())
        except (_Refused, TimeoutError) as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error) or "there was no greeting")
        await context.write(self._hello())
        log.info("member %s has called", name)
        await self._converse(name, context, context.read, context.write)

    def _caller(self, context: Context) -> str | None:
        """The member whose certificate the caller has shown; None: it is nobody's."""
        for certificate in context.auth_context().get("x509_pem_cert") or ():
            try:
                common_name = identity_of(certificate).name
            except ValueError:
                return None
            return common_name.removeprefix(MEMBER_PREFIX) if common_name.startswith(MEMBER_PREFIX) else None
        return None

    def _hello(self) -> Message:
        return Message(hello=Hello(cluster=self._cluster, member=self._member, version=VERSION))

    def _check(self, name: str, greeting: Message) -> None:
        hello = greeting.hello
        if hello.cluster != self._cluster:
            raise _Refused(f"it belongs to the cluster {hello.cluster!r}, this member to {self._cluster!r}")
        if hello.member != name:
            raise _Refused(f"it is the member {hello.member!r}, its certificate is that of {name!r}")
        if hello.version != VERSION:
            raise _Refused(f"it speaks version {hello.version}, this member version {VERSION}")

    def _deliver(self, name: str, message: Message) -> None:
        if self._receive is not None:
            self._receive(name, message)


class _Refused(Exception):
    """The other end is not who it should be."""


class _Door(peers_pb2_grpc.PeersServicer):
    def __init__(self, wire: GrpcWire) -> None:
        self._wire = wire

    async def Exchange(  # type: ignore[override]  # noqa: N802 - the stub expects a generator; this one writes
        self, request_iterator: AsyncIterator[Message], context: Context
    ) -> None:
        await self._wire.answer(context)


def _ignore() -> None:
    """Nobody wants to know yet."""
