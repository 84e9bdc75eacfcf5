"""When leases end: every member measures their time, the leader's has the last word.

A member begins to measure when it applies what granted or renewed a lease, so that whoever becomes leader knows about
when each ends. The leader proposes the end of those whose time is over; the entry ends them on every member, unless a
renewal came before it in the log. Now and then the leader also has the log note how much time the leases have left,
because members that are all started anew know of nothing else: so a lease outlives a restart by the time since the last
note and the time they were down, and not by its whole life.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.clock import Clock
from orchestrator.store.command import encode_end, encode_remain
from orchestrator.store.errors import StoreUnavailable
from orchestrator.store.leases import Lease, Leases
from orchestrator.store.perform import Result

log = logging.getLogger(__name__)

NOTE_SECONDS = 60.0
"""Between two notes of what leases have left; a new leader begins with one."""
_NOTED = 1000
"""Milliseconds by which the log must be wrong about a lease for it to be noted."""
_AT_ONCE = 1000
"""Leases in one entry."""
_AGAIN = 1.0
"""Seconds after which what could not be proposed is tried again."""


@dataclass(frozen=True, slots=True)
class _Measured:
    ends: float
    """On this member's monotonic clock."""
    renewals: int


class LeaseKeeper:
    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        *,
        submit: Callable[[bytes], asyncio.Future[Result]],
        wake: Callable[[], None],
    ) -> None:
        """`submit` proposes a command; `wake` has `look` called soon."""
        self._leases = leases
        self._clock = clock
        self._submit, self._wake = submit, wake
        self._measured: dict[int, _Measured] = {}
        self._ends: list[tuple[float, int]] = []
        """A heap; what is not as in `_measured` any more is skipped."""
        self._proposed: asyncio.Future[Result] | None = None
        self._ending: list[tuple[int, int]] = []
        self._to_note: list[int] = []
        self._note_at = clock.monotonic()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf

    def replace(self, leases: Leases) -> None:
        """The state came from another member's snapshot."""
        self._leases = leases
        self._measured = {id: each for id, each in self._measured.items() if id in leases}

    def look(self, *, leads: bool) -> None:
        """Take note of what was applied; where this member leads, end what is over."""
        now = self._clock.monotonic()
        for id in self._leases.take_touched():
            self._measure(id, self._leases.find(id), now)
        if not leads:
            self._note_at = now
            return
        if not self._measured:
            return
        if self._proposed is None:
            self._propose(now)
        self._set_alarm(now)

    def stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _measure(self, id: int, lease: Lease | None, now: float) -> None:
        if lease is None:
            self._measured.pop(id, None)
            return
        ends = now + lease.remaining / 1000
        before = self._measured.get(id)
        if before is not None and before.renewals == lease.renewals and before.ends <= ends:
            return
        self._measured[id] = _Measured(ends, lease.renewals)
        heapq.heappush(self._ends, (ends, id))
        if len(self._ends) > 2 * len(self._measured) + 64:
            self._ends = [(each.ends, id) for id, each in self._measured.items()]
            heapq.heapify(self._ends)

    def _propose(self, now: float) -> None:
        self._ending = self._over(now)
        if self._ending:
            self._say(encode_end(self._ending))
            return
        if now >= self._note_at:
            self._note_at = now + NOTE_SECONDS
            self._to_note = [lease.id for lease in self._leases]
        if self._to_note and (notes := self._notes(now)):
            self._say(encode_remain(notes))

    def _over(self, now: float) -> list[tuple[int, int]]:
        over: list[tuple[int, int]] = []
        while self._ends and self._ends[0][0] <= now and len(over) < _AT_ONCE:
            ends, id = heapq.heappop(self._ends)
            measured = self._measured.get(id)
            if measured is not None and measured.ends == ends:
                over.append((id, measured.renewals))
        return over

    def _notes(self, now: float) -> list[tuple[int, int, int]]:
        notes: list[tuple[int, int, int]] = []
        while self._to_note and len(notes) < _AT_ONCE:
            id = self._to_note.pop()
            lease, measured = self._leases.find(id), self._measured.get(id)
            if lease is None or measured is None:
                continue
            left = math.ceil(max(0.0, measured.ends - now) * 1000)
            if lease.remaining - left >= _NOTED:
                notes.append((id, measured.renewals, left))
        return notes

    def _say(self, command: bytes) -> None:
        try:
            self._proposed = self._submit(command)
        except StoreUnavailable as error:
            log.debug("leases can't be looked after now: %s", error)
            self._put_back()
            return
        self._proposed.add_done_callback(self._said)

    def _said(self, done: asyncio.Future[Result]) -> None:
        self._proposed = None
        if not done.cancelled() and (error := done.exception()) is not None:
            log.debug("the end of leases was not written: %s", error)
        self._put_back()
        self._wake()

    def _put_back(self) -> None:
        """Those that have not ended are tried again, a little later."""
        again = self._clock.monotonic() + _AGAIN
        for id, renewals in self._ending:
            measured = self._measured.get(id)
            if measured is not None and measured.renewals == renewals and id in self._leases:
                self._measured[id] = _Measured(again, renewals)
                heapq.heappush(self._ends, (again, id))
        self._ending = []

    def _set_alarm(self, now: float) -> None:
        """Look again when the next lease may end, or notes are due."""
        at = max(min(self._ends[0][0] if self._ends else math.inf, self._note_at), now + 0.001)
        if self._proposed is not None or (self._alarm is not None and self._alarm_at <= at):
            return
        self.stop()
        self._alarm_at = at
        self._alarm = asyncio.get_running_loop().create_task(self._sleep(at - now), name="store-leases")

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._alarm = None
        self._wake()
