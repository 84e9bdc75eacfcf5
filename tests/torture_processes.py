"""Torments the store as processes in network namespaces for as long as one likes: one cluster after the other."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from tests.cluster.store.torment import torment

LONGEST: Final = 60.0
"""Seconds of faults in one run: then the cluster has to show what it holds, and another begins from nothing."""
_BESIDE: Final = 12.0
"""Seconds that the start, the recovery and the verdict take, about."""
_SHORTEST: Final = 5.0


def torment_processes(seconds: float, first_seed: int) -> Counter[str]:
    """Runs from `first_seed` on for about so long, one at least, and what they came to. Each is printed."""
    total: Counter[str] = Counter()
    end = time.monotonic() + seconds
    seed = first_seed
    while seed == first_seed or time.monotonic() + _SHORTEST + _BESIDE < end:
        report = torment(seed, max(_SHORTEST, min(LONGEST, end - time.monotonic() - _BESIDE)))
        total.update(
            runs=1, operations=report.operations, unknown=report.unknown, elections=report.elections,
            faults=sum(report.faults.values()), anomalies=len(report.anomalies),
        )  # fmt: skip
        print(report, flush=True)
        for anomaly in report.anomalies:
            print(f"  {anomaly}", flush=True)
        if report.kept:
            print(f"  kept in {report.kept}", flush=True)
        seed += 1
    return total
