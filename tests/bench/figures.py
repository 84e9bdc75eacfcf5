"""How a benchmark tells its figures: one JSON object a line, each beside a peer measured in the same run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence


def tell(name: str, value: float, unit: str, peer: float | None = None) -> None:
    """Prints a figure. `ratio` is value / peer: below 1 is better for times and sizes."""
    ratio = round(value / peer, 3) if peer else None
    figure = {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "peer": round(peer, 3) if peer else None,
        "ratio": ratio,
    }
    print(json.dumps(figure), flush=True)


def tell_times(name: str, seconds: Sequence[float], peer: Sequence[float] | None = None) -> None:
    """The median and the 95th percentile of measured times, in milliseconds."""
    for label, of in (("p50", _median), ("p95", _p95)):
        tell(f"{name}_{label}", 1000 * of(seconds), "ms", 1000 * of(peer) if peer else None)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * len(values)))]
