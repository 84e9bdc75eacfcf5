"""The health endpoint of a process: `/healthz`, `/readyz` and `/metrics` over plain HTTP.

A server of a hundred lines on asyncio's streams, since all it has to do is answer a GET and hang up; a web framework
would cost each daemon 20 MB and a fifth of a second. Everything a peer can make it hold is bounded: the size and the
time of a request, the number of connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from orchestrator.fatal import Fatal

log = logging.getLogger("health")

REQUEST_BYTES = 8 << 10
REQUEST_SECONDS = 5.0
CONNECTIONS = 32

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_TEXT = "text/plain; charset=utf-8"


class HealthServer:
    """Answers for one process. `checks` gives for each part an empty string, or what is the matter with it."""

    def __init__(self, address: str, checks: Callable[[], Mapping[str, str]]) -> None:
        self._host, self._port = split_address(address)
        self._checks = checks
        self._server: asyncio.Server | None = None
        self._connections = 0

    @property
    def address(self) -> str:
        """Where it listens, with the port the system chose if 0 was asked for."""
        if self._server is None:
            raise RuntimeError("the health server is not started")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self) -> None:
        """Fatal when the address can't be had."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=REQUEST_BYTES)
        except OSError as error:
            raise Fatal(
                f"can't listen on {self._host}:{self._port} for health checks: {error.strerror or error}; "
                "choose another with --health-address"
            ) from error

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS:
                async with asyncio.timeout(REQUEST_SECONDS):
                    writer.write(await self._exchange(reader))
                    await writer.drain()
        except (ConnectionError, TimeoutError):
            # The peer went away, or is too slow to care for.
            pass
        finally:
            self._connections -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return response(431, "the request is too large\n")
        except asyncio.IncompleteReadError as error:
            return response(400, "the request is not complete\n") if error.partial else b""
        return answer(head, self._checks)


def answer(head: bytes, checks: Callable[[], Mapping[str, str]]) -> bytes:
    """The response to a request, given its first line and headers."""
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return response(400, "not an HTTP/1 request\n")
    method, path = words[0].decode("latin-1"), words[1].decode("latin-1").split("?", 1)[0]
    if method not in ("GET", "HEAD"):
        return response(405, "only GET and HEAD\n", allow="GET, HEAD")
    body = method == "GET"
    match path:
        case "/healthz" | "/livez":
            # Answering is being alive: the event loop turns.
            return response(200, "ok\n", body=body)
        case "/readyz":
            found = checks()
            lines = [f"[-]{name}: {problem}" if problem else f"[+]{name} ok" for name, problem in found.items()]
            return response(503 if any(found.values()) else 200, "\n".join(lines) + "\n", body=body)
        case "/metrics":
            return response(200, generate_latest().decode(), content_type=CONTENT_TYPE_LATEST, body=body)
        case _:
            return response(404, "there are /healthz, /readyz and /metrics\n", body=body)


def response(status: int, text: str, *, content_type: str = _TEXT, allow: str = "", body: bool = True) -> bytes:
    content = text.encode()
    head = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    if allow:
        head.append(f"Allow: {allow}")
    return "\r\n".join([*head, "", ""]).encode() + (content if body else b"")


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 7446) from "127.0.0.1:7446"; IPv6 in brackets. ValueError when it is not an address and a port."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise ValueError(f'"{address}" is not an address with a port, such as 127.0.0.1:7446')
    return host.strip("[]"), int(port)
