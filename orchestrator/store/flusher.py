"""The thread that waits for the disk, so that the event loop does not.

Handing a flush to a thread and hearing of its end takes about as long as a fast disk takes for it. So one that nothing
else could use the time of (the driver says when) is done in place, for as long as the disk answers quickly.

When nothing has been written for a moment it has the log confirm what is there (`Log.confirm`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from orchestrator.store.errors import StoreUnavailable

_QUIET: Final = 1.0
"""Seconds without a write after which the log is quiet."""
_QUICK: Final = 0.002
"""Seconds that a flush may take, as the last ones did, to be done in place."""
_STOP, _FLUSH, _CONFIRM = range(3)


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
        *,
        confirm: Callable[[], None],
        in_place: Callable[[], bool] = lambda: False,
    ) -> None:
        """`in_place`: whether a flush that is asked for now had better be done at once, on the event loop."""
        self._flush = flush
        self._confirm = confirm
        self._in_place = in_place
        self._usual = 2 * _QUICK
        """Seconds, as of the last flushes. Until some were made the disk counts as slow."""
        self._written_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._done = done
        self._loop = loop
        self._requests: SimpleQueue[int] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-flush", daemon=True)
        self._thread.start()

    def request(self) -> None:
        if self._usual < _QUICK and self._in_place():
            self._loop.call_soon(self._done, self._timed_flush())
            self._written_at = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(_QUIET, self._look)
        else:
            self._requests.put(_FLUSH)

    def _look(self) -> None:
        """Whether it has been quiet since the last flush in place, which the thread does not know of."""
        left = self._written_at + _QUIET - self._loop.time()
        self._timer = None
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._requests.put(_CONFIRM)

    def stop(self) -> None:
        """Return when the flushes that were asked for are done."""
        if self._timer is not None:
            self._timer.cancel()
        self._requests.put(_STOP)
        self._thread.join()

    def _run(self) -> None:
        quiet = True
        while True:
            try:
                asked = self._requests.get(timeout=None if quiet else _QUIET)
            except Empty:
                asked = _CONFIRM
            if asked == _STOP:
                return
            quiet = asked == _CONFIRM
            if asked == _FLUSH:
                self._loop.call_soon_threadsafe(self._done, self._timed_flush())
            elif (error := self._do(self._confirm)) is not None:
                self._loop.call_soon_threadsafe(self._done, error)

    def _timed_flush(self) -> StoreUnavailable | None:
        began = time.perf_counter()
        error = self._do(self._flush)
        self._usual += (time.perf_counter() - began - self._usual) / 8
        return error

    @staticmethod
    def _do(work: Callable[[], None]) -> StoreUnavailable | None:
        try:
            work()
        except StoreUnavailable as failed:
            return failed
        except Exception as bug:  # noqa: BLE001 - a dead thread would leave every writer waiting for ever
            return StoreUnavailable(f"the flush thread failed: {bug!r}")
        return None
