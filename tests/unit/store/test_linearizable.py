"""The store under a nemesis: whatever happens, every client's results fit one order of all operations."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from orchestrator.store import Settings
from tests.unit.store.cluster.linearizability import NEVER, Call, CompareAndSet, Get, Write, is_linearizable
from tests.unit.store.cluster.nemesis import torment

RUNS = 10
SETTINGS = Settings(segment_size=4096, entries_in_memory=20, snapshot_entries=60)
"""So small that followers are helped from segments and by snapshots all the time."""


def call(client: int, called: float, returned: float, did: Get | Write | CompareAndSet) -> Call:
    return Call(client, called, returned, did)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], True),
        ([call(1, 0, 1, Write(b"1")), call(2, 2, 3, Get(b"1"))], True),
        ([call(1, 0, 1, Write(b"1")), call(2, 2, 3, Get(None))], False),
        ([call(1, 0, 5, Write(b"1")), call(2, 1, 2, Get(None)), call(3, 3, 4, Get(b"1"))], True),
        ([call(1, 0, 5, Write(b"1")), call(2, 1, 2, Get(b"1")), call(3, 3, 4, Get(None))], False),
        ([call(1, 0, NEVER, Write(b"1")), call(2, 5, 6, Get(None)), call(2, 7, 8, Get(b"1"))], True),
        ([call(1, 0, NEVER, Write(b"1")), call(2, 5, 6, Get(b"1")), call(2, 7, 8, Get(None))], False),
        ([call(1, 0, NEVER, Write(b"1")), call(2, 5, 6, Get(None))], True),
        ([call(1, 0, 1, CompareAndSet(None, b"1", None)), call(2, 0, 1, CompareAndSet(None, b"2", b"1"))], True),
        ([call(1, 0, 1, CompareAndSet(None, b"1", None)), call(2, 0, 1, CompareAndSet(None, b"2", None))], False),
        ([call(1, 0, 1, Write(None)), call(2, 2, 3, CompareAndSet(b"1", b"2", b"1"))], False),
    ],
    ids=[
        "nothing",
        "read after write",
        "stale read",
        "write during reads",
        "reads that go back",
        "late unknown write",
        "unknown write undone",
        "unknown write that never was",
        "one of two creations",
        "two creations",
        "success on a deleted key",
    ],
)
def test_the_checker_tells_right_from_wrong(history: list[Call], expected: bool) -> None:
    assert is_linearizable(history) == expected


def test_the_checker_finds_a_single_wrong_result_in_a_long_history() -> None:
    chance = random.Random(7)
    state: bytes | None = None
    history: list[Call] = []
    for number in range(300):
        at = float(number)
        if chance.random() < 0.5:
            state = b"%d" % number
            history.append(call(number % 5, at, at + chance.uniform(0.5, 1.5), Write(state)))
        else:
            history.append(call(number % 5, at, at + 0.9, Get(state)))
    read = max(position for position, each in enumerate(history) if isinstance(each.did, Get))
    history[read] = call(9, history[read].called, history[read].returned, Get(b"0"))
    assert not is_linearizable(history)


@pytest.mark.parametrize("seed", range(RUNS))
def test_what_clients_saw_fits_one_order_and_all_members_end_alike(
    tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="orchestrator.store")
    size = 5 if seed % 4 == 3 else 3
    report = torment(tmp_path, seed, size=size, seconds=5.0, settings=SETTINGS)
    for key, calls in report.history.items():
        assert is_linearizable(calls), f"seed {seed}: the history of {key} fits no order; faults: {report.faults}"
    first, *others = report.final.values()
    assert all(other == first for other in others)
    assert report.operations > 30
