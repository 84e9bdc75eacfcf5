"""One short random schedule of a simulated cluster, by seed: a second or two of a few clients and many faults.

Thousands of these find what a long run does not: each begins from nothing, so elections, first entries, empty logs and
restarts are met again and again, in another order every time. The witness checks every step; at the end the clients'
histories must fit one order and all members must hold the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.store import (
    Compacted,
    Compare,
    Delete,
    KeyValue,
    MembershipError,
    NothingWritten,
    Put,
    ReplicatedStore,
    Settings,
    StoreUnavailable,
    WatcherTooSlow,
)
from orchestrator.store.membership import Timing
from tests.unit.store.cluster.cluster import Broken, Cluster
from tests.unit.store.cluster.linearizability import NEVER, Call, CompareAndSet, Get, Write, is_linearizable
from tests.unit.store.cluster.virtual_time import LoopClock, run

KEYS: Final = 2
CLIENTS: Final = 3
RECOVERY: Final = 120.0
"""Virtual seconds within which a healed cluster must work again."""
TIMING: Final = Timing(heartbeat=0.1, election=0.3, patience=1.0)


@dataclass(slots=True)
class Outcome:
    seed: int
    faults: list[str] = field(default_factory=list)
    history: dict[str, list[Call]] = field(default_factory=dict)
    operations: int = 0
    unknown: int = 0
    elections: int = 0
    messages: int = 0


def simulate(directory: Path, seed: int) -> Outcome:
    """Raises Broken, with the seed and what happened, when anything was not as promised."""
    outcome = Outcome(seed)
    try:
        run(_Schedule(directory, outcome).run())
    except (AssertionError, TimeoutError) as error:
        raise Broken(f"seed {seed}: {str(error) or 'the cluster does not recover'}; {outcome.faults}") from error
    return outcome


class _Schedule:
    def __init__(self, directory: Path, outcome: Outcome) -> None:
        chance = self._chance = random.Random(f"schedule {outcome.seed}")
        self._outcome = outcome
        settings = Settings(
            segment_size=chance.choice([512, 2048, 1 << 20]),
            entries_in_memory=chance.choice([4, 16, 256]),
            snapshot_entries=chance.choice([12, 40, 50_000]),
        )
        size = chance.choice([2, 3, 3, 3, 3, 3, 3, 5])
        self._cluster = cluster = Cluster(directory, size, chance.randrange(1 << 62), settings=settings, timing=TIMING)
        cluster.flush_takes = chance.choice([0.0005, 0.002, 0.02])
        self._change_weather()
        for clock in cluster.clocks.values():
            clock.rate = chance.uniform(0.95, 1.05)
        self._stop = False
        self._faults: Sequence[Callable[[], None]] = [
            self._kill_leader,
            self._kill_leader,
            self._kill_one,
            self._kill_all,
            self._die_in_an_operation,
            self._die_in_an_operation,
            self._die_in_an_operation,
            self._cut_one_way,
            self._cut_one_way,
            self._isolate_leader,
            self._split,
            self._heal,
            self._heal,
            self._change_weather,
            self._stop_process,
            self._stop_process,
            self._step_clock,
            self._fill_disk,
            self._hand_over,
            self._nothing,
        ]

    async def run(self) -> None:
        cluster, chance = self._cluster, self._chance
        try:
            await cluster.start()
            clients = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]
            watching = asyncio.create_task(self._watch())
            if chance.random() < 0.4:
                clients.append(asyncio.create_task(self._operator()))
            await asyncio.sleep(chance.choice([0.0, 0.3, 0.8]))
            for _ in range(chance.randint(1, 6)):
                await asyncio.sleep(chance.expovariate(1 / 0.15))
                self._restart_failed()
                fault = chance.choice(self._faults)
                self._outcome.faults.append(f"{fault.__name__.strip('_')} at {cluster.clock.monotonic():.3f}")
                fault()
                if chance.random() < 0.5:
                    await self._restart()
                cluster.check()
            await self._recover(clients)
            watching.cancel()
            await asyncio.wait([watching])
            self._judge()
        finally:
            await cluster.close()

    async def _recover(self, clients: Sequence[asyncio.Task[None]]) -> None:
        """Make everything good; then the clients must come to their end, and the members agree."""
        self._make_good()
        self._stop = True
        async with asyncio.timeout(RECOVERY):
            await self._keep_up(asyncio.gather(*clients))
            await self._keep_up(asyncio.ensure_future(self._settle()))

    async def _settle(self) -> None:
        cluster = self._cluster
        leader = await cluster.leader()
        members = [member.name for member in cluster.stores[leader]._raft.configuration.members]
        if missing := set(members) - set(cluster.names):
            raise Broken(f"{missing} are members, and have stopped because they were none")
        for name in set(cluster.names) - set(members):
            cluster.remove_machine(name)
        await cluster.settle()

    async def _keep_up(self, work: asyncio.Future[Any]) -> None:
        """Until the work is done, start again whoever meets a fault that was laid before."""
        while not work.done():
            self._restart_failed()
            await self._restart()
            self._cluster.check()
            await asyncio.wait([work], timeout=0.2)
        await work

    def _judge(self) -> None:
        cluster, outcome = self._cluster, self._outcome
        cluster.check()
        outcome.elections, outcome.messages = cluster.witness.terms, cluster.network.sent
        for key, calls in outcome.history.items():
            if not is_linearizable(calls):
                raise Broken(f"the history of {key} fits no order: {calls}")
        # A write that strayed may arrive once all have settled; whoever has it then is one entry further.
        contents: dict[int, Sequence[KeyValue]] = {}
        for store in cluster.stores.values():
            items = store._state.range("").items
            if contents.setdefault(store._raft.applied_index, items) != items:
                raise Broken("the members end with different contents")

    # Faults.

    def _leader(self) -> str:
        for name, store in self._cluster.stores.items():
            if store._raft.leads:
                return name
        return self._any()

    def _any(self) -> str:
        return self._chance.choice(self._cluster.names)

    def _kill(self, name: str) -> None:
        if name in self._cluster.stores:
            self._cluster.kill(name)

    def _kill_leader(self) -> None:
        self._kill(self._leader())

    def _kill_one(self) -> None:
        self._kill(self._any())

    def _kill_all(self) -> None:
        for name in self._cluster.names:
            self._kill(name)

    def _die_in_an_operation(self) -> None:
        """The power fails soon, while something is being written, synced or renamed."""
        name = self._leader() if self._chance.random() < 0.5 else self._any()
        self._cluster.disks[name].operations_left = self._chance.choice([0, 1, 2, 3, 5, 8, 13])

    def _restart_failed(self) -> None:
        """Members whose power failed by itself, or that have given up."""
        for name, store in list(self._cluster.stores.items()):
            if store._raft.removed and not self._cluster.disks[name].dead:
                self._cluster.remove_machine(name)
            elif self._cluster.disks[name].dead or store._failure is not None:
                self._cluster.disks[name].full = False
                self._kill(name)

    async def _restart(self) -> None:
        for name in [name for name in self._cluster.names if name not in self._cluster.stores]:
            disk = self._cluster.disks[name]
            try:
                await self._cluster.start(name)
            except StoreUnavailable:
                if not disk.dead and not disk.full:
                    raise
                # It met a fault that was laid for it while it read its disk, and stays down for now.
                disk.full = False
                disk.fail_power()

    def _cut_one_way(self) -> None:
        self._cluster.network.cut([self._any()], [self._any(), self._any()])

    def _isolate_leader(self) -> None:
        leader = self._leader()
        self._cluster.network.part([leader], [name for name in self._cluster.names if name != leader])

    def _split(self) -> None:
        names = self._chance.sample(self._cluster.names, len(self._cluster.names))
        where = self._chance.randint(1, len(names))
        self._cluster.network.part(names[:where], names[where:])

    def _heal(self) -> None:
        self._cluster.network.heal()

    def _change_weather(self) -> None:
        chance, weather = self._chance, self._cluster.network.weather
        weather.delay = chance.choice([0.0005, 0.002, 0.01, 0.04])
        weather.loss = chance.choice([0.0, 0.0, 0.05, 0.2])
        weather.repeat = chance.choice([0.0, 0.1, 0.3])
        weather.straying = chance.choice([0.0, 0.05, 0.2])

    def _stop_process(self) -> None:
        name = self._leader() if self._chance.random() < 0.6 else self._any()
        if name in self._cluster.stores:
            self._cluster.stop(name)
            asyncio.get_running_loop().call_later(self._chance.uniform(0.05, 1.0), self._cluster.go_on, name)

    def _step_clock(self) -> None:
        self._cluster.clocks[self._any()].offset = self._chance.uniform(-3600, 3600)

    def _fill_disk(self) -> None:
        disk = self._cluster.disks[self._any()]
        disk.full = not disk.full

    def _hand_over(self) -> None:
        for store in self._cluster.stores.values():
            if store._raft.leads:
                store._raft.hand_over()

    def _nothing(self) -> None:
        """A quiet moment."""

    def _make_good(self) -> None:
        self._cluster.network.heal()
        weather = self._cluster.network.weather
        weather.delay, weather.loss, weather.repeat, weather.straying = 0.001, 0.0, 0.0, 0.0
        for name in self._cluster.names:
            self._cluster.disks[name].full = False
            self._cluster.disks[name].operations_left = -1
            self._cluster.go_on(name)

    # Clients.

    async def _client(self, number: int) -> None:
        """One operation after the other, on whatever member is up; every value written is new."""
        chance, clock, cluster = self._chance, LoopClock(), self._cluster
        written = 0
        while not self._stop:
            await asyncio.sleep(chance.expovariate(1 / 0.02))
            up = [name for name in sorted(cluster.stores) if name not in cluster.stopped]
            if not up:
                continue
            store = cluster.stores[chance.choice(up)]
            key = f"/{chance.randrange(KEYS)}"
            written += 1
            value = None if chance.random() < 0.1 else b"%d-%d" % (number, written)
            called = clock.monotonic()
            try:
                did = await self._do(store, key, value)
            except _Unknown as unknown:
                call = Call(number, called, NEVER, unknown.did)
                self._outcome.unknown += 1
            except StoreUnavailable:
                continue
            else:
                call = Call(number, called, clock.monotonic(), did)
            self._outcome.operations += 1
            self._outcome.history.setdefault(key, []).append(call)

    async def _do(self, store: ReplicatedStore, key: str, value: bytes | None) -> Get | Write | CompareAndSet:
        match self._chance.randrange(3):
            case 0:
                return await self._get(store, key)
            case 1:
                return await self._write(store, key, value)
            case _:
                return await self._compare_and_set(store, key, value)

    async def _get(self, store: ReplicatedStore, key: str) -> Get:
        acknowledged = self._cluster.witness.acknowledged
        page = await store.range(key)
        if page.revision < acknowledged:
            raise Broken(f"a fresh read is at revision {page.revision}, {acknowledged} had been acknowledged")
        return Get(page.items[0].value if page.items else None)

    async def _write(self, store: ReplicatedStore, key: str, value: bytes | None) -> Write:
        try:
            result = await store.txn([], [Put(key, value) if value is not None else Delete(key)])
        except NothingWritten:
            raise
        except StoreUnavailable as error:
            raise _Unknown(Write(value)) from error
        self._cluster.witness.acknowledges([value] if value else [], result.revision)
        return Write(value)

    async def _compare_and_set(self, store: ReplicatedStore, key: str, value: bytes | None) -> CompareAndSet:
        """What is compared with is what a local read shows, which may be old: then it must fail."""
        seen = await store.get(key, serializable=True)
        expected = seen.value if seen else None
        operation = Put(key, value) if value is not None else Delete(key)
        try:
            result = await store.txn([Compare(key, seen.mod_revision if seen else 0)], [operation])
        except NothingWritten:
            raise
        except StoreUnavailable as error:
            raise _Unknown(CompareAndSet(expected, value, None)) from error
        if result.succeeded:
            self._cluster.witness.acknowledges([value] if value else [], result.revision)
            return CompareAndSet(expected, value, expected)
        there = result.conflicts[0]
        return CompareAndSet(expected, value, there.value if there else None)

    async def _operator(self) -> None:
        """Adds, promotes, moves and removes members, and hands the lead on, as if in a hurry."""
        cluster, chance = self._cluster, self._chance
        spare = ["x", "y", "z"]
        while not self._stop:
            await asyncio.sleep(chance.expovariate(1 / 0.15))
            if not cluster.stores:
                continue
            store = cluster.stores[chance.choice(sorted(cluster.stores))]
            members = store._raft.configuration.members
            if not members:
                continue
            name = chance.choice(members).name
            learners = [member.name for member in members if member.learner]
            promote = learners and chance.random() < 0.5
            what = "promote" if promote else chance.choice(["add", "add", "remove", "move", "transfer"])
            self._outcome.faults.append(f"{what} {name} at {cluster.clock.monotonic():.3f}")
            try:
                if what == "add" and spare:
                    name = spare.pop(0)
                    cluster.add_machine(name)
                    await store.add_member(name, name)
                elif what == "promote" and learners:
                    await store.promote_member(chance.choice(learners))
                elif what == "remove":
                    await store.remove_member(name)
                    cluster.remove_machine(name)
                    spare.append(name)
                elif what == "move":
                    await store.move_member(name, f"{name}:{chance.randrange(100)}")
                elif what == "transfer":
                    await store.transfer_leadership(chance.choice(["", name]))
            except (MembershipError, StoreUnavailable):
                continue

    async def _watch(self) -> None:
        """Follow everything, from one member to the next, and miss nothing."""
        reached = 1
        while True:
            up = sorted(self._cluster.stores)
            await asyncio.sleep(0.02)
            if not up or (store := self._cluster.stores.get(self._chance.choice(up))) is None:
                continue
            try:
                async for batch in store.watch("", after=min(reached, store._state.revision)):
                    fresh = [event for event in batch if event.revision > reached]
                    reached = self._cluster.witness.delivers(reached, fresh)
            except Compacted as compacted:
                reached = max(reached, compacted.compacted_revision)
            except (StoreUnavailable, WatcherTooSlow):
                continue


class _Unknown(Exception):
    """The outcome of an operation that may or may not have taken place."""

    def __init__(self, did: Write | CompareAndSet) -> None:
        super().__init__()
        self.did = did
