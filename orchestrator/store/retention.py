"""How much history is kept: so many revisions, so many seconds, so many bytes, whichever is least.

`Retention` remembers which revision was current when; `due` names the revision to compact to. It is asked now and then;
it neither waits nor compacts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from orchestrator.store.state import State


@dataclass(frozen=True, slots=True)
class Kept:
    """The limits of the history. They may be exceeded by a quarter before compaction comes."""

    revisions: int = 10_000
    seconds: float = 300.0
    size: int = 64 << 20


class Retention:
    """Decides when the past is long enough."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, now: float, revision: int) -> None:
        """Note, on a monotonic clock, that `revision` is current."""
        self._samples.append((now, revision))

    def due(self, now: float, state: State) -> int:
        """The revision to compact to; 0: nothing is due."""
        target = 0
        if state.revision - state.compacted > self._kept.revisions * 5 // 4:
            target = state.revision - self._kept.revisions
        if state.past_size > self._kept.size * 5 // 4 and not state.pinned:
            target = max(target, state.revision_leaving(self._kept.size))
        while self._samples and self._samples[0][0] <= now - self._kept.seconds:
            target = max(target, self._samples.popleft()[1])
        return target if target > state.compacted else 0
