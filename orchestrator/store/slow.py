"""Says where the time went when writes took long: waiting for their group, on the disk, on the way, being applied.

One line in a while at most; those that were left out are counted in the next. The parts are those of a whole group of
writes, seen from the member the writers called:

    queue         until the group was first proposed to a leader
    append, fsync what this member's disk took meanwhile, for this group or for others
    apply         the application of the group
    replication   the rest: the other members, the network, and the leader's disk where the leader is another
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from orchestrator.store.metrics import Metrics

log = logging.getLogger(__name__)

_APART: Final = 5.0
"""Seconds between two lines."""


@dataclass(slots=True)
class Course:
    """When a group of writes got how far, on the member's clock."""

    since: float
    """When the first of its writes was asked for."""
    proposed: float = 0.0
    append_then: float = 0.0
    fsync_then: float = 0.0
    """What the disk had taken in all when the group was proposed."""


class SlowOperations:
    def __init__(self, metrics: Metrics, threshold: float) -> None:
        """`threshold` in seconds."""
        self._metrics = metrics
        self._threshold = threshold
        self._said_at = float("-inf")
        self._left_out = 0

    def proposed(self, course: Course, now: float) -> None:
        course.proposed = now
        course.append_then, course.fsync_then = self._metrics.append.sum, self._metrics.fsync.sum

    def done(self, course: Course, writes: int, applying: float, now: float) -> None:
        """A group of so many writes was applied, which began at `applying`."""
        self._metrics.commit.observe(now - course.proposed)
        took = now - course.since
        if took < self._threshold:
            return
        self._metrics.slow_operations += 1
        if now < self._said_at + _APART:
            self._left_out += 1
            return
        append = self._metrics.append.sum - course.append_then
        fsync = self._metrics.fsync.sum - course.fsync_then
        queue, apply = course.proposed - course.since, now - applying
        rest = max(0.0, took - queue - append - fsync - apply)
        log.warning(
            "%d writes took %.0f ms: queue %.0f, append %.0f, fsync %.0f, replication %.0f, apply %.0f ms "
            "(%d more slow groups since the last such line)",
            writes,
            *(1e3 * part for part in (took, queue, append, fsync, rest, apply)),
            self._left_out,
        )
        self._said_at = now
        self._left_out = 0
