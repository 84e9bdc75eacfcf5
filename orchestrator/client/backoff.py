"""How long to wait before trying again: longer each time, up to a limit, and never in step with others.

Without jitter, all clients of a server that comes back would knock at the same instant.
"""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first` to `limit` seconds, each shortened at random by up to half."""

    def __init__(self, rng: random.Random, *, first: float = 0.05, limit: float = 30.0) -> None:
        self._rng = rng
        self._first = first
        self._limit = limit
        self._failures = 0

    def next(self) -> float:
        """The delay after one more failure."""
        delay = delay_after(self._failures, self._first, self._limit)
        self._failures += 1
        return delay * (1 - 0.5 * self._rng.random())

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self._failures = 0


def delay_after(failures: int, first: float, limit: float) -> float:
    """`first` doubled for each failure before this one, at most `limit`."""
    # 2.0**n overflows a float near n = 1024, long after every limit in use has been reached.
    return min(limit, first * 2.0 ** min(failures, 64))
