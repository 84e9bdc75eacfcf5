"""HTTP/1.1 as a hostile client speaks it: bytes that nobody checks go out, and the answer is read with care."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer. `last`: the server closes the connection behind it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    last: bool = False


class RawConnection:
    """One TLS connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext) -> RawConnection:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="127.0.0.1", limit=1 << 20
        )
        return cls(reader, writer)

    async def exchange(self, raw: bytes, *, head_only: bool = False) -> HttpReply | None:
        """Send the bytes, read one answer. None: the connection was closed without a whole one."""
        try:
            self.writer.write(raw)
            sending = asyncio.ensure_future(self.writer.drain())
            try:
                return await self.read(head_only=head_only)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            return None

    async def read(self, *, head_only: bool = False) -> HttpReply:
        """One answer. Raises IncompleteReadError when the connection ends before it does."""
        while True:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ", 2)[1])
            if status != 100:
                break
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        last = headers.get("connection", "").lower() == "close" or head[0].startswith("HTTP/1.0")
        if head_only or status in {204, 304, 101}:
            return HttpReply(status, headers, b"", last)
        if headers.get("transfer-encoding") == "chunked":
            return HttpReply(status, headers, await self._chunks(), last)
        if "content-length" in headers:
            return HttpReply(status, headers, await self.reader.readexactly(int(headers["content-length"])), last)
        return HttpReply(status, headers, await self.reader.read(_LIMIT), True)

    async def _chunks(self) -> bytes:
        pieces = []
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            pieces.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readuntil(b"\r\n")
        return b"".join(pieces)

    def abort(self) -> None:
        self.writer.transport.abort()


def request(method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """A well-formed request; header names have underscores."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
        if "Content_Type" not in headers:
            lines.append("Content-Type: application/json")
    return "\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape") + (body or b"")
