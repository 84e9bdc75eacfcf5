"""Time as something that is passed in.

Everything that waits or stamps asks a `Clock`; the deciders do not even do that, they are handed `now`.
`SystemClock` is the machine's. `FakeClock` stands still until a test moves it, and wakes sleepers in the order of
their deadlines, so a test of a fifteen-second lease takes no seconds and always goes the same way.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """The time of day for people, a monotonic one for durations, and a way to wait."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC. It may jump: measure durations with `monotonic`."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long by `monotonic`. Zero and less only let other tasks run."""


class SystemClock:
    """The machine's clocks and the event loop's timers."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class FakeClock:
    """A clock that a test moves.

    `advance` jumps; `run` goes there deadline by deadline and lets the woken tasks work in between, so that a loop that
    sleeps two seconds goes round five times in ten. `sleeping` waits until so many tasks wait for this clock.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            raise ValueError("FakeClock needs an aware start time")
        self._start = start.astimezone(UTC)
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._arrivals: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), waiter))
        self._announce()
        await waiter

    @property
    def sleepers(self) -> int:
        """How many tasks wait for this clock now."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    def advance(self, seconds: float) -> None:
        """Jump ahead and wake everyone whose deadline has come. The woken run when the caller next awaits."""
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, waiter = heapq.heappop(self._sleepers)
            if not waiter.done():
                waiter.set_result(None)

    async def run(self, seconds: float, *, turns: int = 50) -> None:
        """Go ahead by that much, stopping at each deadline for `turns` turns of the event loop.

        With too few turns time flies past tasks that are still at work, as on a machine that is starved.
        """
        end = self._elapsed + seconds
        await self.settle(turns)
        while (due := self._next_deadline()) is not None and due <= end:
            self.advance(due - self._elapsed)
            await self.settle(turns)
        self.advance(max(0.0, end - self._elapsed))
        await self.settle(turns)

    async def settle(self, turns: int = 50) -> None:
        """Let other tasks run without moving the time."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def sleeping(self, count: int = 1) -> None:
        """Wait until at least `count` tasks wait for this clock."""
        if self.sleepers >= count:
            return
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals.append((count, arrived))
        await arrived

    def _next_deadline(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _announce(self) -> None:
        present = self.sleepers
        waiting = []
        for count, arrived in self._arrivals:
            if arrived.done():
                continue
            if present >= count:
                arrived.set_result(None)
            else:
                waiting.append((count, arrived))
        self._arrivals = waiting


async def within(clock: Clock, seconds: float, work: Coroutine[None, None, T]) -> T:
    """The result of `work`, or TimeoutError once `seconds` have passed on `clock`; the work is then cancelled."""
    task = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((task, alarm), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise TimeoutError(f"not done within {seconds:g} s")
    finally:
        for each in (alarm, task):
            if not each.done():
                each.cancel()
        await asyncio.gather(alarm, task, return_exceptions=True)
