"""Where large objects are worked on, so that nobody waits for them but those who sent them.

Defaults, validation and patches take microseconds for an ordinary object and seconds for one of megabytes. Small ones
are done at once; large ones go, one at a time, to a thread beside the event loop, and the loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

LARGE_BYTES = 8 << 10

T = TypeVar("T")


class Workshop:
    """Does work, here or beside the event loop."""

    def __init__(self) -> None:
        self._bench = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-objects")

    async def do(self, size: int, work: Callable[[], T]) -> T:
        """What `work` returns or raises; `size` is that of what it works on, in bytes. It touches nothing shared."""
        if size < LARGE_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._bench, work)
