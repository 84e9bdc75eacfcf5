"""An event loop whose time passes only when nobody has anything to do: a minute of waiting costs nothing.

Everything runs in one thread and in an order that depends on nothing outside, so a run with the same seed goes the
same way. What would go to a worker thread is done at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from orchestrator.store.errors import StoreUnavailable

T = TypeVar("T")


class _Selector(selectors.BaseSelector):
    """Watches nothing; a wait with a timeout is over at once, that much later."""

    def __init__(self) -> None:
        self.now = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        if timeout > 0:
            self.now += timeout
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def pass_time(self, seconds: float) -> None:
        """The whole process stands still for so long."""
        self._virtual.now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the caller's, as in a thread
            done.set_exception(error)
        return done


def run(work: Coroutine[None, None, T]) -> T:
    """Run to the end in virtual time."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class LoopClock:
    """The clock of a virtual loop, or of one machine in it, which goes wrong in its own way.

    `offset` is how wrong the machine's idea of the time of day is: it may be stepped. `rate` is how fast its seconds
    go.
    """

    def __init__(self, offset: float = 0.0, rate: float = 1.0) -> None:
        self.offset = offset
        self.rate = rate

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic() + self.offset)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * self.rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds / self.rate))


class LateFlusher:
    """Flushes on the loop, a while after being asked: the disk of a simulated machine."""

    def __init__(
        self,
        flush: Callable[[], None],
        done: Callable[[StoreUnavailable | None], None],
        loop: asyncio.AbstractEventLoop,
        *,
        takes: Callable[[], float],
        alive: Callable[[], bool],
        awake: Callable[[], bool] = lambda: True,
        reported: Callable[[], None] = lambda: None,
    ) -> None:
        """`alive`: the machine has power; `awake`: its process is not stopped; `reported`: called after `done`."""
        self._flush, self._done, self._loop = flush, done, loop
        self._takes, self._alive, self._awake, self._reported = takes, alive, awake, reported

    def request(self) -> None:
        self._loop.call_later(self._takes(), self._now)

    def stop(self) -> None:
        """A flush under way is not finished."""

    def _now(self) -> None:
        if not self._alive():
            return
        error: StoreUnavailable | None = None
        try:
            self._flush()
        except StoreUnavailable as failed:
            error = failed
        # As from another thread: others may have their turn before the news arrives.
        self._loop.call_soon(self._report, error)

    def _report(self, error: StoreUnavailable | None) -> None:
        if not self._alive():
            return
        if not self._awake():
            self._loop.call_later(0.01, self._report, error)
            return
        self._done(error)
        self._reported()
