"""How long something has not changed, by this process's own monotonic clock.

Comparing another machine's timestamps with the time here would call a healthy node dead when a clock steps. So a
watcher notes when it last *saw* a change, and a process that has just started begins to count anew.
"""

from __future__ import annotations

from orchestrator.clock import Clock


class Silence:
    """Remembers for each name the last mark and when it was new."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}

    def seconds(self, name: str, mark: str) -> float:
        """Seconds since `mark` was first seen under `name`; 0 when it is new."""
        known = self._seen.get(name)
        now = self._clock.monotonic()
        if known is None or known[0] != mark:
            self._seen[name] = (mark, now)
            return 0.0
        return now - known[1]

    def forget(self, name: str) -> None:
        self._seen.pop(name, None)
