"""The body of a request on its way in: how large it may be, how long it may take, and in what form it must come.

A client that says at once that it will send too much is refused before anything of it is read, and one that waits to be
told that it may send (`Expect: 100-continue`) is told so only then. Bodies are taken as they are: one that is
compressed could grow to any size, and no client of this API compresses what it sends.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from orchestrator.api import errors
from orchestrator.server.rest.bodies import UnsupportedMediaType

MAX_BODY_BYTES: Final = 3 << 20
BODY_SECONDS: Final = 60.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def body_of(request: web.BaseRequest) -> bytes:
    """All of a request's body. Raises RequestEntityTooLarge, Timeout, BadRequest, UnsupportedMediaType."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedMediaType(f"the body of the request is encoded ({encoding[:64]}): send it as it is")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0  # what follows is the answer
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise errors.Timeout(f"the request's body did not come within {BODY_SECONDS:.0f} s") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise _too_large() from error
    except (RequestPayloadError, HttpProcessingError) as error:
        raise errors.BadRequest("the request's body is not what its head says: it can't be read") from error


def _too_large() -> errors.RequestEntityTooLarge:
    return errors.RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY_BYTES}")
