"""Tenants put keys that last as long as their leases, keep those for a while, and then let them end.

A key must not go before its lease's time is over since it was kept last, and must go some time after; leaders may come
and go meanwhile, and clocks run a little wrong. When a key went is known from a watch, which may tell late but not
early.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from orchestrator.store import Compacted, FutureRevision, NothingWritten, Put, StoreUnavailable, UnknownLease
from orchestrator.store.store_client import StoreClient
from tests.cluster.store.clients import Door
from tests.cluster.store.history import LEASED, UNKNOWN, Call, History, Txn, identity_of, value_of

TTL: Final = 2.0
FASTEST: Final = 1.1
"""How much faster than time a member's clock runs at most."""
_KEEP_SECONDS: Final = 0.5
_AGAIN_SECONDS: Final = 0.2


@dataclass(slots=True)
class _Stay:
    key: str
    lease: int
    begun: float
    """When the last renewal that came through was called, or the grant was."""
    gone: float = UNKNOWN
    revoked: bool = False


class Tenant:
    def __init__(self, number: int, doors: Callable[[], Sequence[Door]], history: History, seed: float) -> None:
        self._number, self._doors, self._history = number, doors, history
        self._chance = random.Random(seed)
        self._stays: dict[str, _Stay] = {}
        self._prefix = f"{LEASED}{number}/"

    async def work(self, stop: asyncio.Event) -> None:
        """One stay after the other."""
        for number in range(1_000_000):
            if stop.is_set():
                return
            await asyncio.sleep(_AGAIN_SECONDS)
            try:
                stay = await self._arrive(number)
                if stay is not None:
                    await self._remain(stay, self._chance.randrange(8))
            except (StoreUnavailable, UnknownLease):
                continue

    async def _arrive(self, number: int) -> _Stay | None:
        door = self._door()
        if door is None:
            return None
        called = time.monotonic()
        lease = await door.client.grant_lease(TTL)
        key, value = f"{self._prefix}{number}", f"t{self._number}.{number}"
        stay = self._stays[key] = _Stay(key, lease, called)
        put_called = time.monotonic()
        did = Txn(((key, value),))
        try:
            result = await door.client.txn([], [Put(key, value_of(value, 20), lease)])
        except StoreUnavailable as error:
            nothing = isinstance(error, NothingWritten)
            returned = time.monotonic() if nothing else UNKNOWN
            self._history.calls.append(Call(-100 - self._number, door.label, put_called, returned, did, nothing))
            return None
        did = replace(did, revision=result.revision)
        self._history.calls.append(Call(-100 - self._number, door.label, put_called, time.monotonic(), did))
        return stay

    async def _remain(self, stay: _Stay, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(_KEEP_SECONDS)
            door = self._door()
            if door is not None:
                called = time.monotonic()
                try:
                    await door.client.keep_lease(stay.lease)
                except StoreUnavailable:
                    continue
                stay.begun = called
        door = self._door()
        if door is not None and self._chance.random() < 0.3:
            stay.revoked = True
            await door.client.revoke_lease(stay.lease)

    def _door(self) -> Door | None:
        doors = self._doors()
        return self._chance.choice(doors) if doors else None

    # Watching them go.

    async def look(self) -> None:
        """Until cancelled."""
        after = 1
        while True:
            door = self._door()
            if door is not None:
                watch = door.client.watch(self._prefix, after=after)
                try:
                    async with asyncio.timeout(self._chance.uniform(0.5, 5.0)):
                        async for batch in watch:
                            after = watch.progress
                            for event in batch:
                                self._seen(event.key, event.value)
                except Compacted:
                    after = await self._list(door.client, after)
                except (StoreUnavailable, FutureRevision, TimeoutError):
                    pass
                finally:
                    watch.close()
            await asyncio.sleep(_AGAIN_SECONDS)

    def _seen(self, key: str, value: bytes | None) -> None:
        stay = self._stays.get(key)
        if stay is None or (value is not None and identity_of(value)):
            return
        stay.gone = time.monotonic()
        if not stay.revoked and stay.gone < stay.begun + TTL / FASTEST:
            self._history.anomalies.append(
                f"{key} was gone {stay.gone - stay.begun:.2f} s after its lease of {TTL:g} s was kept"
            )

    async def _list(self, client: StoreClient, after: int) -> int:
        """What is not there any more went at some time, unseen."""
        try:
            there = await client.range(self._prefix)
        except StoreUnavailable:
            return after
        keys = {item.key for item in there.items}
        for stay in self._stays.values():
            if stay.key not in keys and stay.gone == UNKNOWN:
                stay.gone = time.monotonic()
        return there.revision
