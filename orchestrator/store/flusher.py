"""The thread that waits for the disk, so that the event loop does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from orchestrator.store.errors import StoreUnavailable


class Flushing(Protocol):
    """Something that has `flush` called whenever asked, not at once, and reports to `done` on the event loop."""

    def request(self) -> None: ...

    def stop(self) -> None:
        """Return when the flushes that were asked for are done."""


Flush = Callable[[Callable[[], None], Callable[[StoreUnavailable | None], None], asyncio.AbstractEventLoop], Flushing]
"""Makes one, of `flush`, `done` and the loop."""


class Flusher:
    """Calls `flush` in its own thread whenever asked, and reports to `done` on the event loop: None, or the error.

    A thread of its own costs a third of what an executor's future costs, and this is in the path of every write.
    """

    def __init__(
        self,
        flush: Callable[[], None],
        done: Callable[[StoreUnavailable | None], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._flush = flush
        self._done = done
        self._loop = loop
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-flush", daemon=True)
        self._thread.start()

    def request(self) -> None:
        self._requests.put(True)

    def stop(self) -> None:
        """Return when the flushes that were asked for are done."""
        self._requests.put(False)
        self._thread.join()

    def _run(self) -> None:
        while self._requests.get():
            error: StoreUnavailable | None = None
            try:
                self._flush()
            except StoreUnavailable as failed:
                error = failed
            except Exception as bug:  # noqa: BLE001 - a dead thread would leave every writer waiting for ever
                error = StoreUnavailable(f"the flush thread failed: {bug!r}")
            self._loop.call_soon_threadsafe(self._done, error)
