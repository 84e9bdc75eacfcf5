"""What a member counts and times, and what it says of operations that took long."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import Put, Settings, open_store
from orchestrator.store.errors import StoreBusy
from orchestrator.store.metrics import Histogram, Metrics
from orchestrator.store.slow import Course, SlowOperations
from tests.unit.store.disk import FaultyFiles


def test_a_histogram_counts_each_observation_in_the_first_interval_that_holds_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 1.0, 7.0):
        histogram.observe(seconds)
    assert histogram.counts == [2, 2, 1]
    assert histogram.count == 5
    assert histogram.sum == pytest.approx(8.65)


def test_a_slow_group_is_told_with_its_parts_and_not_too_often(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    slow = SlowOperations(metrics, 0.5)

    def group(began: float) -> None:
        course = Course(began)
        slow.proposed(course, began + 0.1)
        metrics.append.observe(0.02)
        metrics.fsync.observe(0.3)
        slow.done(course, 3, began + 0.95, began + 1.0)

    group(10.0)
    (line,) = caplog.messages
    assert line.startswith(
        "3 writes took 1000 ms: queue 100, append 20, fsync 300, replication 530, apply 50 ms (0 more"
    )
    group(11.0)
    group(12.0)
    assert len(caplog.messages) == 1
    group(16.0)
    assert "(2 more" in caplog.messages[1]
    quick = Course(20.0)
    slow.proposed(quick, 20.0)
    slow.done(quick, 1, 20.1, 20.1)
    assert (metrics.slow_operations, metrics.commit.count) == (4, 5)


async def test_a_store_counts_what_it_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    disk = FaultyFiles()
    settings = replace(Settings(), pending_writes=2, snapshot_entries=50, slow_operation=0.02)
    store = await open_store(tmp_path, clock=SystemClock(), settings=settings, files=disk)
    metrics = store.metrics()
    assert (metrics.elections, metrics.snapshot.count, metrics.writes_refused) == (1, 0, 0)
    disk.hold_syncs()
    writing = [asyncio.create_task(store.txn([], [Put("/slow", b"")]))]
    await disk.sync_begun()
    writing += [asyncio.create_task(store.txn([], [Put(f"/{number}", b"")])) for number in range(3)]
    await asyncio.sleep(0.05)
    disk.release_syncs()
    results = await asyncio.gather(*writing, return_exceptions=True)
    assert [type(result) for result in results if isinstance(result, BaseException)] == [StoreBusy]
    assert metrics.writes_refused == 1
    assert metrics.slow_operations >= 1
    assert any("writes took" in message for message in caplog.messages)
    committed, before = metrics.commit.count, metrics.fsync.count
    for number in range(60):
        await store.txn([], [Put(f"/{number}", bytes(100))])
    assert metrics.fsync.count - before >= 60
    assert metrics.commit.count - committed == 60
    assert metrics.commit.count == metrics.apply.count
    assert metrics.log_bytes > 6000
    assert metrics.append.count == metrics.fsync.count
    while not store.status().snapshot_index:
        await store.txn([], [Put("/waiting", b"")])
    assert metrics.snapshot.count == 1
    assert 0 < store.status().snapshot_age < 60
    await store.close()
