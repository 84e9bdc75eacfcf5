"""Torments the store for as long as one likes, in virtual time, and says what came of it.

    python -m tests.torture --seconds 600 [--first-seed N]

Every run is a cluster of three or five under the faults of one seed, its clients' results held against one order of all
operations. A seed that shows an anomaly is printed with its faults: the same seed goes the same way again.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections import Counter
from pathlib import Path

from orchestrator.store import Settings
from tests.unit.store.cluster.cluster import Broken
from tests.unit.store.cluster.linearizability import TooHard, is_linearizable
from tests.unit.store.cluster.nemesis import Report, torment

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


def main() -> int:
    parser = argparse.ArgumentParser(description="Torment the store")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    total: Counter[str] = Counter()
    began = time.monotonic()
    seed = arguments.first_seed
    while time.monotonic() < began + arguments.seconds:
        with tempfile.TemporaryDirectory() as directory:
            try:
                report = torment(
                    Path(directory), seed, size=5 if seed % 4 == 3 else 3, settings=SETTINGS[seed % len(SETTINGS)]
                )
                wrong = anomalies(report)
                total.update(
                    operations=report.operations, unknown=report.unknown, elections=report.elections,
                    faults=len(report.faults),
                )  # fmt: skip
            except (Broken, TimeoutError) as error:
                wrong = [str(error) or "the cluster did not recover"]
        total.update(runs=1, anomalies=len(wrong))
        for each in wrong:
            print(f"seed {seed}: {each}", flush=True)
        seed += 1
    names = ("runs", "operations", "unknown", "elections", "faults", "anomalies")
    print(" ".join(f"{name} {total[name]}" for name in names))
    return 1 if total["anomalies"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
