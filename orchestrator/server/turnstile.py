"""How many calls one caller may have open at a time, whatever the service and method.

The server takes a number of calls at once and refuses what comes on top, whoever it is from. Without a share for each
caller, one client that opens watches and forgets them would shut everybody else out.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio

from orchestrator.api import errors
from orchestrator.server.grpc_door import Context, caller_of, failures_reported

# What grpc declares of its handlers holds for servers without asyncio.
Handler: TypeAlias = Any
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]

MAX_CALLS_OF_ONE = 2_500


class Turnstile(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Stands before every method of the server."""

    def __init__(self) -> None:
        self._limit = MAX_CALLS_OF_ONE
        self._inside: Counter[str] = Counter()
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        known = self._guarded.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method
            return None
        self._guarded[method] = self._guard(handler)
        return self._guarded[method]

    def enter(self, name: str, context: Context) -> None:
        """Count a call of `name` until its reply has been sent. Raises TooManyRequests."""
        if self._inside[name] >= self._limit:
            raise errors.TooManyRequests(f'"{name}" has {self._limit} calls open already', retry_after=1)
        self._inside[name] += 1

        def leave(ctx: Context) -> None:
            self._inside[name] -= 1
            if not self._inside[name]:
                del self._inside[name]

        context.add_done_callback(leave)  # type: ignore[arg-type]

    def _guard(self, handler: Handler) -> Handler:
        async def answer(request: Any, context: Context) -> Any:
            async with failures_reported(context, "call"):
                self.enter(caller_of(context).identity.name, context)
                return await method(request, context)

        async def stream(request: Any, context: Context) -> None:
            async with failures_reported(context, "stream"):
                self.enter(caller_of(context).identity.name, context)
                replies = method(request, context)
                if inspect.isawaitable(replies):
                    await replies
                else:
                    await _send(replies, context)

        method = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        makers = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        make: Callable[..., Handler] = makers[handler.request_streaming, handler.response_streaming]
        behavior = stream if handler.response_streaming else answer
        return make(behavior, handler.request_deserializer, handler.response_serializer)


async def _send(replies: AsyncIterator[Any], context: Context) -> None:
    async with aclosing(replies):  # type: ignore[type-var]
        async for reply in replies:
            await context.write(reply)
