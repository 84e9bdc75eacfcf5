"""Asks all members all the time who leads: for the nemesis, and because two that lead in one term would be wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from orchestrator.store import StoreError
from tests.cluster.store.members import Member, Members

EVERY_SECONDS: Final = 0.25
ANSWER_SECONDS: Final = 0.5


class Observer:
    def __init__(self, members: Members, report: Callable[[str], None]) -> None:
        self._members, self._report = members, report
        self._leaders: dict[int, str] = {}
        self._asked: dict[str, int] = {}

    @property
    def leader(self) -> str | None:
        """Who led last, as far as is known."""
        return self._leaders[max(self._leaders)] if self._leaders else None

    @property
    def elections(self) -> int:
        """Terms that have come and gone: a term that nobody won counts."""
        return max(self._leaders, default=0)

    async def work(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.gather(*(self._ask(member) for member in self._members.up if not member.paused))
            await asyncio.sleep(EVERY_SECONDS)

    async def _ask(self, member: Member) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await member.client.status()
        except (StoreError, TimeoutError):
            return
        if status.leader == status.member:
            known = self._leaders.setdefault(status.term, status.member)
            if known != status.member:
                self._report(f"{known} and {status.member} both lead in term {status.term}")
