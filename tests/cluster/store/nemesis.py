"""Does what a schedule says to the members of a run, and in the end makes good what can be made good."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Final

from tests.cluster.store.changes import Changes
from tests.cluster.store.laboratory import Laboratory
from tests.cluster.store.members import Member, Members
from tests.cluster.store.observer import Observer
from tests.cluster.store.schedule import Schedule

Fault = Callable[[random.Random], Coroutine[None, None, None]]
_DRIFT: Final = (0.9, 0.95, 1.05, 1.1)


class Nemesis:
    def __init__(self, laboratory: Laboratory, members: Members, observer: Observer, tasks: asyncio.TaskGroup) -> None:
        self._laboratory, self._members, self._observer, self._tasks = laboratory, members, observer, tasks
        self._changes = Changes(members)
        self._changing: asyncio.Task[None] | None = None
        self.done: Counter[str] = Counter()

    async def act(self, schedule: Schedule) -> None:
        for step in schedule.steps:
            await asyncio.sleep(step.wait)
            chance = random.Random(step.dice)
            fault: Fault = getattr(self, f"_{step.fault}")
            await fault(chance)
            self.done[step.fault] += 1
            # Too much at once, and nothing happens that could go wrong.
            able = [member for member in self._members.up if not member.paused]
            if 2 * len(able) <= len(self._members.present) and chance.random() < 0.8:
                await self._resume(chance)
                await self._restart(chance)

    async def make_good(self) -> None:
        if self._changing is not None:
            await self._changing
        chance = random.Random(0)
        await self._heal(chance)
        for member in self._members.present:
            self._members.free(member)
        await self._resume(chance)
        for member in self._members.up:
            await self._members.harm(member, {"behave": True})
        await self._restart(chance)
        await self._changes.make_good()

    # Whom.

    def _one(self, chance: random.Random) -> Member:
        return chance.choice(self._members.present)

    def _leader(self, chance: random.Random) -> Member:
        """Who leads, as far as is known, or else anybody."""
        present = [member for member in self._members.present if member.name == self._observer.leader]
        return present[0] if present else self._one(chance)

    # Processes.

    async def _kill_leader(self, chance: random.Random) -> None:
        await self._members.kill(self._leader(chance))

    async def _kill_one(self, chance: random.Random) -> None:
        await self._members.kill(self._one(chance))

    async def _kill_all(self, chance: random.Random) -> None:
        await asyncio.gather(*(self._members.kill(member) for member in self._members.present))

    async def _restart(self, chance: random.Random) -> None:
        for member in self._members.present:
            if not member.up:
                await self._members.start(member)

    async def _pause_leader(self, chance: random.Random) -> None:
        self._members.pause(self._leader(chance))

    async def _pause_one(self, chance: random.Random) -> None:
        self._members.pause(self._one(chance))

    async def _stun_leader(self, chance: random.Random) -> None:
        """It sleeps through the next election, and wakes up with everybody's questions before it."""
        leader = self._leader(chance)
        self._members.pause(leader)
        await asyncio.sleep(chance.uniform(1.5, 3.0))
        self._members.resume(leader)

    async def _resume(self, chance: random.Random) -> None:
        for member in self._members.present:
            if member.paused:
                self._members.resume(member)

    async def _roll(self, chance: random.Random) -> None:
        """Restart all, one after the other, as an operator does."""
        for member in self._members.present:
            await self._members.stop(member)
            if not member.up:
                await self._members.start(member)

    # Power and disks.

    async def _power_leader(self, chance: random.Random) -> None:
        await self._fail_power(self._leader(chance), chance)

    async def _power_one(self, chance: random.Random) -> None:
        await self._fail_power(self._one(chance), chance)

    async def _power_all(self, chance: random.Random) -> None:
        await asyncio.gather(*(self._fail_power(member, chance) for member in self._members.present))

    async def _fail_power(self, member: Member, chance: random.Random) -> None:
        order = {"power": chance.choice(("now", "sync", "sync", "append", "name")), "seed": chance.randrange(1 << 32)}
        await self._members.harm(member, order, ends_of="power")

    async def _fail_sync(self, chance: random.Random) -> None:
        order = {"fail_sync": True, "seed": chance.randrange(1 << 32)}
        await self._members.harm(self._one(chance), order, ends_of="sync")

    async def _slow_disk(self, chance: random.Random) -> None:
        await self._members.harm(self._one(chance), {"slow": chance.choice((0.0, 0.005, 0.05, 0.3))})

    async def _fill_disk(self, chance: random.Random) -> None:
        small = [member for member in self._members.present if member.small_disk]
        if small:
            self._members.fill(chance.choice(small))

    async def _free_disk(self, chance: random.Random) -> None:
        for member in self._members.present:
            self._members.free(member)

    # Clocks.

    async def _step_clock(self, chance: random.Random) -> None:
        await self._members.harm(self._one(chance), {"step": chance.choice((-3600.0, -5.0, 5.0, 3600.0))})

    async def _drift_clock(self, chance: random.Random) -> None:
        await self._members.harm(self._one(chance), {"drift": chance.choice(_DRIFT)})

    # Who is a member. One change at a time, and the other faults go on meanwhile.

    async def _join(self, chance: random.Random) -> None:
        self._change(self._changes.join, chance)

    async def _promote(self, chance: random.Random) -> None:
        self._change(self._changes.promote, chance)

    async def _remove(self, chance: random.Random) -> None:
        self._change(self._changes.remove, chance)

    async def _move(self, chance: random.Random) -> None:
        self._change(self._changes.move, chance)

    async def _transfer(self, chance: random.Random) -> None:
        self._change(self._changes.transfer, chance)

    def _change(self, change: Fault, chance: random.Random) -> None:
        if self._changing is None or self._changing.done():
            self._changing = self._tasks.create_task(change(chance))

    # The network.

    async def _cut_halves(self, chance: random.Random) -> None:
        members = chance.sample(self._members.present, len(self._members.present))
        middle = chance.randrange(1, len(members))
        await self._part(members[:middle], members[middle:])

    async def _cut_leader(self, chance: random.Random) -> None:
        leader = self._leader(chance)
        await self._part([leader], [member for member in self._members.present if member is not leader])

    async def _cut_bridge(self, chance: random.Random) -> None:
        """Two halves that hear only one member in common."""
        members = chance.sample(self._members.present, len(self._members.present))
        middle = len(members) // 2
        await self._part(members[:middle], members[middle + 1 :])

    async def _cut_ring(self, chance: random.Random) -> None:
        """Everybody hears a majority, and nobody the same one."""
        members = chance.sample(self._members.present, len(self._members.present))
        near = len(members) // 4 + 1
        deaf: defaultdict[int, set[int]] = defaultdict(set)
        for position, member in enumerate(members):
            for other in range(len(members)):
                if near < (other - position) % len(members) < len(members) - near:
                    deaf[member.place].add(members[other].place)
        if not deaf:
            deaf = defaultdict(set, {members[0].place: {members[-1].place}, members[-1].place: {members[0].place}})
        await self._cut(deaf)

    async def _cut_one_way(self, chance: random.Random) -> None:
        """One member is not heard by some, or hears nothing of some, and the other way all is well."""
        one, *others = chance.sample(self._members.present, len(self._members.present))
        concerned = chance.sample(others, chance.randrange(1, len(others) + 1))
        if chance.random() < 0.5:
            await self._cut({one.place: {other.place for other in concerned}})
        else:
            await self._cut({other.place: {one.place} for other in concerned})

    async def _heal(self, chance: random.Random) -> None:
        await self._cut({})

    async def _part(self, some: Sequence[Member], others: Sequence[Member]) -> None:
        first, second = {member.place for member in some}, {member.place for member in others}
        await self._cut(dict.fromkeys(first, second) | dict.fromkeys(second, first))

    async def _cut(self, deaf_to: dict[int, set[int]] | dict[int, Collection[int]]) -> None:
        await asyncio.to_thread(self._laboratory.cut, deaf_to)

    async def _quiet(self, chance: random.Random) -> None:
        """A moment to recover in."""
