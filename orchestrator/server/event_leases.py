"""Events are kept for an hour after they were last written, and then removed: they tell what happened, not what is.

The store removes them: each write of an event hangs it on a lease. Events of about the same minute share one, so that a
storm of events does not make a storm of leases; it lasts a minute longer than an event's life, because the last event
may come to it when it is that old. An event therefore lives between an hour and an hour and a minute.
"""

from __future__ import annotations

import asyncio
import logging

from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import Event
from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.server.keys import prefix_of
from orchestrator.store import Compare, Put, Store, StoreError

log = logging.getLogger("events")

LIFE_SECONDS = 3600.0
SHARED_SECONDS = 60.0
SHARED_EVENTS = 1000
PAGE = 500
RETRY_SECONDS = 5.0


class EventLeases:
    """The lease that events are written with now. One instance a server."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._granting = asyncio.Lock()
        self._lease = 0
        self._granted_at = 0.0
        self._events = 0

    async def current(self) -> int:
        """A lease for one more event. Raises StoreError."""
        async with self._granting:
            old = self._clock.monotonic() - self._granted_at >= SHARED_SECONDS
            if not self._lease or old or self._events >= SHARED_EVENTS:
                granted_at = self._clock.monotonic()
                self._lease = await self._store.grant_lease(LIFE_SECONDS + SHARED_SECONDS)
                self._granted_at, self._events = granted_at, 0
            self._events += 1
            return self._lease

    def forget(self, lease: int) -> None:
        """The store does not know this lease: the next event gets another."""
        if lease == self._lease:
            self._lease = 0

    async def adopt(self) -> None:
        """Give a lease to the events that were written before there were leases, or came from an old backup."""
        while True:
            try:
                adopted = await self._adopt()
                if adopted:
                    log.info("old events will expire", extra=fields(count=adopted))
                return
            except StoreError as error:
                log.warning("old events not looked after", extra=fields(error=str(error)))
            await self._clock.sleep(RETRY_SECONDS)

    async def _adopt(self) -> int:
        adopted = 0
        after, more = "", True
        while more:
            page = await self._store.range(prefix_of(kind_of(Event), ""), start_after=after, limit=PAGE)
            for each in page.items:
                after = each.key
                if not each.lease:
                    put = Put(each.key, each.value, await self.current())
                    # Whoever writes the event meanwhile gives it a lease.
                    adopted += (await self._store.txn([Compare(each.key, each.mod_revision)], [put])).succeeded
            more = page.more
            await asyncio.sleep(0)
        return adopted
