"""The work queue: its rules one by one, and as properties over any order of use."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.clock import FakeClock
from orchestrator.runtime.queue import WorkQueue


@asynccontextmanager
async def queue_on(clock: FakeClock) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue(clock, random.Random(1))
    running = asyncio.ensure_future(queue.run())
    try:
        yield queue
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_waiting_key_is_in_it_once() -> None:
    async with queue_on(FakeClock()) as queue:
        queue.add("a")
        queue.add("b")
        queue.add("a")
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0


async def test_a_key_added_while_in_work_comes_again_when_done() -> None:
    async with queue_on(FakeClock()) as queue:
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        assert len(queue) == 0
        queue.done(key)
        assert await queue.get() == "a"


async def test_delays_hold_the_earliest_wish() -> None:
    clock = FakeClock()
    async with queue_on(clock) as queue:
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 7)
        await clock.run(4.9)
        assert len(queue) == 0
        await clock.run(0.1)
        assert len(queue) == 1 and queue.delayed == 0
        await queue.get()
        queue.done("a")
        await clock.run(60)
        assert len(queue) == 0


async def test_failures_wait_longer_each_time_up_to_a_limit() -> None:
    async with queue_on(FakeClock()) as queue:
        delays = [queue.add_backoff("a") for _ in range(100)]
        for failures, delay in enumerate(delays):
            unjittered = min(1000.0, 0.005 * 2.0**failures)
            assert unjittered / 2 <= delay <= unjittered
        assert len({delay / 1000 for delay in delays[-10:]}) > 1
        assert queue.failures("a") == 100
        queue.forget("a")
        assert queue.add_backoff("a") <= 0.005


async def test_a_cancelled_worker_loses_no_key() -> None:
    async with queue_on(FakeClock()) as queue:
        first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        # The turn is the first's, which is gone before it can take it.
        first.cancel()
        assert await second == "a"


async def test_done_without_get_is_a_mistake() -> None:
    async with queue_on(FakeClock()) as queue:
        with pytest.raises(KeyError):
            queue.done("a")


keys = st.sampled_from("abcd")
uses = st.one_of(
    st.tuples(st.just("add"), keys),
    st.tuples(st.just("after"), keys),
    st.tuples(st.just("backoff"), keys),
    st.tuples(st.just("finish"), st.integers(0, 5)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.integers(0, 3)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(uses, max_size=60), st.integers(1, 4))
def test_never_two_workers_on_a_key_and_nothing_is_lost(script: list[tuple[str, object]], workers: int) -> None:
    asyncio.run(play(script, workers))


async def play(script: list[tuple[str, object]], workers: int) -> None:
    clock = FakeClock()
    # For each key: whether somebody wished for a look that has not begun since.
    wished: set[str] = set()
    held: list[str] = []

    async with queue_on(clock) as queue:

        async def work(finished: asyncio.Event) -> None:
            while True:
                key = await queue.get()
                assert key not in held
                held.append(key)
                wished.discard(key)
                try:
                    await finished.wait()
                    finished.clear()
                finally:
                    held.remove(key)
                    queue.done(key)

        events = [asyncio.Event() for _ in range(workers)]
        tasks = [asyncio.ensure_future(work(event)) for event in events]
        for use, argument in script:
            match use, argument:
                case "add", str():
                    wished.add(argument)
                    queue.add(argument)
                case "after", str():
                    wished.add(argument)
                    queue.add_after(argument, 2.0)
                case "backoff", str():
                    wished.add(argument)
                    queue.add_backoff(argument)
                case "finish", int():
                    events[argument % workers].set()
                case "cancel", int():
                    tasks[argument % workers].cancel()
                    if argument % 2:
                        await asyncio.gather(tasks[argument % workers], return_exceptions=True)
                    tasks[argument % workers] = asyncio.ensure_future(work(events[argument % workers]))
                case "pass", int():
                    await clock.run(float(argument), turns=argument)
        # In the end every wish is granted.
        for _ in range(200):
            if not held and not len(queue) and not queue.delayed:
                break
            for event in events:
                event.set()
            await clock.run(1001, turns=3)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [each for each in outcomes if not isinstance(each, asyncio.CancelledError)]
        assert wished == set()
        assert len(queue) == queue.in_work == queue.delayed == 0
