"""The HTTPS port of the REST door: TLS, HTTP/1.1, and the limits of a connection.

A client may show a certificate of the cluster's authority; one that shows another is refused in the handshake. A
connection that has not sent its first request's head within `HEAD_SECONDS` is closed, and one between two requests
after `IDLE_SECONDS`; so a client that sends a byte now and then holds nothing for long. What is not HTTP is answered
with 400 or 431 and nothing else: it is the client's fault, and no line of our log.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

log = logging.getLogger("rest")

HEAD_SECONDS: Final = 20.0
IDLE_SECONDS: Final = 90.0
HANDSHAKE_SECONDS: Final = 10.0
MAX_HEAD_BYTES: Final = 16 << 10
CLOSE_SECONDS: Final = 3.0

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener:
    """Serves `answer` on an address until it is closed."""

    def __init__(self, answer: Answer, *, max_body: int) -> None:
        self._max_body = max_body
        self._silent: dict[RequestHandler, asyncio.TimerHandle] = {}
        """Connections that have not sent a request yet, and what ends them."""
        self._server = _Server(
            answer,
            request_factory=self._request,
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=1.0,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            access_log=None,
        )
        self._listening: asyncio.Server | None = None
        self.port = 0

    async def open(self, listen: str, tls: ssl.SSLContext) -> None:
        """Bind. Raises OSError when the address is taken."""
        host, _, port = listen.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            self._listening = await loop.create_server(
                self._connected, host.strip("[]"), int(port), ssl=tls, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError as error:
            raise OSError(f"can't listen on {listen}: {error}") from error
        self.port = self._listening.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no new connections, let answers under way end, then end the rest."""
        if self._listening is not None:
            self._listening.close()
        for handler, timer in self._silent.items():
            timer.cancel()
            handler.force_close()
        self._silent.clear()
        await self._server.shutdown(CLOSE_SECONDS)

    def _connected(self) -> RequestHandler:
        handler = self._server()
        self._silent[handler] = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up, handler)
        return handler

    def _give_up(self, handler: RequestHandler) -> None:
        del self._silent[handler]
        handler.force_close()

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        if (timer := self._silent.pop(protocol, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=self._max_body)


class _Connection(RequestHandler):
    """One connection, which says of a client's faults no more than that they are some."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.debug("not HTTP: %r", exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        status = 431 if isinstance(exc, LineTooLong) else 400
        response = web.Response(status=status, text=f"{status} {_PHRASES[status]}", headers={"Connection": "close"})
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        if isinstance(kw.get("exc_info"), RequestPayloadError | HttpProcessingError):
            log.debug("a body that nobody reads is not HTTP: %r", kw["exc_info"])
        else:
            super().log_exception(*args, **kw)


class _Server(web.Server):
    """Makes the connections."""

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


_PHRASES: Final = {400: "Bad Request", 431: "Request Header Fields Too Large"}


def server_tls(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """TLS that asks for a client's certificate and takes none but the authority's; showing none is possible."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context
