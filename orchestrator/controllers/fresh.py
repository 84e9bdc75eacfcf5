"""A service that is made anew for each of its runs.

For controllers that remember how long something has not changed: when a process stops leading and leads again later,
nobody was watching in between, and what was remembered before would make that time look like silence.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.runtime import Service


class Fresh:
    """Runs what `make` makes."""

    def __init__(self, name: str, make: Callable[[], Service]) -> None:
        self.name = name
        self._make = make

    async def run(self, ready: Callable[[], None]) -> None:
        """Runs until cancelled."""
        await self._make().run(ready)
