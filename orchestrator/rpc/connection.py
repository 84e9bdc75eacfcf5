"""One client's connection: frames in, calls begun and ended, frames out.

Everything happens in callbacks of the event loop. What is to be sent is gathered and written once a turn, so that calls
which are answered together leave in one piece, encrypted once. What a caller does not take yet waits with its call,
whose handler waits in `write`; what comes in is bounded for each message and for all together.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from orchestrator.rpc import frames
from orchestrator.rpc.call import Call
from orchestrator.rpc.frames import ConnectionBroken
from orchestrator.rpc.headers import BEGINNING, GOOD_END, HeaderReader, Metadata, beginning, ending

if TYPE_CHECKING:
    from orchestrator.rpc.server import FastServer

log = logging.getLogger(__name__)

_HEAD = frames.HEAD
_REPLY = struct.Struct(f">HBBBI{len(BEGINNING)}sHBBBIBI")
"""A reply's headers, the head of its data's frame, and the message's prefix."""
_PREFIX = struct.Struct(">BI")
_PREFIX_SIZE = 5
_BLOCK_BYTES = 64 << 10
"""The longest header block that is put together from several frames."""
_CONTROL_FRAMES = 10_000
"""So many frames that ask for an answer may come while the other end does not read its answers."""


@dataclass(frozen=True, slots=True)
class Limits:
    message_bytes: int = 16 << 20
    received_bytes: int = 64 << 20
    """Of all messages of one connection that are not whole yet."""
    calls: int = 10_000
    """At once on one connection."""
    keepalive: float = 30.0
    """Seconds of silence after which the other end is asked for a sign of life."""
    keepalive_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Method:
    """What is called, and how: a `streaming` one reads its messages itself, one that `replies` writes none itself."""

    behaviour: Callable[[bytes, Call], Awaitable[bytes | None]]
    streaming: bool
    replies: bool


class Connection(asyncio.Protocol):
    def __init__(self, server: FastServer, limits: Limits) -> None:
        self._server, self._limits = server, limits
        self._loop = asyncio.get_running_loop()
        self._reader = HeaderReader()
        self._calls: dict[int, Call] = {}
        self._blocked: dict[int, Call] = {}
        self._last = 0
        self._rest = b""
        self._greeted = False
        self._block: tuple[int, int, bytearray] | None = None
        """A header block whose continuation is to come: stream, flags, bytes."""
        self._window = self._stream_window = frames.DEFAULT_WINDOW
        self._frame = frames.DEFAULT_FRAME
        self._consumed = 0
        self._received = 0
        self._control = 0
        self._out: list[bytes] = []
        self._paused = False
        self._leaving = False
        self._heard = True
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.auth_context: dict[str, list[bytes]] = {}
        self.peer = ""

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            if tls.selected_alpn_protocol() != "h2":
                self._transport.abort()
                return
            certificate = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
            self.auth_context = {"x509_pem_cert": [certificate.encode()]}
        address = transport.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
        self._send(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: self._limits.calls,
                    frames.INITIAL_WINDOW_SIZE: self._limits.message_bytes + _PREFIX_SIZE,
                    frames.MAX_HEADER_LIST_SIZE: 16_384,
                }
            )
            + frames.window_update(0, self._limits.received_bytes)
        )
        self._timer = self._loop.call_later(self._limits.keepalive, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for call in list(self._calls.values()):
            self._drop(call)
        self._server.closed(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._control = 0
        self._pump_blocked()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._transport is None or self._transport.is_closing():
            return
        if self._rest:
            data = self._rest + data
        try:
            self._rest = self._take(data)
        except ConnectionBroken as error:
            log.warning("the connection of %s ends: %s", self.peer, error)
            self._send(frames.goaway(self._last, error.code, str(error)))
            self._flush()
            self._close()

    def _take(self, data: bytes) -> bytes:
        """Deal with all frames that are whole; returns what is left."""
        offset, size = 0, len(data)
        if not self._greeted:
            if size < len(frames.PREFACE):
                return data
            if not data.startswith(frames.PREFACE):
                raise ConnectionBroken(frames.PROTOCOL_ERROR, "the client does not speak HTTP/2")
            self._greeted = True
            offset = len(frames.PREFACE)
        while size - offset >= frames.HEAD_SIZE:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, offset)
            length = high << 8 | low
            if length > frames.DEFAULT_FRAME:
                raise ConnectionBroken(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            begin = offset + frames.HEAD_SIZE
            end = begin + length
            if end > size:
                break
            offset = end
            if self._block is not None and kind != frames.CONTINUATION:
                raise ConnectionBroken(frames.PROTOCOL_ERROR, "a frame inside a header block")
            if kind == frames.DATA:
                self._data(stream, flags, data[begin:end])
            elif kind == frames.HEADERS:
                self._headers(stream, flags, data[begin:end])
            else:
                self._other(kind, flags, stream, data[begin:end])
        return data[offset:]

    # Frames that begin calls and carry their messages.

    def _headers(self, stream: int, flags: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.PRIORITIZED):
            payload = frames.unpadded(payload, flags)
        if flags & frames.END_HEADERS:
            self._begin_call(stream, flags, payload)
        else:
            self._block = (stream, flags, bytearray(payload))

    def _continuation(self, stream: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise ConnectionBroken(frames.PROTOCOL_ERROR, "the continuation of no header block")
        _, first_flags, block = self._block
        block += payload
        if len(block) > _BLOCK_BYTES:
            raise ConnectionBroken(frames.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & frames.END_HEADERS:
            self._block = None
            self._begin_call(stream, first_flags, bytes(block))

    def _begin_call(self, stream: int, flags: int, block: bytes) -> None:
        request = self._reader.read(block)
        if stream <= self._last:
            # Trailers of a call, which gRPC's clients do not send; what counts is that they end it.
            if (known := self._calls.get(stream)) is not None and flags & frames.END_STREAM:
                self._caller_ended(known)
            return
        if not stream & 1:
            raise ConnectionBroken(frames.PROTOCOL_ERROR, "a call of an even number")
        if self._leaving or len(self._calls) >= self._limits.calls:
            self._last = stream
            self._send(frames.reset(stream, frames.REFUSED_STREAM))
            return
        self._last = stream
        call = Call(self, stream, request, self._stream_window)
        self._calls[stream] = call
        method = None if request.refusal else self._server.method(request)
        if method is None:
            code = grpc.StatusCode.INTERNAL if request.refusal else grpc.StatusCode.UNIMPLEMENTED
            self.end(call, code, request.refusal or f"there is no method {request.path}")
            return
        call.method = method
        if method.streaming:
            self._start(call, method, b"")
        if flags & frames.END_STREAM:
            self._caller_ended(call)

    def _data(self, stream: int, flags: int, payload: bytes) -> None:
        self._consumed += len(payload)
        if self._consumed >= self._limits.received_bytes // 2:
            self._send(frames.window_update(0, self._consumed))
            self._consumed = 0
        call = self._calls.get(stream)
        if call is None:
            if stream > self._last:
                raise ConnectionBroken(frames.PROTOCOL_ERROR, "data of a call that has not begun")
            return
        if flags & frames.PADDED:
            payload = frames.unpadded(payload, flags & frames.PADDED)
        if call.ended_by_caller:
            raise ConnectionBroken(frames.PROTOCOL_ERROR, "data of a call that has ended")
        if not call.incoming and len(payload) >= _PREFIX_SIZE:
            compressed, length = _PREFIX.unpack_from(payload)
            if length == len(payload) - _PREFIX_SIZE and not compressed:
                call.messages.append(payload[_PREFIX_SIZE:])
                payload = b""
        if payload:
            call.incoming += payload
            self._received += len(payload)
            if not self._whole_messages(call):
                return
        if call.method is not None and call.method.streaming:
            if call.news is not None and not call.news.done():
                call.news.set_result(None)
        elif len(call.messages) > 1:
            self.end(call, grpc.StatusCode.INTERNAL, "the method takes one message")
            return
        if flags & frames.END_STREAM:
            self._caller_ended(call)

    def _whole_messages(self, call: Call) -> bool:
        """Take the whole messages out of what has come; False: the call has ended by that."""
        incoming = call.incoming
        while len(incoming) >= _PREFIX_SIZE:
            compressed, length = _PREFIX.unpack_from(incoming)
            if compressed:
                self.end(call, grpc.StatusCode.UNIMPLEMENTED, "compressed messages are not known here")
                return False
            if length > self._limits.message_bytes:
                why = f"a message of {length} bytes is larger than max ({self._limits.message_bytes})"
                self.end(call, grpc.StatusCode.RESOURCE_EXHAUSTED, why)
                return False
            end = _PREFIX_SIZE + length
            if len(incoming) < end:
                break
            call.messages.append(bytes(incoming[_PREFIX_SIZE:end]))
            del incoming[:end]
            self._received -= end
        if self._received > self._limits.received_bytes:
            raise ConnectionBroken(frames.ENHANCE_YOUR_CALM, "too much is sent at once")
        return True

    def consumed(self, call: Call, size: int) -> None:
        """A streaming handler has read so much: as much may come again."""
        call.read_bytes += size
        if call.read_bytes > self._limits.message_bytes // 2:
            self._send(frames.window_update(call.number, call.read_bytes))
            call.read_bytes = 0

    def _caller_ended(self, call: Call) -> None:
        call.ended_by_caller = True
        method = call.method
        if method is None:
            return
        if method.streaming:
            if call.news is not None and not call.news.done():
                call.news.set_result(None)
        elif not call.messages:
            self.end(call, grpc.StatusCode.INTERNAL, "the method takes one message")
        else:
            self._start(call, method, call.messages.popleft())

    # Other frames.

    def _other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        match kind:
            case frames.WINDOW_UPDATE:
                self._more_room(stream, frames.read_long(payload) & frames.LARGEST_WINDOW)
            case frames.PING:
                if not flags & frames.ACK:
                    self._answer(frames.frame(frames.PING, frames.ACK, 0, payload))
            case frames.SETTINGS:
                if not flags & frames.ACK:
                    self._settings(payload)
            case frames.RST_STREAM:
                if (call := self._calls.get(stream)) is not None:
                    self._drop(call)
                elif stream > self._last:
                    raise ConnectionBroken(frames.PROTOCOL_ERROR, "the end of a call that has not begun")
            case frames.CONTINUATION:
                self._continuation(stream, flags, payload)
            case frames.PUSH_PROMISE:
                raise ConnectionBroken(frames.PROTOCOL_ERROR, "a client that pushes")
            case _:
                """GOAWAY: the calls that run go on. PRIORITY and what is not known: nothing is to be done."""

    def _answer(self, data: bytes) -> None:
        if self._paused:
            self._control += 1
            if self._control > _CONTROL_FRAMES:
                raise ConnectionBroken(frames.ENHANCE_YOUR_CALM, "much is asked and no answer is read")
        self._send(data)

    def _settings(self, payload: bytes) -> None:
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.LARGEST_WINDOW:
                    raise ConnectionBroken(frames.FLOW_CONTROL_ERROR, "a window that is too large")
                for call in self._calls.values():
                    call.window += value - self._stream_window
                self._stream_window = value
            elif name == frames.MAX_FRAME_SIZE:
                self._frame = max(value, frames.DEFAULT_FRAME)
        self._answer(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._pump_blocked()

    def _more_room(self, stream: int, size: int) -> None:
        if stream == 0:
            self._window += size
            if self._window > frames.LARGEST_WINDOW:
                raise ConnectionBroken(frames.FLOW_CONTROL_ERROR, "a window that is too large")
            self._pump_blocked()
        elif (call := self._calls.get(stream)) is not None:
            call.window += size
            self._pump(call)

    # Calls.

    def _start(self, call: Call, method: Method, message: bytes) -> None:
        call.task = self._loop.create_task(self._run(call, method, message))

    async def _run(self, call: Call, method: Method, message: bytes) -> None:
        try:
            reply = await method.behaviour(message, call)
        except grpc.aio.AbortError:
            assert call.status is not None
            self.end(call, *call.status)
        except asyncio.CancelledError:
            self.end(call, grpc.StatusCode.CANCELLED, "the server stops")
            raise
        except Exception:  # the outermost edge of a request
            log.exception("%s failed", call.request.path)
            self.end(call, grpc.StatusCode.INTERNAL, "the server could not deal with the call; its log says why")
        else:
            if method.replies and reply is not None:
                self._reply(call, reply)
            else:
                self.end(call)

    def _reply(self, call: Call, message: bytes) -> None:
        """The whole of an answer, most often in one piece."""
        number, size = call.number, len(message) + _PREFIX_SIZE
        fits = size <= frames.DEFAULT_FRAME and size <= self._window and size <= call.window
        if not fits or call.headers_sent or self._paused:
            self.message(call, message)
            self.end(call)
        elif self._calls.pop(number, None) is not None:
            self._window -= size
            out = self._out
            if not out:
                self._loop.call_soon(self._flush)
            out.append(
                _REPLY.pack(
                    0, len(BEGINNING), frames.HEADERS, frames.END_HEADERS, number, BEGINNING,
                    size >> 8, size & 0xFF, frames.DATA, 0, number, 0, size - _PREFIX_SIZE,
                )
            )  # fmt: skip
            out.append(message)
            out.append(_HEAD.pack(0, len(GOOD_END), frames.HEADERS, _LAST_HEADERS, number))
            out.append(GOOD_END)

    def begin(self, call: Call, metadata: Metadata) -> None:
        """Send the headers of an answer."""
        if not call.headers_sent and call.number in self._calls:
            call.headers_sent = True
            self._send(frames.frame(frames.HEADERS, frames.END_HEADERS, call.number, beginning(metadata)))

    def message(self, call: Call, message: bytes) -> None:
        """Send a message, or keep it with the call for as long as the caller does not take it."""
        if call.number not in self._calls:
            return
        self.begin(call, ())
        data = _PREFIX.pack(0, len(message)) + message
        rest = data if call.outgoing else self._send_data(call, data)
        if rest:
            call.outgoing.append((rest, False))
            self._blocked[call.number] = call

    def end(
        self, call: Call, code: grpc.StatusCode = grpc.StatusCode.OK, why: str = "", metadata: Metadata = ()
    ) -> None:
        """Send the status, behind what waits to be sent."""
        if call.number not in self._calls:
            return
        block = ending(code.value[0], why, metadata)
        if not call.headers_sent:
            call.headers_sent = True
            block = BEGINNING + block
        if call.outgoing:
            call.outgoing.append((block, True))
        else:
            self._end(call, block)

    def _end(self, call: Call, block: bytes) -> None:
        self._send(frames.frame(frames.HEADERS, _LAST_HEADERS, call.number, block))
        if not call.ended_by_caller:
            self._send(frames.reset(call.number, frames.NO_ERROR))
        self._forget(call)
        if self._leaving and not self._calls:
            self._close()

    def _drop(self, call: Call) -> None:
        """The caller has gone."""
        self._forget(call)
        if call.task is not None:
            call.task.cancel()

    def _forget(self, call: Call) -> None:
        self._calls.pop(call.number, None)
        self._blocked.pop(call.number, None)
        self._received -= len(call.incoming)
        call.incoming.clear()

    # Sending.

    def _send_data(self, call: Call, data: bytes) -> bytes:
        """Send as much as is taken; returns the rest."""
        while data and not self._paused:
            size = min(len(data), self._window, call.window, self._frame)
            if size <= 0:
                break
            self._window -= size
            call.window -= size
            self._send(frames.frame(frames.DATA, 0, call.number, data[:size]))
            data = data[size:]
        return data

    def _pump_blocked(self) -> None:
        for call in list(self._blocked.values()):
            self._pump(call)

    def _pump(self, call: Call) -> None:
        """Send what waits, as far as it is taken."""
        while call.outgoing:
            data, is_end = call.outgoing.popleft()
            if is_end:
                self._end(call, data)
                break
            rest = self._send_data(call, data)
            if rest:
                call.outgoing.appendleft((rest, False))
                return
        self._blocked.pop(call.number, None)
        if call.room is not None and not call.room.done():
            call.room.set_result(None)

    def _send(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    # The end.

    def leave(self) -> None:
        """Take no more calls; close when those that run have ended."""
        if not self._leaving:
            self._leaving = True
            self._send(frames.goaway(self._last, frames.NO_ERROR))
            if not self._calls:
                self._close()

    def abort(self) -> None:
        """End all calls and close."""
        for call in list(self._calls.values()):
            if call.task is not None:
                call.task.cancel()
            self.end(call, grpc.StatusCode.UNAVAILABLE, "the server stops")
        self._close()

    def _close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _look(self) -> None:
        """Whether the other end is still there: it is asked after a silence, and given up after another."""
        assert self._transport is not None
        if self._heard:
            self._heard = False
            self._send(frames.frame(frames.PING, 0, 0, bytes(8)))
            self._timer = self._loop.call_later(self._limits.keepalive_timeout, self._check_life)
        else:
            self._timer = self._loop.call_later(self._limits.keepalive, self._look)

    def _check_life(self) -> None:
        if self._heard:
            self._timer = self._loop.call_later(self._limits.keepalive, self._look)
        elif self._transport is not None:
            log.info("%s does not answer any more", self.peer)
            self._transport.abort()


_LAST_HEADERS = frames.END_HEADERS | frames.END_STREAM
