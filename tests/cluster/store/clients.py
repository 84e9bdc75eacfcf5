"""Clients that write down what they did and what came of it, each by its seed.

One operation after the other, on whatever member comes up. Keys are used for some seconds and then left, so that the
history of each stays short enough to be searched. Reads that need not be fresh are of whole directories, because those
say at which revision they were made.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from orchestrator.store import Compare, Delete, NothingWritten, Operation, Put, StoreUnavailable
from orchestrator.store.store_client import StoreClient
from tests.cluster.store.history import (
    UNKNOWN,
    Call,
    Get,
    History,
    Identity,
    Item,
    Listing,
    Txn,
    identity_of,
    item_of,
    value_of,
)

KEYS: Final = 4
EPOCH_SECONDS: Final = 3.0
THINKING_SECONDS: Final = 0.02
READ_SECONDS: Final = 1.0
"""Whoever waits for a member that is paused asks nothing of it when it goes on: just then it knows least."""
SIZES: Final = (16, 16, 16, 100, 100, 3_000, 50_000)


class Door(Protocol):
    """One run of one member, as clients reach it."""

    @property
    def label(self) -> str:
        """The member's name and the number of its run."""

    @property
    def client(self) -> StoreClient: ...


async def list_all(client: StoreClient, prefix: str, *, serializable: bool = False, revision: int = 0) -> Listing:
    """The whole of a prefix at one revision, page by page. Raises StoreError; ValueError for a damaged value."""
    items: list[Item] = []
    more = True
    while more:
        start_after = items[-1].key if items else ""
        page = await client.range(prefix, start_after=start_after, revision=revision, serializable=serializable)
        revision, more = page.revision, page.more
        items += map(item_of, page.items)
    return Listing(prefix, tuple(items), revision, serializable)


class Client:
    def __init__(
        self, number: int, doors: Callable[[], Sequence[Door]], history: History, began: float, seed: float
    ) -> None:
        self._number, self._doors, self._history, self._began = number, doors, history, began
        self._chance = random.Random(seed)
        self._written = 0

    async def work(self, stop: asyncio.Event) -> None:
        kinds = (self._get, self._list, self._list, self._list_any, self._put, self._put, self._compare_and_set)
        while not stop.is_set():
            await asyncio.sleep(self._chance.expovariate(1 / THINKING_SECONDS))
            doors = self._doors()
            if not doors:
                continue
            door = self._chance.choice(doors)
            try:
                await self._chance.choice(kinds)(door)
            except TimeoutError:
                continue
            except ValueError as error:
                self._history.anomalies.append(f"client {self._number} on {door.label}: {error}")

    # What is done.

    async def _get(self, door: Door) -> None:
        key = self._key()
        called = time.monotonic()
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await door.client.get(key)
        except StoreUnavailable:
            return
        self._note(door, called, Get(key, identity_of(found.value) if found else None))

    async def _list(self, door: Door) -> None:
        await self._listed(door, self._directory(), serializable=False)

    async def _list_any(self, door: Door) -> None:
        await self._listed(door, self._directory(), serializable=True)

    async def _listed(self, door: Door, prefix: str, *, serializable: bool) -> None:
        called = time.monotonic()
        try:
            async with asyncio.timeout(READ_SECONDS):
                listing = await list_all(door.client, prefix, serializable=serializable)
        except StoreUnavailable:
            return
        self._note(door, called, listing)

    async def _put(self, door: Door) -> None:
        """One key, or several at once."""
        changes = self._changes(self._chance.choice((1, 1, 1, 2, 3)))
        await self._txn(door, [], [_operation(*change) for change in changes], Txn(_identities(changes)))

    async def _compare_and_set(self, door: Door) -> None:
        """On condition of what a read found that need not be fresh: where that is old, nothing may be changed."""
        changes = self._changes(self._chance.choice((1, 1, 2)))
        key = changes[0][0]
        try:
            async with asyncio.timeout(READ_SECONDS):
                seen = await door.client.get(key, serializable=True)
        except StoreUnavailable:
            return
        compare = Compare(key, seen.mod_revision if seen else 0)
        expected = identity_of(seen.value) if seen else None
        did = Txn(_identities(changes), key, expected)
        await self._txn(door, [compare], [_operation(*change) for change in changes], did)

    async def _txn(self, door: Door, compares: Sequence[Compare], operations: Sequence[Operation], did: Txn) -> None:
        called = time.monotonic()
        try:
            result = await door.client.txn(compares, operations)
        except NothingWritten:
            self._note(door, called, did, nothing=True)
            return
        except StoreUnavailable:
            self._note(door, called, did, returned=UNKNOWN)
            return
        there = result.conflicts[0] if result.conflicts else None
        conflict = identity_of(there.value) if there else None
        did = Txn(did.changes, did.compared, did.expected, result.succeeded, result.revision, conflict)
        self._note(door, called, did)

    def _note(
        self,
        door: Door,
        called: float,
        did: Get | Listing | Txn,
        *,
        returned: float | None = None,
        nothing: bool = False,
    ) -> None:
        returned = time.monotonic() if returned is None else returned
        self._history.calls.append(Call(self._number, door.label, called, returned, did, nothing))

    # With what.

    def _directory(self) -> str:
        epoch = int((time.monotonic() - self._began) / EPOCH_SECONDS)
        return f"/{epoch % 2}/{epoch:04d}/"

    def _key(self) -> str:
        return f"{self._directory()}{self._chance.randrange(KEYS)}"

    def _changes(self, count: int) -> Sequence[tuple[str, bytes | None]]:
        """Of different keys, each to a value nobody has written before, or to none."""
        directory = self._directory()
        return [
            (f"{directory}{number}", None if self._chance.random() < 0.1 else self._value())
            for number in self._chance.sample(range(KEYS), count)
        ]

    def _value(self) -> bytes:
        self._written += 1
        return value_of(f"{self._number}.{self._written}", self._chance.choice(SIZES))


def _operation(key: str, value: bytes | None) -> Operation:
    return Delete(key) if value is None else Put(key, value)


def _identities(changes: Sequence[tuple[str, bytes | None]]) -> tuple[tuple[str, Identity], ...]:
    return tuple((key, None if value is None else identity_of(value)) for key, value in changes)
