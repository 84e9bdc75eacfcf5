"""The wire between members: one gRPC stream for each pair, both ways, mutual TLS.

Of two members the one whose name comes first opens the stream, and opens it again when it breaks; the other does so
only where nothing has come for a while, as when the first does not know it yet. Who is at the other end, the
certificates say: a member's certificate is signed by the cluster's authority, its common name is the member's with a
prefix nobody else's has, and it serves under a name made of it. The greeting that follows tells a member of another
cluster, one that was removed, or one of another version, why it is turned away (`greeting`).

What cannot be sent at once waits, up to a number of bytes for each peer; beyond that it is dropped, as a broken line
would: Raft sends it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import grpc
import grpc.aio
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from orchestrator.clock import Clock
from orchestrator.pki import STORE_PREFIX, identity_of, store_host
from orchestrator.store.errors import StoreUnavailable
from orchestrator.store.greeting import Greeter
from orchestrator.store.v1 import peers_pb2_grpc
from orchestrator.store.v1.raft_pb2 import Message
from orchestrator.store.wire import Receive

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 32 << 20
QUEUE_BYTES = 64 << 20
_AGAIN_FIRST, _AGAIN_MOST = 0.05, 1.0
"""Seconds before a broken stream is opened again; it doubles."""
_HELLO_SECONDS = 5.0
_GRACE = 0.5
"""Seconds for which the member whose name comes later leaves it to the other to open the stream."""
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


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM: the authority, and this member's certificate and key."""

    authority: bytes
    certificate: bytes
    key: bytes

    def check(self, member: str, now: datetime) -> None:
        """Raises StoreUnavailable when the other members would turn this one away for its certificate."""
        try:
            authority = x509.load_pem_x509_certificate(self.authority)
            own = x509.load_pem_x509_certificate(self.certificate)
            name = identity_of(self.certificate).name
            own.verify_directly_issued_by(authority)
        except InvalidSignature as error:
            raise StoreUnavailable("the member's certificate is not of the cluster's authority") from error
        except (ValueError, TypeError) as error:
            raise StoreUnavailable(f"the member's certificate cannot be used: {error}") from error
        if name != STORE_PREFIX + member:
            raise StoreUnavailable(f"the member's certificate is for {name!r}, not for {STORE_PREFIX + member!r}")
        if not own.not_valid_before_utc <= now <= own.not_valid_after_utc:
            raise StoreUnavailable(
                f"the member's certificate is valid from {own.not_valid_before_utc} to {own.not_valid_after_utc} only"
            )


class _Line:
    """What waits to be sent to one peer, and the stream that it is sent on."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self._reading: asyncio.Task[None] | None = None
        """Of the stream that has the line."""

    @property
    def up(self) -> bool:
        return self._reading is not None

    async def wait_down(self) -> None:
        await self._down.wait()

    def put(self, message: Message) -> None:
        size = message.ByteSize()
        if self._bytes + size <= QUEUE_BYTES:
            self._queue.append(message)
            self._bytes += size
            self._news.set()

    def take(self, reading: asyncio.Task[None]) -> None:
        """A new stream begins; whatever had the line before ends. What waited is of the past."""
        self.cut()
        self._reading = reading
        self._down.clear()
        self._queue.clear()
        self._bytes = 0

    def leave(self, reading: asyncio.Task[None]) -> None:
        """The stream has ended."""
        if self._reading is reading:
            self._reading = None
            self._down.set()

    def cut(self) -> None:
        """End the stream that has the line."""
        if self._reading is not None:
            self._reading.cancel()
            self.leave(self._reading)

    async def pump(self, reading: asyncio.Task[None], write: Callable[[Message], Awaitable[None]]) -> None:
        """Write what is put, until the stream ends or loses the line."""
        while self._reading is reading:
            while self._queue and self._reading is reading:
                message = self._queue.popleft()
                self._bytes -= message.ByteSize()
                await write(message)
            self._news.clear()
            if not self._queue and self._reading is reading:
                await self._news.wait()


class GrpcWire:
    """One member's end of all its streams."""

    def __init__(self, member: str, *, listen: str, credentials: Credentials, clock: Clock) -> None:
        """`listen`: HOST:PORT where the other members call. Who they are, the store says (`set_peers`)."""
        self._member = member
        self._credentials, self._clock = credentials, clock
        self._addresses: dict[str, str] = {}
        self._lines: dict[str, _Line] = {}
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._receive: Receive = _nobody_hears
        self._changed: Callable[[], None] = _ignore
        self._greeter: Greeter | None = None
        """Once the store has started."""
        self._listen = listen
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Bind the address. Raises StoreUnavailable when it is taken, or when the certificate is of no use."""
        self._credentials.check(self._member, self._clock.now())
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

    def start(self, receive: Receive, changed: Callable[[], None], greeter: Greeter) -> None:
        self._receive, self._changed, self._greeter = receive, changed, greeter
        self.set_peers(self._addresses)

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """A member that has moved is called at its new address the next time."""
        self._addresses = dict(peers)
        if self._greeter is None:
            return
        loop = asyncio.get_running_loop()
        for name in peers:
            if name not in self._calls:
                self._calls[name] = loop.create_task(self._call(name), name=f"store-peer-{name}")
        for name in set(self._calls) - set(peers):
            self._calls.pop(name).cancel()
            self._line(name).cut()

    def send(self, member: str, message: Message) -> None:
        line = self._lines.get(member)
        if line is not None and line.up:
            line.put(message)

    def connected(self, member: str) -> bool:
        line = self._lines.get(member)
        return line is not None and line.up

    async def close(self) -> None:
        tasks = list(self._calls.values())
        for task in tasks:
            task.cancel()
        for line in self._lines.values():
            line.cut()
        if tasks:
            await asyncio.wait(tasks)
        if self._server is not None:
            await self._server.stop(None)

    def _line(self, name: str) -> _Line:
        return self._lines.setdefault(name, _Line())

    # Calling.

    async def _call(self, name: str) -> None:
        """Have a stream to the peer for as long as it is one."""
        line = self._line(name)
        again = _AGAIN_FIRST
        said = ""
        while True:
            await line.wait_down()
            if name < self._member or not self._addresses[name]:
                await self._clock.sleep(_GRACE)
                if line.up or not self._addresses[name]:
                    continue
            began = self._clock.monotonic()
            address = self._addresses[name]
            try:
                await self._exchange(name, address)
            except (grpc.aio.AioRpcError, _Refused, TimeoutError) as error:
                why = error.details() or "" if isinstance(error, grpc.aio.AioRpcError) else str(error)
                if why != said:
                    log.warning("no connection to member %s at %s: %s", name, address, why)
                    said = why
            except Exception:
                # Whatever it is: a peer that is not called any more would be lost until the next start.
                log.exception("no connection to member %s at %s", name, address)
            again = _AGAIN_FIRST if self._clock.monotonic() - began > _AGAIN_MOST else min(2 * again, _AGAIN_MOST)
            await self._clock.sleep(again)

    async def _exchange(self, name: str, address: str) -> None:
        assert self._greeter is not None
        tls = grpc.ssl_channel_credentials(
            self._credentials.authority, self._credentials.key, self._credentials.certificate
        )
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", store_host(name)))
        async with grpc.aio.secure_channel(address, tls, options=options) as channel:
            call = peers_pb2_grpc.PeersStub(channel).Exchange()  # type: ignore[call-arg]  # it is written to below
            await call.write(Message(hello=self._greeter.hello()))
            async with asyncio.timeout(_HELLO_SECONDS):
                greeting = await call.read()
            if not isinstance(greeting, Message):
                raise _Refused("it hung up")
            if greeting.WhichOneof("body") == "removed":
                self._receive(name, greeting)
                raise _Refused(f"it says that {self._member} is no member of this store any more")
            turned_away = self._greeter.judge(name, greeting.hello)
            if turned_away is not None:
                if turned_away.removed is not None:
                    await call.write(Message(removed=turned_away.removed))
                    await call.done_writing()
                raise _Refused(turned_away.why)
            log.info("connected to member %s at %s", name, address)
            await self._converse(name, call.read, call.write)

    async def _converse(
        self, name: str, read: Callable[[], Awaitable[object]], write: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Carry messages both ways until the stream ends, or another one takes its place."""
        line = self._line(name)
        reading = asyncio.ensure_future(self._read(name, read))
        line.take(reading)
        writing = asyncio.ensure_future(line.pump(reading, write))
        try:
            self._changed()
            await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            line.leave(reading)
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _read(self, name: str, read: Callable[[], Awaitable[object]]) -> None:
        while isinstance(message := await read(), Message):
            self._receive(name, message)

    # Being called.

    async def answer(self, context: Context) -> None:
        name = self._caller(context)
        if name is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the caller is no member of a store")
        if self._greeter is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this member is only starting")
        assert name is not None
        assert self._greeter is not None
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                greeting = await context.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "there was no greeting")
        turned_away = self._greeter.judge(name, (greeting if isinstance(greeting, Message) else Message()).hello)
        if turned_away is not None:
            if turned_away.removed is not None:
                await context.write(Message(removed=turned_away.removed))
            log.warning("turned away member %s: %s", name, turned_away.why)
            stranger, other = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION
            await context.abort(stranger if turned_away.stranger else other, turned_away.why)
        await context.write(Message(hello=self._greeter.hello()))
        log.info("member %s has called", name)
        await self._converse(name, context.read, context.write)

    def _caller(self, context: Context) -> str | None:
        """The member whose certificate the caller has shown; None: it is nobody's."""
        for certificate in context.auth_context().get("x509_pem_cert") or ():
            try:
                common_name = identity_of(certificate).name
            except ValueError:
                return None
            return common_name.removeprefix(STORE_PREFIX) if common_name.startswith(STORE_PREFIX) else None
        return None


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


def _nobody_hears(member: str, message: Message) -> None:
    """The store has not started yet."""
