"""Where objects are worked on, so that nobody waits long for what others sent.

Defaults, validation and patches take microseconds for an ordinary object and seconds for one of megabytes. Large ones
go, one at a time, to a thread beside the event loop. Small ones are done at once, but only for a few milliseconds in
each round of the loop: a batch of a thousand must not keep everybody else from being heard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

LARGE_BYTES = 8 << 10
ROUND_SECONDS = 0.003

T = TypeVar("T")


class Workshop:
    """Does work, here or beside the event loop."""

    def __init__(self) -> None:
        self._bench = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-objects")
        self._spent = 0.0  # seconds of this round of the loop

    async def do(self, size: int, work: Callable[[], T]) -> T:
        """What `work` returns or raises; `size` is that of what it works on, in bytes. It touches nothing shared."""
        loop = asyncio.get_running_loop()
        if size >= LARGE_BYTES:
            return await loop.run_in_executor(self._bench, work)
        while self._spent >= ROUND_SECONDS:  # noqa: ASYNC110 - the next round is what is waited for
            await asyncio.sleep(0)
        if not self._spent:
            loop.call_soon(self._begin_round)
        begun = time.perf_counter()
        try:
            return work()
        finally:
            self._spent += time.perf_counter() - begun

    def _begin_round(self) -> None:
        self._spent = 0.0
