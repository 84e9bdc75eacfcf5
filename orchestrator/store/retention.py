"""How much history is kept: so many changes, so many seconds, so many bytes, whichever is least.

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

    events: int = 10_000
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
        # Of those that are old enough the newest says everything.
        while len(self._samples) > 1 and self._samples[1][0] <= now - self._kept.seconds:
            self._samples.popleft()

    def due(self, now: float, state: State) -> int:
        """The revision to compact to; 0: nothing is due."""
        kept = self._kept
        target = 0
        many = len(state.history) > kept.events * 5 // 4 or state.past_size > kept.size * 5 // 4
        if many and not state.pinned:
            target = state.revision_leaving(size=kept.size, events=kept.events)
        if self._samples and self._samples[0][0] <= now - kept.seconds:
            target = max(target, self._samples[0][1])
        return target if target > state.compacted else 0
