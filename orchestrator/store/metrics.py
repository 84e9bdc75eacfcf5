"""What a member counts and times, for whoever exports it: histograms and counters without a library.

One `Metrics` belongs to one store. Each number has one writer (the thread that flushes, or the event loop) and is read
at any time; a reader may see a sum that is one observation ahead of its count, which no graph shows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

FAST: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds in seconds for what takes a disk or a network a moment."""
SLOW: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Bounds in seconds for work in the background."""


class Histogram:
    """How many observations fell up to each bound, as Prometheus has it."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """Observations in each interval, not added up; the last holds those above every bound."""
        self.sum = 0.0
        """Of all observations, in seconds."""

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)


def _fast() -> Histogram:
    return Histogram(FAST)


def _slow() -> Histogram:
    return Histogram(SLOW)


@dataclass(slots=True)
class Metrics:
    fsync: Histogram = field(default_factory=_fast)
    """Each fdatasync of the log."""
    append: Histogram = field(default_factory=_fast)
    """Each write to the log, without its sync."""
    commit: Histogram = field(default_factory=_fast)
    """From the proposal of a group of writes to its application on this member."""
    apply: Histogram = field(default_factory=_fast)
    """The application of one group of this member's writes."""
    snapshot: Histogram = field(default_factory=_slow)
    """Each snapshot written, from its beginning to its name."""
    log_bytes: int = 0
    """Written to the log."""
    snapshots_failed: int = 0
    elections: int = 0
    """How often this member stood for election."""
    leaders: int = 0
    """How often this member saw a leader come, itself included."""
    slow_operations: int = 0
    writes_failed: int = 0
    """Writes whose callers were told that they failed, or that nobody knows."""
    writes_refused: int = 0
    """Writes not taken: too many waited, no leader, or no room on the disk."""
    disk_full: int = 0
    """How often the disk became full."""
