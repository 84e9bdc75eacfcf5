"""Events are kept for an hour and then removed: they tell what happened, not what is.

The sweep runs every few minutes; an event's age counts from the last time it was seen to happen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import Event
from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.server.encoding import decode
from orchestrator.server.keys import prefix_of
from orchestrator.store import Compare, Delete, KeyValue, Store, StoreError

log = logging.getLogger("expiry")

EVENT_LIFE = timedelta(hours=1)
SWEEP_SECONDS = 300.0
PAGE = 500


def last_seen(event: Event) -> datetime:
    """When an event happened last, by the latest of its times; an event without any is as old as its object."""
    times: Iterable[tuple[bool, Timestamp]] = (
        (event.HasField("event_time"), event.event_time),
        (event.HasField("first_timestamp"), event.first_timestamp),
        (event.HasField("last_timestamp"), event.last_timestamp),
        (event.series.HasField("last_observed_time"), event.series.last_observed_time),
        (event.metadata.HasField("creation_timestamp"), event.metadata.creation_timestamp),
    )
    return max((time.ToDatetime(UTC) for present, time in times if present), default=datetime.fromtimestamp(0, UTC))


def expired(found: Iterable[KeyValue], now: datetime) -> list[KeyValue]:
    """Those of the stored events whose time is over."""
    kind = kind_of(Event)
    old = []
    for each in found:
        event = decode(kind, each.value)
        if isinstance(event, Event) and now - last_seen(event) > EVENT_LIFE:
            old.append(each)
    return old


class EventSweeper:
    """Removes expired events, for as long as it runs."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Sweep, wait, and again until cancelled. The store being away only delays it."""
        while True:
            try:
                removed = await self.sweep()
                if removed:
                    log.debug("events expired", extra=fields(count=removed))
            except StoreError as error:
                log.warning("events not swept", extra=fields(error=str(error)))
            await self._clock.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Remove what is expired now; the number of events removed. An event that is renewed meanwhile stays."""
        removed = 0
        after = ""
        while True:
            page = await self._store.range(prefix_of(kind_of(Event), ""), start_after=after, limit=PAGE)
            for old in expired(page.items, self._clock.now()):
                result = await self._store.txn([Compare(old.key, old.mod_revision)], [Delete(old.key)])
                removed += result.succeeded
            if not page.more or not page.items:
                return removed
            after = page.items[-1].key
            await asyncio.sleep(0)
