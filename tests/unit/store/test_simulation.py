"""Two thousand short schedules of a simulated cluster, every step of each held against what Raft promises.

One thousand are the same every time; the others are new every time, and the first seed of their block is printed
(again: SIMULATION_SEED). A seed that fails goes the same way again: `simulate(directory, seed)`.
"""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path

import pytest

from tests.unit.store.cluster.schedule import simulate

BLOCK = 250
FIXED = range(0, 1000, BLOCK)
FOUND = (2230, 2264, 2363, 3178, 3524, 90004, 780092, 780150, 5000590, 5001146, 196881055)
FIRST = int(os.environ.get("SIMULATION_SEED") or random.SystemRandom().randrange(10_000, 1 << 40))
FRESH = range(FIRST, FIRST + 1000, BLOCK)


@pytest.mark.parametrize("first", FIXED)
def test_fixed_schedules_keep_every_promise(tmp_path: Path, first: int, caplog: pytest.LogCaptureFixture) -> None:
    keep_promises(tmp_path, first, caplog)


@pytest.mark.parametrize("first", FRESH)
def test_new_schedules_keep_every_promise(
    tmp_path: Path, first: int, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    if first == FIRST:
        with capsys.disabled():
            print(f"\nsimulated schedules from seed {FIRST} (again: SIMULATION_SEED={FIRST})")
    keep_promises(tmp_path, first, caplog)


@pytest.mark.parametrize("seed", FOUND)
def test_schedules_that_once_found_something(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    simulate(tmp_path, seed)


@pytest.mark.parametrize("seed", [1, 62, 143])
def test_a_schedule_goes_the_same_way_again(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    assert simulate(tmp_path, seed) == simulate(tmp_path, seed)


def keep_promises(directory: Path, first: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    outcomes = [simulate(directory, seed) for seed in range(first, first + BLOCK)]
    # They would find nothing if nothing happened.
    assert sum(outcome.operations for outcome in outcomes) > 8 * BLOCK
    assert sum(outcome.elections for outcome in outcomes) > BLOCK
    assert sum(len(outcome.faults) for outcome in outcomes) > 3 * BLOCK
