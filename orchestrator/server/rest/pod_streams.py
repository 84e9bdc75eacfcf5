"""A pod's log over HTTP, and commands in its containers over WebSocket, as `kubectl logs` and `kubectl exec` ask.

A WebSocket carries channels, told apart by the first byte of a message: 0 standard input, 1 output, 2 errors, 3 how it
ended (a Status), 4 the terminal's size. In the fifth version of the protocol a message 255, CHANNEL closes a channel,
which is how standard input ends; in the fourth it never does.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import WSMsgType, web
from multidict import MultiMapping

from orchestrator.api import errors
from orchestrator.api.v1 import ExecReply, ExecRequest, ExecStart, LogsChunk, LogsRequest
from orchestrator.logs import fields
from orchestrator.server.caller import Caller
from orchestrator.server.rest.answers import failure
from orchestrator.server.rest.json_bytes import dump
from orchestrator.server.rest.options import flag, number
from orchestrator.server.rest.paths import Target
from orchestrator.server.streams import PodStreams

log = logging.getLogger("rest")

STDIN, STDOUT, STDERR, ENDED, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PING_SECONDS: Final = 20.0
MAX_MESSAGE: Final = 1 << 20


class RestStreams:
    """One instance a server."""

    def __init__(self, streams: PodStreams) -> None:
        self._streams = streams

    async def log(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        """The log as plain text, while it is followed without end."""
        asked = logs_request(target, request.query)
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
        async with aclosing(self._streams.logs(caller, asked)) as chunks:
            first = asyncio.ensure_future(anext(chunks, b""))
            try:
                # What can be refused, is refused before the answer begins, which a silent log does not keep back.
                done, _ = await asyncio.wait((first,), timeout=REFUSED_SECONDS)
                if done and (error := first.exception()) is not None:
                    raise error
                await response.prepare(request)
                await self._copy(response, first, chunks)
            except errors.ApiError as error:
                if not response.prepared:
                    raise
                log.info("a log was cut off: %s", error.message, extra=fields(path=request.path))
                if request.transport is not None:
                    request.transport.abort()
                return response
            finally:
                if not first.done():
                    first.cancel()
                    await asyncio.wait((first,))
        await response.write_eof()
        return response

    @staticmethod
    async def _copy(
        response: web.StreamResponse, first: asyncio.Future[bytes], chunks: AsyncGenerator[bytes, None]
    ) -> None:
        await response.write(LogsChunk.FromString(await first).data)
        async for chunk in chunks:
            await response.write(LogsChunk.FromString(chunk).data)

    async def exec(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        """A command with its streams. What the node refuses is told on the channel for how it ended."""
        start = exec_start(target, request.query)
        socket = web.WebSocketResponse(protocols=PROTOCOLS, heartbeat=PING_SECONDS, max_msg_size=MAX_MESSAGE)
        # Clients that get no WebSocket ask again in an older way, and show the answer to that.
        await self._streams.exec_address(caller, start)
        if not socket.can_prepare(request):
            raise errors.BadRequest("this subresource takes WebSocket connections only: Upgrade request required")
        await socket.prepare(request)
        async with aclosing(self._streams.exec(caller, start, input_of(socket))) as replies:
            await self._converse(socket, replies)
        await socket.close()
        return socket

    async def _converse(self, socket: web.WebSocketResponse, replies: AsyncGenerator[bytes, None]) -> None:
        try:
            async for message in replies:
                reply = ExecReply.FromString(message)
                match reply.WhichOneof("message"):
                    case "stdout":
                        await socket.send_bytes(bytes((STDOUT,)) + reply.stdout)
                    case "stderr":
                        await socket.send_bytes(bytes((STDERR,)) + reply.stderr)
                    case "exit_code":
                        await socket.send_bytes(bytes((ENDED,)) + dump(ended(reply.exit_code)))
        except errors.ApiError as error:
            await socket.send_bytes(bytes((ENDED,)) + dump(failure(error)))


async def input_of(socket: web.WebSocketResponse) -> AsyncIterator[bytes]:
    """What comes over the WebSocket, as messages for the node."""
    async for message in socket:
        if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
            continue
        data: bytes = message.data.encode() if isinstance(message.data, str) else message.data
        translated = _translated(data)
        if translated is not None:
            yield translated.SerializeToString()


def _translated(data: bytes) -> ExecRequest | None:
    """The request in a WebSocket message; None: it says nothing to the command."""
    if not data:
        return None
    channel, content = data[0], data[1:]
    if channel == STDIN and content:
        return ExecRequest(stdin=content)
    if channel == CLOSE and content[:1] == bytes((STDIN,)):
        return ExecRequest(close_stdin=True)
    if channel == RESIZE:
        try:
            size = json.loads(content)
            width, height = int(size["Width"]), int(size["Height"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        request = ExecRequest()
        request.resize.width, request.resize.height = max(0, min(width, 65535)), max(0, min(height, 65535))
        return request
    return None


def ended(code: int) -> Mapping[str, Any]:
    """The Status that tells a command's end."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def logs_request(target: Target, query: Mapping[str, str]) -> LogsRequest:
    """What the query asks of a log. Raises BadRequest."""
    request = LogsRequest(
        namespace=target.namespace,
        pod=target.name,
        container=query.get("container", ""),
        follow=flag(query, "follow"),
        previous=flag(query, "previous"),
        timestamps=flag(query, "timestamps"),
    )
    for name, field in (("sinceSeconds", "since_seconds"), ("tailLines", "tail_lines"), ("limitBytes", "limit_bytes")):
        value = number(query, name)
        if value is not None:
            setattr(request, field, value)
    if since := query.get("sinceTime"):
        try:
            request.since_time.FromDatetime(datetime.fromisoformat(since).astimezone(UTC))
        except (ValueError, OverflowError) as error:
            raise errors.BadRequest(f'invalid sinceTime "{since}": must be a time as in RFC 3339') from error
    return request


def exec_start(target: Target, query: MultiMapping[str]) -> ExecStart:
    """What the query asks to run. Raises BadRequest."""
    return ExecStart(
        namespace=target.namespace,
        pod=target.name,
        container=query.get("container", ""),
        command=query.getall("command", []),
        stdin=flag(query, "stdin"),
        stdout=flag(query, "stdout"),
        stderr=flag(query, "stderr"),
        tty=flag(query, "tty"),
    )


REFUSED_SECONDS: Final = 0.5
"""How long a refusal of the node is waited for before an answer begins."""
