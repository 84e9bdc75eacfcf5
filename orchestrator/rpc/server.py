"""The server: where it listens, what it serves, and how it stops."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import cast

import grpc

from orchestrator.rpc.call import Call
from orchestrator.rpc.connection import Connection, Limits, Method
from orchestrator.rpc.headers import Metadata, Request

_HANDSHAKE_SECONDS = 10.0


def server_tls(authority: bytes, certificate: bytes, key: bytes) -> ssl.SSLContext:
    """Mutual TLS out of PEM: a client must show a certificate of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.decode())
    context.set_alpn_protocols(["h2"])
    # The module reads keys from files only; this one is in memory and has no name.
    descriptor = os.memfd_create("key")
    try:
        os.write(descriptor, certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


class _Details:
    """What gRPC's handlers want to know of a call to find its method."""

    def __init__(self, method: str, metadata: Metadata) -> None:
        self.method = method
        self.invocation_metadata = metadata


class FastServer:
    def __init__(self, handlers: Sequence[grpc.GenericRpcHandler[bytes, bytes]], limits: Limits | None = None) -> None:
        """`handlers` take bytes and give bytes; they await, or are asynchronous generators where they stream."""
        self._handlers = tuple(handlers)
        self._limits = limits or Limits()
        self._methods: dict[str, Method] = {}
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._none_left = asyncio.Event()
        self._none_left.set()

    async def start(self, address: str, tls: ssl.SSLContext) -> int:
        """Listen at HOST:PORT; returns the port. Raises OSError when it is taken."""
        host, _, port = address.rpartition(":")
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self, self._limits),
            host.strip("[]"),
            int(port),
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            backlog=512,
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, grace: float) -> None:
        """Take no more calls, let those that run end for `grace` seconds, then end them."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.leave()
        try:
            async with asyncio.timeout(grace):
                await self._none_left.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()

    # What connections ask.

    def method(self, request: Request) -> Method | None:
        known = self._methods.get(request.path)
        if known is None:
            details = cast("grpc.HandlerCallDetails", _Details(request.path, request.metadata))
            for handlers in self._handlers:
                if (handler := handlers.service(details)) is not None:
                    known = self._methods[request.path] = _method(handler)
                    break
        return known

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._none_left.clear()

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._none_left.set()


def _method(handler: grpc.RpcMethodHandler[bytes, bytes]) -> Method:
    if handler.request_deserializer is not None or handler.response_serializer is not None:
        raise TypeError("this server serves handlers that take and give bytes")
    if handler.request_streaming:
        speak = cast("Callable[[AsyncIterator[bytes], Call], Awaitable[None]]", handler.stream_stream)

        async def converse(_: bytes, call: Call) -> None:
            await speak(call.iterate(), call)

        return Method(converse, streaming=True, replies=False)
    if handler.response_streaming:
        stream = cast("Callable[[bytes, Call], Awaitable[None]]", handler.unary_stream)
        return Method(stream, streaming=False, replies=False)
    answer = cast("Callable[[bytes, Call], Awaitable[bytes]]", handler.unary_unary)
    return Method(answer, streaming=False, replies=True)
