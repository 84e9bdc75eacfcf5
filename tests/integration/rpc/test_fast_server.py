"""The event loop's own gRPC server, called by gRPC's client and by a hostile one that speaks in frames."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from orchestrator.rpc import FastServer, Limits, frames, server_tls
from orchestrator.rpc.call import Call
from orchestrator.rpc.headers import literal
from tests.integration.store.certificates import Authority

AUTHORITY = Authority()
SERVER = AUTHORITY.member("a")
CALLER = AUTHORITY.member("caller")
NAME = "a.store.navarch.internal"
LIMITS = Limits(message_bytes=1 << 20, received_bytes=4 << 20, calls=100)


class Service:
    """Methods that do what tests need, and what was seen of their calls."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.written = 0

    async def echo(self, message: bytes, call: Call) -> bytes:
        return message

    async def refuse(self, message: bytes, call: Call) -> bytes:
        await call.abort(grpc.StatusCode.OUT_OF_RANGE, "100 % wrong: ünknown\nline", (("why", "because"),))

    async def fail(self, message: bytes, call: Call) -> bytes:
        raise RuntimeError("nobody foresaw this")

    async def hang(self, message: bytes, call: Call) -> bytes:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return b""

    async def count(self, message: bytes, call: Call) -> None:
        await call.send_initial_metadata((("so-many", message.decode()),))
        for number in range(int(message)):
            await call.write(str(number).encode())

    async def flood(self, message: bytes, call: Call) -> None:
        self.begun.set()
        while True:
            await call.write(bytes(64 << 10))
            self.written += 64 << 10

    async def sum(self, requests: AsyncIterator[bytes], call: Call) -> None:
        total = 0
        async for message in requests:
            total += int(message)
            await call.write(str(total).encode())

    async def who(self, message: bytes, call: Call) -> bytes:
        assert call.peer().startswith("127.0.0.1:")
        assert ("key", "value") in call.invocation_metadata()
        return call.auth_context()["x509_pem_cert"][0]

    def handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        unary: dict[str, Callable[[bytes, Call], Awaitable[bytes]]] = {
            "Echo": self.echo,
            "Refuse": self.refuse,
            "Fail": self.fail,
            "Hang": self.hang,
            "Who": self.who,
        }
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(behaviour) for name, behaviour in unary.items()
        }
        methods["Count"] = grpc.unary_stream_rpc_method_handler(self.count)
        methods["Flood"] = grpc.unary_stream_rpc_method_handler(self.flood)
        methods["Sum"] = grpc.stream_stream_rpc_method_handler(self.sum)
        return grpc.method_handlers_generic_handler("test.Service", methods)


class Served:
    def __init__(self, service: Service, server: FastServer, port: int, channel: grpc.aio.Channel) -> None:
        self.service, self.server, self.port, self.channel = service, server, port, channel

    async def call(self, method: str, message: bytes = b"") -> bytes:
        multi = self.channel.unary_unary(f"/test.Service/{method}")  # type: ignore[call-arg]  # plain bytes
        reply: bytes = await multi(message, metadata=(("key", "value"),), timeout=20)
        return reply

    def stream(self, method: str, message: bytes = b"") -> grpc.aio.UnaryStreamCall[bytes, bytes]:
        multi = self.channel.unary_stream(f"/test.Service/{method}")  # type: ignore[call-arg]  # plain bytes
        call: grpc.aio.UnaryStreamCall[bytes, bytes] = multi(message)
        return call


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    service = Service()
    server = FastServer((service.handler(),), LIMITS)
    port = await server.start("127.0.0.1:0", server_tls(SERVER.authority, SERVER.certificate, SERVER.key))
    tls = grpc.ssl_channel_credentials(CALLER.authority, CALLER.key, CALLER.certificate)
    options = (("grpc.ssl_target_name_override", NAME), ("grpc.max_receive_message_length", -1))
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", tls, options=options) as channel:
        yield Served(service, server, port, channel)
    await server.stop(0)


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 65_530, 65_536, 300_000, (1 << 20) - 1, 1 << 20])
async def test_messages_of_every_size_go_both_ways(served: Served, size: int) -> None:
    message = bytes(number % 251 for number in range(size))
    assert await served.call("Echo", message) == message


async def test_many_calls_at_once_do_not_mix(served: Served) -> None:
    messages = [str(number).encode() * (number % 97) for number in range(3000)]
    assert await asyncio.gather(*(served.call("Echo", message) for message in messages)) == messages


async def test_what_a_handler_refuses_with_arrives_as_it_is(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.call("Refuse")
    assert caught.value.code() == grpc.StatusCode.OUT_OF_RANGE
    assert caught.value.details() == "100 % wrong: ünknown\nline"
    assert ("why", "because") in [tuple(each) for each in caught.value.trailing_metadata() or ()]


async def test_a_handler_that_breaks_tells_nothing_of_itself(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.call("Fail")
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "foresaw" not in (caught.value.details() or "")
    assert await served.call("Echo", b"still there") == b"still there"


async def test_a_method_that_is_not_there(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.call("Nothing")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_the_caller_is_known_by_its_certificate(served: Served) -> None:
    assert (await served.call("Who")).split() == CALLER.certificate.split()


async def test_a_stream_has_headers_first_and_then_everything_in_order(served: Served) -> None:
    call = served.stream("Count", b"2000")
    assert ("so-many", "2000") in tuple(await call.initial_metadata() or ())
    assert [int(message) async for message in call] == list(range(2000))


async def test_both_sides_stream(served: Served) -> None:
    multi = served.channel.stream_stream("/test.Service/Sum")  # type: ignore[call-arg]  # plain bytes
    call = multi()  # type: ignore[call-arg]  # it is written to below
    for number in range(1, 100):
        await call.write(str(number).encode())
        assert await call.read() == str(number * (number + 1) // 2).encode()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF  # type: ignore[attr-defined]
    assert await call.code() == grpc.StatusCode.OK


async def test_a_reader_that_does_not_read_holds_its_writer_back_and_nobody_else(served: Served) -> None:
    call = served.stream("Flood")
    await call.read()
    before = -1
    while before < served.service.written:
        before = served.service.written
        for _ in range(20):
            assert await served.call("Echo", b"others") == b"others"
    assert served.service.written < 64 << 20
    for _ in range(1000):
        assert len(await call.read()) == 64 << 10  # type: ignore[arg-type]
    call.cancel()


async def test_a_caller_that_goes_has_its_handler_cancelled(served: Served) -> None:
    calling = asyncio.ensure_future(served.call("Hang"))
    await served.service.begun.wait()
    calling.cancel()
    async with asyncio.timeout(5):
        await served.service.cancelled.wait()


async def test_stopping_lets_calls_end_and_then_ends_them(served: Served) -> None:
    calling = asyncio.ensure_future(served.call("Hang"))
    await served.service.begun.wait()
    stopping = asyncio.ensure_future(served.server.stop(0.2))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calling
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    await stopping


async def test_a_message_over_the_limit_is_refused_before_it_is_there(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.call("Echo", bytes((1 << 20) + 1))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await served.call("Echo", b"next") == b"next"


async def test_without_a_certificate_of_the_authority_there_is_no_connection(served: Served) -> None:
    stranger = Authority().member("caller")
    tls = grpc.ssl_channel_credentials(CALLER.authority, stranger.key, stranger.certificate)
    options = (("grpc.ssl_target_name_override", NAME),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{served.port}", tls, options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Service/Echo")(b"")  # type: ignore[call-arg]
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


# A client that does not keep to the protocol.


CALL = b"\x83" + literal(":path", "/test.Service/Hang") + literal("content-type", "application/grpc")


def headers(stream: int, block: bytes = CALL, flags: int = frames.END_HEADERS) -> bytes:
    return frames.frame(frames.HEADERS, flags, stream, block)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: somebody\r\n\r\n", frames.PROTOCOL_ERROR),
        (frames.PREFACE + frames.HEAD.pack(0xFFFF, 0xFF, frames.DATA, 0, 1), frames.FRAME_SIZE_ERROR),
        (frames.PREFACE + frames.frame(frames.DATA, 0, 7, b"x"), frames.PROTOCOL_ERROR),
        (frames.PREFACE + headers(2), frames.PROTOCOL_ERROR),
        (frames.PREFACE + headers(1, b"\xff\xff\xff\xff\xff\xff"), frames.COMPRESSION_ERROR),
        (frames.PREFACE + headers(1, b"\x82", 0) + frames.frame(frames.PING, 0, 0, bytes(8)), frames.PROTOCOL_ERROR),
        (
            frames.PREFACE + headers(1, b"\x82", 0) + frames.frame(frames.CONTINUATION, 0, 1, bytes(16_000)) * 10,
            frames.ENHANCE_YOUR_CALM,
        ),
        (frames.PREFACE + frames.frame(frames.CONTINUATION, 0, 1, b""), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0, b"12345"), frames.FRAME_SIZE_ERROR),
        (frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), frames.FLOW_CONTROL_ERROR),
        (frames.PREFACE + frames.window_update(0, frames.LARGEST_WINDOW) * 2, frames.FLOW_CONTROL_ERROR),
        (frames.PREFACE + frames.reset(9, frames.CANCEL), frames.PROTOCOL_ERROR),
        (frames.PREFACE + headers(1) + frames.frame(frames.DATA, frames.PADDED, 1, b"\x09abc"), frames.PROTOCOL_ERROR),
    ],
    ids=[
        "not HTTP/2",
        "a frame too long",
        "data before its call",
        "an even number",
        "headers that do not parse",
        "a frame inside a header block",
        "a header block without end",
        "a continuation of nothing",
        "settings of a wrong size",
        "a window too large",
        "a window that overflows",
        "the end of no call",
        "more padding than payload",
    ],
)
async def test_a_client_that_breaks_the_protocol_is_told_and_hung_up_on(served: Served, sent: bytes, code: int) -> None:
    reader, writer = await _connect(served.port)
    writer.write(sent)
    async with asyncio.timeout(5):
        heard = await reader.read(-1)
    kinds = list(_frames(heard))
    assert kinds[-1][0] == frames.GOAWAY
    assert int.from_bytes(kinds[-1][1][4:8]) == code
    writer.close()
    assert await served.call("Echo", b"others") == b"others"


async def test_half_sent_messages_do_not_fill_the_memory(served: Served) -> None:
    reader, writer = await _connect(served.port)
    writer.write(frames.PREFACE)
    piece = bytes(16_000)
    begun = b"\x00" + (1 << 20).to_bytes(4)
    for number in range(1, 20, 2):
        writer.write(headers(number) + frames.frame(frames.DATA, 0, number, begun))
        for _ in range(60):
            writer.write(frames.frame(frames.DATA, 0, number, piece))
    async with asyncio.timeout(10):
        heard = await reader.read(-1)
    assert int.from_bytes(list(_frames(heard))[-1][1][4:8]) == frames.ENHANCE_YOUR_CALM
    writer.close()


async def test_more_calls_than_are_allowed_are_refused_one_by_one(served: Served) -> None:
    reader, writer = await _connect(served.port)
    writer.write(frames.PREFACE)
    whole = b"\x00\x00\x00\x00\x00"
    for number in range(1, 2 * LIMITS.calls + 21, 2):
        writer.write(headers(number) + frames.frame(frames.DATA, frames.END_STREAM, number, whole))
    refused = 0
    async with asyncio.timeout(10):
        while refused < 10:
            head = await reader.readexactly(frames.HEAD_SIZE)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] == frames.RST_STREAM:
                assert int.from_bytes(payload) == frames.REFUSED_STREAM
                refused += 1
    writer.close()


async def test_frames_may_come_byte_by_byte(served: Served) -> None:
    reader, writer = await _connect(served.port)
    block = b"\x83" + literal(":path", "/test.Service/Echo") + literal("content-type", "application/grpc")
    message = frames.frame(frames.DATA, frames.END_STREAM | frames.PADDED, 1, b"\x02\x00\x00\x00\x00\x02hi\x00\x00")
    sent = (
        frames.PREFACE + headers(1, block[:5], 0) + frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[5:])
    )
    for byte in sent + message:
        writer.write(bytes([byte]))
        await writer.drain()
    heard = b""
    async with asyncio.timeout(10):
        while b"\x00\x00\x00\x00\x02hi" not in heard:
            heard += await reader.read(4096)
    writer.close()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cadata=CALLER.authority.decode())
    context.set_alpn_protocols(["h2"])
    pair = Path(f"/proc/self/fd/{_memory_file(CALLER.certificate + CALLER.key)}")
    context.load_cert_chain(pair)
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("pair")
    os.write(descriptor, content)
    return descriptor


def _frames(heard: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(heard) >= frames.HEAD_SIZE:
        end = frames.HEAD_SIZE + int.from_bytes(heard[:3])
        found.append((heard[3], heard[frames.HEAD_SIZE : end]))
        heard = heard[end:]
    return found
