"""Watchers that write down every event they get, and go from one member to the next, with their history or without.

Where the history that a watcher would go on from is gone, it lists, as the store says it should, and begins a new
stretch there.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from orchestrator.store import Compacted, Event, FutureRevision, StoreUnavailable, WatcherTooSlow
from tests.cluster.store.clients import Door, list_all
from tests.cluster.store.history import Call, Change, History, Stretch, identity_of

_AGAIN_SECONDS: Final = 0.1
_FIRST_REVISION: Final = 1
"""That of an empty store."""


class Watcher:
    """Follows a prefix from the beginning of the run to its end."""

    def __init__(
        self, number: int, prefix: str, doors: Callable[[], Sequence[Door]], history: History, seed: float
    ) -> None:
        self._number, self._prefix, self._doors, self._history = number, prefix, doors, history
        self._chance = random.Random(seed)
        self._stretches = [Stretch(prefix, _FIRST_REVISION, _FIRST_REVISION)]
        history.watched.append(self._stretches)
        self._news = asyncio.Event()

    @property
    def position(self) -> int:
        """Everything up to this revision has been seen, or listed."""
        return self._stretches[-1].until

    async def reach(self, revision: int) -> None:
        while self.position < revision:
            self._news.clear()
            await self._news.wait()

    async def work(self) -> None:
        """Until cancelled."""
        while True:
            if doors := self._doors():
                door = self._chance.choice(doors)
                try:
                    await self._follow(door)
                except Compacted:
                    await self._list(door)
                except (StoreUnavailable, FutureRevision, WatcherTooSlow, TimeoutError):
                    pass
                except ValueError as error:
                    self._history.anomalies.append(f"watcher {self._number} on {door.label}: {error}")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _follow(self, door: Door) -> None:
        """For a while; then another member is to go on where this one was."""
        watch = door.client.watch(self._prefix, after=self.position)
        try:
            async with asyncio.timeout(self._chance.uniform(0.2, 8.0)):
                async for batch in watch:
                    self._note(batch, watch.progress)
        finally:
            watch.close()

    def _note(self, batch: Sequence[Event], progress: int) -> None:
        stretch = self._stretches[-1]
        stretch.changes += [
            Change(event.revision, event.key, None if event.value is None else identity_of(event.value))
            for event in batch
        ]
        stretch.until = progress
        self._news.set()

    async def _list(self, door: Door) -> None:
        called = time.monotonic()
        try:
            listing = await list_all(door.client, self._prefix)
        except StoreUnavailable:
            return
        self._history.calls.append(Call(-self._number, door.label, called, time.monotonic(), listing))
        if listing.revision < self.position:
            self._history.anomalies.append(
                f"watcher {self._number} had seen revision {self.position}; listed fresh on {door.label}, the store is "
                f"at revision {listing.revision}"
            )
        self._stretches.append(Stretch(self._prefix, listing.revision, listing.revision))
        self._news.set()
