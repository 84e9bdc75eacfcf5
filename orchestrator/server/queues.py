"""Large replies, a few at a time for each caller.

A reply is held in memory until its client has read it. Whoever asks for many at once, and reads none, waits for
himself: his next call begins when one before it has been sent, and other callers do not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.server.grpc_door import Context


@dataclass(slots=True)
class _Queue:
    free: int
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Queues:
    """One queue for each caller that has calls going on."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._queues: dict[str, _Queue] = {}

    async def turn(self, name: str, context: Context) -> None:
        """Return when it is this call's turn; the turn ends with the call, when its reply has been sent."""
        queue = self._queues.setdefault(name, _Queue(self._at_once))
        if queue.free:
            queue.free -= 1
        else:
            await self._wait(name, queue)

        def done(ctx: Context) -> None:
            self._next(name, queue)

        context.add_done_callback(done)  # type: ignore[arg-type]

    async def _wait(self, name: str, queue: _Queue) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next(name, queue)  # it had just been given the turn
            with contextlib.suppress(ValueError):
                queue.waiting.remove(turn)
            raise

    def _next(self, name: str, queue: _Queue) -> None:
        while queue.waiting:
            turn = queue.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        queue.free += 1
        if queue.free == self._at_once:
            self._queues.pop(name, None)
