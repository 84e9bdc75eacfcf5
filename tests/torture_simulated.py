"""Torments the store in virtual time for as long as one likes.

Every run is a cluster under the faults of one seed, each step of it held against what Raft promises, its clients'
results against one order of all operations. Most runs are short schedules, which change members, too; now and then
comes a long one with many clients. A seed that shows an anomaly is printed: the same seed goes the same way again.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from pathlib import Path

from orchestrator.store import Settings
from tests.unit.store.cluster.cluster import Broken
from tests.unit.store.cluster.linearizability import TooHard, is_linearizable
from tests.unit.store.cluster.nemesis import Report, torment
from tests.unit.store.cluster.schedule import simulate

LONG_EVERY = 50
"""Schedules to a long run."""
SETTINGS = (
    Settings(segment_size=4096, entries_in_memory=20, snapshot_entries=60),
    Settings(segment_size=1 << 14, entries_in_memory=20),
    Settings(),
)


def anomalies(report: Report) -> list[str]:
    """What is wrong with a run, in words."""
    found = []
    for key, calls in report.history.items():
        try:
            if not is_linearizable(calls):
                found.append(f"the history of {key} fits no order")
        except TooHard as error:
            found.append(f"the history of {key} could not be decided: {error}")
    first, *others = report.final.values()
    if any(other != first for other in others):
        found.append("the members ended with different contents")
    return found


def torment_simulated(seconds: float, first_seed: int) -> Counter[str]:
    """Runs from `first_seed` on for so long, and what they came to. What is wrong is printed."""
    # What members say of their troubles would be all there is to see.
    logging.disable(logging.CRITICAL)
    try:
        return _runs(seconds, first_seed)
    finally:
        logging.disable(logging.NOTSET)


def _runs(seconds: float, first_seed: int) -> Counter[str]:
    total: Counter[str] = Counter()
    end = time.monotonic() + seconds
    seed = first_seed
    with tempfile.TemporaryDirectory() as directory:
        while time.monotonic() < end:
            wrong = _long_run(Path(directory), seed, total) if seed % LONG_EVERY == 0 else []
            wrong += _schedule(Path(directory), seed, total)
            total.update(anomalies=len(wrong))
            for each in wrong:
                print(f"simulated, seed {seed}: {each}", flush=True)
            seed += 1
    return total


def _schedule(directory: Path, seed: int, total: Counter[str]) -> list[str]:
    total.update(runs=1)
    try:
        outcome = simulate(directory, seed)
    except Broken as broken:
        return [str(broken)]
    total.update(
        operations=outcome.operations, unknown=outcome.unknown, elections=outcome.elections, faults=len(outcome.faults)
    )
    return []


def _long_run(directory: Path, seed: int, total: Counter[str]) -> list[str]:
    total.update(runs=1)
    number = seed // LONG_EVERY
    try:
        report = torment(directory, seed, size=5 if number % 4 == 3 else 3, settings=SETTINGS[number % len(SETTINGS)])
    except (Broken, TimeoutError) as error:
        return [str(error) or "the cluster did not recover"]
    total.update(
        operations=report.operations, unknown=report.unknown, elections=report.elections, faults=len(report.faults)
    )
    return anomalies(report)
