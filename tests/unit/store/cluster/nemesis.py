"""Clients that write down what they saw, and a nemesis that makes it hard; both by seed.

`torment` runs a cluster in virtual time under a seeded schedule of faults, lets it recover, and returns the history of
every key. The cluster itself checks Raft's promises meanwhile.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.store import Compare, Delete, NothingWritten, Put, ReplicatedStore, Settings, StoreUnavailable
from tests.unit.store.cluster.cluster import Cluster
from tests.unit.store.cluster.linearizability import NEVER, Call, CompareAndSet, Get, Write
from tests.unit.store.cluster.virtual_time import LoopClock, run

KEYS: Final = 3
CLIENTS: Final = 6


@dataclass(slots=True)
class Report:
    seed: int
    history: dict[str, list[Call]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    operations: int = 0
    unknown: int = 0
    elections: int = 0
    final: Mapping[str, Sequence[tuple[str, bytes, int]]] = field(default_factory=dict)
    """What each member held at the end."""


def torment(
    directory: Path, seed: int, *, size: int = 3, seconds: float = 10.0, settings: Settings | None = None
) -> Report:
    """One run of a cluster of `size` under the faults of `seed`, for so many virtual seconds."""
    return run(_torment(directory, seed, size, seconds, settings))


async def _torment(directory: Path, seed: int, size: int, seconds: float, settings: Settings | None) -> Report:
    report = Report(seed)
    cluster = Cluster(directory, size, seed, settings=settings)
    chance = random.Random(seed + 1)
    cluster.network.weather.delay = chance.choice([0.0005, 0.002, 0.01])
    cluster.network.weather.loss = chance.choice([0.0, 0.0, 0.02, 0.1])
    cluster.network.weather.repeat = chance.choice([0.0, 0.05])
    cluster.flush_takes = chance.choice([0.0002, 0.002, 0.02])
    await cluster.start()
    stop = asyncio.Event()
    clients = [
        asyncio.create_task(_client(cluster, number, chance.random(), report, stop)) for number in range(CLIENTS)
    ]
    await Nemesis(cluster, chance, report).act(seconds)
    stop.set()
    async with asyncio.timeout(300):
        await asyncio.gather(*clients)
        await cluster.settle()
    report.final = {
        name: [(item.key, item.value, item.mod_revision) for item in (await store.range("")).items]
        for name, store in cluster.stores.items()
    }
    report.elections = max(store.status().term for store in cluster.stores.values())
    await cluster.close()
    return report


class Nemesis:
    def __init__(self, cluster: Cluster, chance: random.Random, report: Report) -> None:
        self._cluster, self._chance, self._report = cluster, chance, report
        self._down: list[str] = []

    async def act(self, seconds: float) -> None:
        """Do harm for so long, then make good what can be made good."""
        clock, faults = (
            LoopClock(),
            [
                self._kill_leader,
                self._kill_one,
                self._kill_all,
                self._kill_during_flush,
                self._restart,
                self._restart,
                self._part_halves,
                self._isolate_leader,
                self._cut_one_way,
                self._ring,
                self._heal,
                self._heal,
                self._pause_leader,
                self._nothing,
                self._nothing,
            ],
        )
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            await asyncio.sleep(self._chance.uniform(0.05, 1.0))
            fault = self._chance.choice(faults)
            self._report.faults.append(fault.__name__.removeprefix("_"))
            await fault()
            # Too much at once, and nothing happens that could go wrong.
            if 2 * len(self._down) >= len(self._cluster.names) and self._chance.random() < 0.8:
                await self._restart()
        self._cluster.network.heal()
        await self._restart()

    def _leader(self) -> str:
        for name, store in self._cluster.stores.items():
            if store.status().is_leader:
                return name
        return self._any()

    def _any(self) -> str:
        return self._chance.choice(self._cluster.names)

    def _kill(self, name: str) -> None:
        if name in self._cluster.stores:
            self._cluster.kill(name)
            self._down.append(name)

    async def _kill_leader(self) -> None:
        self._kill(self._leader())

    async def _kill_one(self) -> None:
        self._kill(self._any())

    async def _kill_all(self) -> None:
        for name in self._cluster.names:
            self._kill(name)
        await self._restart()

    async def _kill_during_flush(self) -> None:
        """The power fails when something is written and not synced."""
        name = self._leader()
        if name in self._cluster.stores:
            self._cluster.disks[name].fail_at_sync = True
            await asyncio.sleep(0.05)
            self._kill(name)

    async def _restart(self) -> None:
        down, self._down = self._down, []
        await self._cluster.start(*down) if down else None

    async def _part_halves(self) -> None:
        await self._heal()
        names = self._chance.sample(self._cluster.names, len(self._cluster.names))
        where = self._chance.randrange(1, len(names))
        self._cluster.network.part(names[:where], names[where:])

    async def _isolate_leader(self) -> None:
        await self._heal()
        leader = self._leader()
        self._cluster.network.part([leader], [name for name in self._cluster.names if name != leader])

    async def _cut_one_way(self) -> None:
        await self._heal()
        self._cluster.network.cut([self._any()], [self._any()])

    async def _ring(self) -> None:
        """Everybody sees a majority, but not the same one."""
        await self._heal()
        names = self._chance.sample(self._cluster.names, len(self._cluster.names))
        self._cluster.network.part([names[0]], [names[-1]])

    async def _heal(self) -> None:
        self._cluster.network.heal()

    async def _pause_leader(self) -> None:
        """The leader's process stands still while the others go on."""
        wire = self._cluster.network.current(self._leader())
        store = self._cluster.stores.get(self._leader())
        if wire is not None and store is not None:
            wire.pause()
            await asyncio.sleep(self._chance.uniform(0.1, 1.5))
            wire.resume()

    async def _nothing(self) -> None:
        """A quiet moment."""


async def _client(cluster: Cluster, number: int, seed: float, report: Report, stop: asyncio.Event) -> None:
    """One operation after the other, on whatever member is up; every value written is new."""
    chance = random.Random(seed)
    clock = LoopClock()
    written = 0
    while not stop.is_set():
        await asyncio.sleep(chance.expovariate(1 / 0.02))
        if not cluster.stores:
            continue
        store = cluster.stores[chance.choice(sorted(cluster.stores))]
        key = f"/{chance.randrange(KEYS)}"
        written += 1
        value = None if chance.random() < 0.1 else b"%d-%d" % (number, written)
        kind = chance.choice([_get, _write, _compare_and_set])
        called = clock.monotonic()
        did, known = await kind(store, key, value)
        if did is None:
            continue
        report.operations += 1
        report.unknown += not known
        report.history.setdefault(key, []).append(Call(number, called, clock.monotonic() if known else NEVER, did))


Did = tuple[Get | Write | CompareAndSet | None, bool]
"""What was done, None: nothing; and whether its outcome is known."""


async def _get(store: ReplicatedStore, key: str, value: bytes | None) -> Did:
    try:
        found = await store.get(key)
    except StoreUnavailable:
        return None, False
    return Get(found.value if found else None), True


async def _write(store: ReplicatedStore, key: str, value: bytes | None) -> Did:
    try:
        await store.txn([], [Put(key, value) if value is not None else Delete(key)])
    except StoreUnavailable as error:
        return (None, False) if isinstance(error, NothingWritten) else (Write(value), False)
    return Write(value), True


async def _compare_and_set(store: ReplicatedStore, key: str, value: bytes | None) -> Did:
    """What is compared with is what a local read shows, which may be old: then it must fail."""
    try:
        seen = await store.get(key, serializable=True)
    except StoreUnavailable:
        return None, False
    expected = seen.value if seen else None
    operation = Put(key, value) if value is not None else Delete(key)
    try:
        result = await store.txn([Compare(key, seen.mod_revision if seen else 0)], [operation])
    except StoreUnavailable as error:
        return (None, False) if isinstance(error, NothingWritten) else (CompareAndSet(expected, value, None), False)
    if result.succeeded:
        return CompareAndSet(expected, value, expected), True
    there = result.conflicts[0]
    return CompareAndSet(expected, value, there.value if there else None), True
