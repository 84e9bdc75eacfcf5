"""A cluster of simulated machines in one process: started, killed, cut off, paused, and watched.

At every moment it holds what Raft promises against what the members do: one leader a term; whatever one member has
applied at an index, every member applies there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from orchestrator.store import Put, ReplicatedStore, Settings, StoreUnavailable, open_store
from orchestrator.store.membership import Members, Timing
from tests.unit.store.cluster.machine import Disk
from tests.unit.store.cluster.network import Network
from tests.unit.store.cluster.virtual_time import LateFlusher, LoopClock

TIMING = Timing(heartbeat=0.05, election=0.3, patience=2.0)


class Broken(AssertionError):
    """A promise of Raft was not kept."""


class Cluster:
    """Members named a, b, c, ..., each with a disk of its own; all randomness is the seed's."""

    def __init__(
        self, directory: Path, size: int, seed: int, *, settings: Settings | None = None, timing: Timing = TIMING
    ) -> None:
        self.names = [chr(ord("a") + number) for number in range(size)]
        self.chance = random.Random(seed)
        self.network = Network(self.chance)
        self.disks = {name: Disk(self.chance) for name in self.names}
        self.stores: dict[str, ReplicatedStore] = {}
        self.clock = LoopClock()
        self.flush_takes = 0.0005
        self._directory = directory
        self._settings = settings or Settings()
        self._timing = timing
        self._leaders: dict[int, str] = {}
        self._applied: dict[int, bytes] = {}

    async def start(self, *names: str) -> None:
        for name in names or self.names:
            others = [other for other in self.names if other != name]
            disk, power = self.disks[name], self.disks[name].power
            store = await open_store(
                self._directory / name,
                clock=self.clock,
                settings=self._settings,
                files=self.disks[name],
                members=Members(name, others, self._timing),
                wire=self.network.wire(name),
                chance=random.Random(self.chance.random()),
                flush=partial(LateFlusher, takes=self._flush_takes, alive=partial(_has_power, disk, power)),
            )
            self.stores[name] = store
            self._watch_over(name, store)

    def kill(self, name: str) -> None:
        """The power fails: what was not synced is gone, and nothing more is said."""
        store = self.stores.pop(name)
        self.network.wire(name)
        self.disks[name].fail_power()
        store.halt("the power failed")
        store._lock.release()

    async def leader(self) -> str:
        """Wait for a member that leads and knows that it does."""
        while True:
            for name, store in self.stores.items():
                if store.status().is_leader:
                    try:
                        await store.get("/", serializable=False)
                    except StoreUnavailable:
                        continue
                    if store.status().is_leader:
                        return name
            await asyncio.sleep(0.01)

    async def settle(self) -> None:
        """Wait until every running member has applied everything that is committed."""
        leader = await self.leader()
        await self.stores[leader].txn([], [Put("/settled", b"")])
        last = self.stores[leader].status().applied_index
        while any(store.status().applied_index < last for store in self.stores.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """The members go down together; whoever led needs nobody to take over."""
        for name in list(self.stores):
            self.kill(name)
        await asyncio.sleep(0)

    def _flush_takes(self) -> float:
        return self.chance.expovariate(1 / self.flush_takes)

    def followers(self, leader: str) -> Sequence[str]:
        return [name for name in self.names if name != leader and name in self.stores]

    def _watch_over(self, name: str, store: ReplicatedStore) -> None:
        raft = store._raft
        apply, tick = raft._apply, raft.tick

        def checked_apply(command: bytes) -> None:
            index = raft.applied_index + 1
            if self._applied.setdefault(index, command) != command:
                raise Broken(f"{name} applies another entry {index} than a member before it")
            apply(command)

        def checked_tick() -> None:
            tick()
            if raft.leads:
                term = store.status().term
                if self._leaders.setdefault(term, name) != name:
                    raise Broken(f"{name} and {self._leaders[term]} lead in term {term}")

        raft._apply = checked_apply
        raft.tick = checked_tick  # type: ignore[method-assign]


def _has_power(disk: Disk, power: int) -> bool:
    return disk.power == power
