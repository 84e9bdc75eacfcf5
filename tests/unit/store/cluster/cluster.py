"""A cluster of simulated machines in one process: started, killed, cut off, paused, and watched.

At every step the `Witness` holds what Raft promises against what the members do.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestrator.store import Put, ReplicatedStore, Settings, StoreUnavailable, open_store
from orchestrator.store.membership import Members, Timing
from orchestrator.store.v1.raft_pb2 import Message
from tests.unit.store.cluster.invariants import Broken, Witness
from tests.unit.store.cluster.machine import Disk
from tests.unit.store.cluster.network import Network
from tests.unit.store.cluster.virtual_time import LateFlusher, LoopClock

__all__ = ["TIMING", "Broken", "Cluster"]

TIMING = Timing(heartbeat=0.05, election=0.3, patience=2.0)


class Cluster:
    """Members named a, b, c, ..., each with a disk and a clock of its own; all randomness is the seed's."""

    def __init__(
        self,
        directory: Path,
        size: int,
        seed: int,
        *,
        settings: Settings | None = None,
        timing: Timing = TIMING,
        watched: bool = True,
    ) -> None:
        """Not `watched`: a test itself lies in a member's name, and the witness would believe it."""
        self.names = [chr(ord("a") + number) for number in range(size)]
        """The machines there are."""
        self._initial = {name: name for name in self.names}
        self.chance = random.Random(seed)
        self.network = Network(self.chance)
        self.disks = {name: Disk(self.chance, partial(self._died, name)) for name in self.names}
        self.stores: dict[str, ReplicatedStore] = {}
        self.clock = LoopClock()
        self.clocks = {name: LoopClock() for name in self.names}
        self.flush_takes = 0.0005
        self.witness = Witness(self.disks)
        self.network.observe = self._sent if watched else None
        self._watched = watched
        self.network.heard = self.witness.look_at
        self.stopped: set[str] = set()
        """Processes that stand still."""
        self._directory = directory
        self._settings = settings or Settings()
        self._timing = timing

    async def start(self, *names: str) -> None:
        for name in names or self.names:
            disk = self.disks[name]
            try:
                self.stores[name] = await open_store(
                    self._directory / name,
                    clock=self.clocks[name],
                    settings=self._settings,
                    files=disk,
                    members=self._members(name),
                    wire=self.network.wire(name),
                    chance=random.Random(self.chance.random()),
                    flush=partial(self._begins, name, disk, disk.power),
                )
            except BaseException:
                self.witness.stopped(name)
                raise

    def _begins(
        self,
        name: str,
        disk: Disk,
        power: int,
        flush: Callable[[], None],
        done: Callable[[StoreUnavailable | None], None],
        loop: asyncio.AbstractEventLoop,
    ) -> LateFlusher:
        """The store asks for its flusher when it is whole and has done nothing yet: from now on it is watched."""
        store = getattr(done, "__self__", None)
        assert isinstance(store, ReplicatedStore)
        store._turn = partial(self._turn, name, store._turn)  # type: ignore[method-assign]
        if self._watched:
            self.witness.started(name, store)
        return LateFlusher(
            flush,
            done,
            loop,
            takes=self._flush_takes,
            alive=partial(_has_power, disk, power),
            awake=partial(self._is_awake, name),
            reported=partial(self.witness.look_at, name),
        )

    def _members(self, name: str) -> Members:
        if name in self._initial:
            return Members(name, self._initial, cluster="simulated", timing=self._timing)
        return Members(name, address=name, join=True, timing=self._timing)

    def add_machine(self, name: str) -> None:
        """A new machine, with an empty disk, that waits to be made a member; one of that name is gone."""
        self.remove_machine(name)
        self._initial = {each: address for each, address in self._initial.items() if each != name}
        self.disks[name] = Disk(self.chance, partial(self._died, name))
        self.clocks[name] = LoopClock()
        self.names.append(name)

    def remove_machine(self, name: str) -> None:
        if name in self.stores:
            self.kill(name)
        if name in self.names:
            self.names.remove(name)
        self.network.replace(name)
        self.witness.replaced(name)

    def empty_machine(self, name: str) -> None:
        """Its disk is lost and replaced by an empty one; what it is told when it starts is as before."""
        shutil.rmtree(self._directory / name, ignore_errors=True)
        self.disks[name] = Disk(self.chance, partial(self._died, name))
        self.witness.replaced(name)

    def kill(self, name: str) -> None:
        """The power fails: what was not synced is gone, and nothing more is said."""
        store = self.stores.pop(name)
        self.network.wire(name)
        self.witness.stopped(name)
        self.stopped.discard(name)
        self.disks[name].fail_power()
        store.halt("the power failed")
        store._lock.release()

    def stop(self, name: str) -> None:
        """The process stands still, as after SIGSTOP: it hears, says and notices nothing until `go_on`."""
        wire = self.network.current(name)
        if wire is not None:
            wire.pause()
            self.stopped.add(name)

    def go_on(self, name: str) -> None:
        wire, store = self.network.current(name), self.stores.get(name)
        if name in self.stopped and store is not None and wire is not None:
            self.stopped.discard(name)
            store._turn()
            wire.resume()

    def _is_awake(self, name: str) -> bool:
        return name not in self.stopped

    def _turn(self, name: str, turn: Callable[[], None]) -> None:
        if name not in self.stopped:
            turn()

    async def leader(self) -> str:
        """Wait for a member that leads and knows that it does."""
        while True:
            for name, store in self.stores.items():
                if store._raft.leads:
                    try:
                        await store.get("/", serializable=False)
                    except StoreUnavailable:
                        continue
                    if store.status().is_leader:
                        return name
            await asyncio.sleep(0.01)

    async def settle(self) -> None:
        """Wait until every running member has applied everything that is committed."""
        leader = await self._write_settled()
        last = self.stores[leader].status().applied_index
        members = [member.name for member in self.stores[leader]._raft.configuration.members]
        running = [self.stores[name] for name in members if name in self.stores]
        while any(store._raft.applied_index < last for store in running):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _write_settled(self) -> str:
        """Once there is room: a disk that was full is looked at now and then, which may take longer than a write waits.
        Who led."""
        while True:
            leader = await self.leader()
            try:
                await self.stores[leader].txn([], [Put("/settled", b"")])
            except StoreUnavailable:
                await asyncio.sleep(0.1)
            else:
                return leader

    async def close(self) -> None:
        """The members go down together; whoever led needs nobody to take over."""
        for name in list(self.stores):
            self.kill(name)
        await asyncio.sleep(0)
        self.check()

    def check(self) -> None:
        """Raise what a member may have swallowed."""
        if self.witness.broken is not None:
            raise self.witness.broken

    def followers(self, leader: str) -> Sequence[str]:
        return [name for name in self.names if name != leader and name in self.stores]

    def _flush_takes(self) -> float:
        return self.chance.expovariate(1 / self.flush_takes)

    def _died(self, name: str) -> None:
        """The power of a machine has failed in the middle of something: from now on nobody hears of it."""
        wire = self.network.current(name)
        if wire is not None:
            wire.alive = False

    def _sent(self, sender: str, receiver: str, message: Message) -> None:
        if not self.disks[sender].dead:
            self.witness.sent(sender, receiver, message)


def _has_power(disk: Disk, power: int) -> bool:
    return disk.power == power and not disk.dead
