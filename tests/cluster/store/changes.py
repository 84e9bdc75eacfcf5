"""Changes the members of the store while everything else goes on: joins, votes, removals, moves, and who leads.

Each change is asked of whatever member comes up, may be refused, and may fail in a way that leaves its fate open; what
has become of it, the next list of the members says. A member that was removed is to stop by itself; if it never hears
of it, it goes on unheard for a while, as a forgotten machine would.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.store import MemberList, MembershipError, StoreUnavailable
from orchestrator.store.store_client import StoreClient
from tests.cluster.store.members import Member, Members

MOST_MEMBERS: Final = 5
_AGAIN_SECONDS: Final = 0.3


class Changes:
    def __init__(self, members: Members) -> None:
        self._members = members
        self._numbers = itertools.count(len(members.all))

    async def join(self, chance: random.Random) -> None:
        """A new machine becomes a learner. One whose joining failed before is tried again first."""
        listed = await self._list(chance)
        if listed is None:
            return
        names = {member.name for member in listed.members}
        waiting = [member for member in self._members.present if member.name not in names and member.up]
        places = self._members.free_places()
        if not waiting and (len(names) >= MOST_MEMBERS or not places):
            return
        if waiting:
            member = chance.choice(waiting)
        else:
            member = self._members.newcomer(
                f"m{next(self._numbers)}", chance.choice(places), small_disk=chance.random() < 0.3
            )
            await self._members.start(member)
        address = self._members.address(member)
        await self._ask(chance, lambda client: client.add_member(member.name, address))

    async def promote(self, chance: random.Random) -> None:
        listed = await self._list(chance)
        learners = [member.name for member in listed.members if member.learner] if listed else []
        if learners:
            name = chance.choice(learners)
            await self._ask(chance, lambda client: client.promote_member(name))

    async def remove(self, chance: random.Random) -> None:
        """Any of them, the leader and learners too, as long as two with a vote are left."""
        listed = await self._list(chance)
        if listed is None:
            return
        voters = [member.name for member in listed.members if not member.learner]
        names = [member.name for member in listed.members if member.learner or len(voters) > 2]
        if not names:
            return
        leaving = self._members.all[chance.choice(names)]
        leaving.leaving = True
        await self._ask(chance, lambda client: client.remove_member(leaving.name))
        await self._bury(await self._list(chance), chance)

    async def move(self, chance: random.Random) -> None:
        """One is started again at another address, and the others are told."""
        member = chance.choice(self._members.present)
        await self._members.move(member)
        await self._tell_address(member, chance)

    async def transfer(self, chance: random.Random) -> None:
        name = chance.choice(["", *(member.name for member in self._members.present)])
        await self._ask(chance, lambda client: client.transfer_leadership(name))

    async def make_good(self) -> None:
        """Until the list of the members is what there is: everybody known by its address, the removed ones gone."""
        chance = random.Random(0)
        while True:
            listed = await self._list(chance)
            if listed is not None:
                await self._bury(listed, chance)
                addresses = {member.name: member.address for member in listed.members}
                for member in self._members.present:
                    if member.name not in addresses:
                        await self._retire(member)
                    elif addresses[member.name] != self._members.address(member):
                        await self._tell_address(member, chance)
                        break
                else:
                    return
            await asyncio.sleep(_AGAIN_SECONDS)

    # Asking.

    async def _tell_address(self, member: Member, chance: random.Random) -> None:
        address = self._members.address(member)
        await self._ask(chance, lambda client: client.move_member(member.name, address))

    async def _bury(self, listed: MemberList | None, chance: random.Random) -> None:
        """Those that were to be removed, and are. Their processes are stopped later, if they do not stop."""
        if listed is None:
            return
        names = {member.name for member in listed.members}
        for member in self._members.present:
            if member.leaving and member.name not in names:
                member.removed = True
        for member in self._members.all.values():
            if member.removed and chance.random() < 0.5:
                await self._retire(member)

    async def _retire(self, member: Member) -> None:
        member.removed = True
        await self._members.kill(member)

    async def _list(self, chance: random.Random) -> MemberList | None:
        return await self._ask(chance, lambda client: client.members())

    async def _ask(
        self, chance: random.Random, change: Callable[[StoreClient], Awaitable[MemberList]]
    ) -> MemberList | None:
        """None: it was refused, or nobody knows."""
        up = self._members.up
        if not up:
            return None
        try:
            return await change(chance.choice(up).client)
        except (StoreUnavailable, MembershipError):
            return None
