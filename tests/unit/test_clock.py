"""The clock of tests must itself be right."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.clock import FakeClock, SystemClock, within


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock, woken = FakeClock(), []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.ensure_future(sleep(seconds)) for seconds in (3, 1, 2, 9)]
    await clock.sleeping(4)
    clock.advance(5)
    await asyncio.gather(*tasks[:3])
    assert woken == [1, 2, 3] and clock.sleepers == 1
    tasks[3].cancel()
    await asyncio.gather(tasks[3], return_exceptions=True)
    assert clock.sleepers == 0


async def test_run_stops_at_each_deadline() -> None:
    clock, ticks = FakeClock(), []

    async def tick() -> None:
        while True:
            await clock.sleep(2)
            ticks.append(clock.monotonic())

    task = asyncio.ensure_future(tick())
    await clock.run(10)
    assert ticks == [2, 4, 6, 8, 10]
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=10)
    task.cancel()


async def test_a_clock_does_not_go_back_and_knows_its_zone() -> None:
    with pytest.raises(ValueError, match="go back"):
        FakeClock().advance(-1)
    with pytest.raises(ValueError, match="aware"):
        FakeClock(datetime(2026, 1, 1))
    assert SystemClock().now().tzinfo is UTC
    before = SystemClock().monotonic()
    await SystemClock().sleep(-1)
    assert SystemClock().monotonic() >= before


async def test_within() -> None:
    clock = FakeClock()

    async def answer() -> int:
        await clock.sleep(3)
        return 42

    cancelled = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def fail() -> None:
        raise KeyError("x")

    task = asyncio.ensure_future(within(clock, 5, answer()))
    await clock.run(3)
    assert await task == 42
    with pytest.raises(KeyError):
        await within(clock, 5, fail())
    late = asyncio.ensure_future(within(clock, 5, hang()))
    await clock.run(5)
    with pytest.raises(TimeoutError):
        await late
    assert cancelled.is_set() and clock.sleepers == 0


async def test_cancelling_within_cancels_the_work() -> None:
    clock, cancelled = FakeClock(), asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.ensure_future(within(clock, 5, hang()))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set() and clock.sleepers == 0
