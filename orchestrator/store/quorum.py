"""What a majority agrees on: one rule for commits, fresh reads, leases and the leader's doubt in itself."""

from __future__ import annotations

from collections.abc import Iterable


def majority(count: int) -> int:
    return count // 2 + 1


def reached_by_majority(values: Iterable[float]) -> float:
    """The highest value that more than half of the voters have reached; one value for each voter, at least one."""
    ordered = sorted(values, reverse=True)
    return ordered[majority(len(ordered)) - 1]
