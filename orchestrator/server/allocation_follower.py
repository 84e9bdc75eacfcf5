"""Keeps an allocator in step with the store: what other servers give out and take back, it learns from their writes.

It may lag behind. Then the allocator chooses what is taken, its transaction fails, and it chooses again; nothing worse.
But without it a server would never hear that an address it once met is free again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.server.allocation import ALLOCATIONS, Allocator
from orchestrator.store import Compacted, FutureRevision, Store, StoreError, WatcherTooSlow

log = logging.getLogger("allocation")

RETRY_SECONDS = 1.0


class AllocationFollower:
    """Feeds one server's allocator, for as long as it runs."""

    def __init__(self, store: Store, allocator: Allocator, clock: Clock) -> None:
        self._store = store
        self._allocator = allocator
        self._clock = clock
        self._loaded_at = 0

    async def load(self) -> None:
        """Tell the allocator all that is in use now. Raises StoreError."""
        found = await self._store.range(ALLOCATIONS)
        self._allocator.load(each.key for each in found.items)
        self._loaded_at = found.revision

    async def run(self) -> None:
        """Follow until cancelled; after a gap, everything anew."""
        while True:
            try:
                with suppress(Compacted, FutureRevision, WatcherTooSlow):
                    await self._follow()
                await self.load()
            except StoreError as error:
                log.warning("allocations can't be followed", extra=fields(error=str(error)))
                await self._clock.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        watch = self._store.watch(ALLOCATIONS, after=self._loaded_at)
        try:
            async for batch in watch:
                for event in batch:
                    (self._allocator.forget if event.value is None else self._allocator.learn)((event.key,))
                self._loaded_at = watch.progress
                await asyncio.sleep(0)
        finally:
            watch.close()
