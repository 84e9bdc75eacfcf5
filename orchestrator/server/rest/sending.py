"""Answers on their way: in the media type that was asked for, compressed where it pays, with their headers."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from orchestrator.api import errors
from orchestrator.server.encoding import Stored
from orchestrator.server.rest import answers
from orchestrator.server.rest.answers import Shape
from orchestrator.server.rest.json_bytes import dump
from orchestrator.server.rest.negotiation import JSON, Wanted

COMPRESSED_FROM: Final = 128 << 10
"""Bytes from which an answer is compressed for a client that takes it so."""


async def one(
    request: web.BaseRequest,
    shape: Shape,
    stored: Stored,
    wanted: Wanted,
    *,
    status: int = 200,
    warnings: Iterable[str] = (),
) -> web.StreamResponse:
    """One object."""
    return await sent(request, shape.one(stored), wanted, status=status, warnings=warnings)


async def sent(
    request: web.BaseRequest, body: bytes, wanted: Wanted, *, status: int = 200, warnings: Iterable[str] = ()
) -> web.StreamResponse:
    """A whole answer, compressed if it is large and the client takes it so."""
    if wanted.media_type != JSON:
        body = await asyncio.to_thread(answers.in_media_type, body, wanted)
    squeeze = compressor(request) if len(body) >= COMPRESSED_FROM else None
    response = whole(body, wanted, status=status)
    if squeeze is not None:
        response.body = await asyncio.to_thread(lambda: squeeze.compress(body) + squeeze.flush())
        response.headers["Content-Encoding"] = "gzip"
    for name, value in answers.warning_headers(warnings):
        response.headers.add(name, value)
    return response


def whole(body: bytes, wanted: Wanted, *, status: int = 200) -> web.Response:
    """An answer that is all there."""
    headers = {"Content-Type": wanted.content_type, "Cache-Control": "no-cache, private"}
    return web.Response(body=body, status=status, headers=headers)


def told(document: Mapping[str, object], wanted: Wanted) -> web.Response:
    """A document of the server's own."""
    return whole(answers.in_media_type(dump(document), wanted), wanted)


def failed(error: errors.ApiError) -> web.Response:
    """An error, as a Status."""
    headers = {"Content-Type": JSON, "Cache-Control": "no-cache, private"}
    if error.retry_after:
        headers["Retry-After"] = str(error.retry_after)
    return web.Response(body=dump(answers.failure(error)), status=error.http, headers=headers)


def compressor(request: web.BaseRequest) -> Any | None:
    """A gzip stream, if the client takes one."""
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return None
    return zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
