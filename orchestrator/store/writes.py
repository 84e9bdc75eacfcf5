"""The writes of this member, from the caller's txn to its result, wherever the leader is.

Writes that wait together make a group; a group is one log entry and has a number. It is proposed to the leader, and
again when the leader changes or nothing is heard of it; the number sees to it that it is applied once. Its results come
from this member's own application of the entry, so that whoever got a result can read it here at once.

A group whose time has passed is given up: its writers are told that its fate is unknown, and it is never proposed
again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.store.command import Origin, encode_group
from orchestrator.store.errors import NothingWritten, StoreBusy, StoreError, StoreUnavailable
from orchestrator.store.metrics import Metrics
from orchestrator.store.perform import Result
from orchestrator.store.slow import Course, SlowOperations

Results = Sequence[Result]
"""The outcomes of one group's commands, in order."""


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """How much may wait, and how much makes a group."""

    pending: int = 16_384
    pending_bytes: int = 64 << 20
    group: int = 1024
    group_bytes: int = 4 << 20


@dataclass(slots=True)
class _Pending:
    """A write that waits for its group."""

    command: bytes
    done: asyncio.Future[Result]
    since: float


@dataclass(slots=True)
class _Group:
    number: int
    writes: Sequence[_Pending]
    course: Course
    proposed_to: object = None
    """The leader and the term it was last proposed in."""
    proposed_at: float = 0.0


class Writes:
    def __init__(
        self,
        member: str,
        incarnation: int,
        limits: WriteLimits,
        patience: float,
        metrics: Metrics,
        slow: SlowOperations,
    ) -> None:
        """`patience`: seconds after which a write is given up; infinity where there is nobody else to wait for."""
        self.member, self.incarnation = member, incarnation
        self._limits = limits
        self._metrics, self._slow = metrics, slow
        self.patience = patience
        self._pending: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._groups: dict[int, _Group] = {}
        self._next_number = 1

    def __bool__(self) -> bool:
        return bool(self._pending or self._groups)

    def __len__(self) -> int:
        return len(self._pending) + sum(len(group.writes) for group in self._groups.values())

    def submit(self, command: bytes, now: float) -> asyncio.Future[Result]:
        limits = self._limits
        if len(self._pending) >= limits.pending or self._pending_bytes >= limits.pending_bytes:
            raise StoreBusy(f"{len(self._pending)} writes wait for the disk already: try again")
        pending = _Pending(command, asyncio.get_running_loop().create_future(), now)
        self._pending.append(pending)
        self._pending_bytes += len(command)
        return pending.done

    def proposals(self, leader: object, now: float, again_after: float, most: int) -> Iterator[bytes]:
        """The entries to propose now to `leader` (with its term): those it has not got, and new ones up to `most`."""
        for group in tuple(self._groups.values()):
            if group.proposed_to != leader or now >= group.proposed_at + again_after:
                yield self._proposal(group, leader, now)
        while self._pending and len(self._groups) < most:
            yield self._proposal(self._gather(), leader, now)

    def _gather(self) -> _Group:
        """Make a group of what waits."""
        writes: list[_Pending] = []
        size = 0
        limits = self._limits
        while self._pending and len(writes) < limits.group and (not writes or size < limits.group_bytes):
            pending = self._pending.popleft()
            writes.append(pending)
            size += len(pending.command)
        self._pending_bytes -= size
        group = _Group(self._next_number, writes, Course(writes[0].since))
        self._next_number += 1
        self._groups[group.number] = group
        return group

    def _proposal(self, group: _Group, leader: object, now: float) -> bytes:
        if group.proposed_to is None:
            self._slow.proposed(group.course, now)
        group.proposed_to, group.proposed_at = leader, now
        settled = next(iter(self._groups))
        origin = Origin(self.member, self.incarnation, group.number, settled)
        return encode_group(origin, [pending.command for pending in group.writes])

    def applied(self, number: int, results: Results, began: float, now: float) -> None:
        """This member has applied one of its own groups, from `began` until now."""
        group = self._groups.pop(number, None)
        if group is not None:
            self._slow.done(group.course, len(group.writes), began, now)
            for pending, result in zip(group.writes, results, strict=True):
                if pending.done.done():
                    continue
                if isinstance(result, StoreError):
                    pending.done.set_exception(result)
                else:
                    pending.done.set_result(result)

    def skipped(self, has_applied: Callable[[int], bool]) -> None:
        """The state came from a snapshot: the results of what it holds of this member's groups were never seen here."""
        for number in [number for number in self._groups if has_applied(number)]:
            self._end(
                self._groups.pop(number).writes,
                StoreUnavailable("the write took place, but this member learned of it too late to know its result"),
            )

    def give_up(self, now: float, why: str) -> None:
        """Tell the writers whose time has passed."""
        for group in [group for group in self._groups.values() if now >= group.course.since + self.patience]:
            del self._groups[group.number]
            self._end(group.writes, StoreUnavailable(f"{why}; whether the write takes place is unknown"))
        while self._pending and now >= self._pending[0].since + self.patience:
            pending = self._pending.popleft()
            self._pending_bytes -= len(pending.command)
            self._end([pending], NothingWritten(f"{why}; nothing was written"))

    def turn_away(self, error: NothingWritten, *, proposed: bool) -> None:
        """None of the waiting writes takes place; of those that were proposed the same is certain if `proposed`."""
        if proposed:
            for group in self._groups.values():
                self._end(group.writes, error)
            self._groups.clear()
        self._end(self._pending, error)
        self._pending.clear()
        self._pending_bytes = 0

    def fail(self, reason: str) -> None:
        """This member has stopped for good."""
        for group in self._groups.values():
            self._end(group.writes, StoreUnavailable(f"{reason}; whether the write survives is unknown"))
        self._end(self._pending, NothingWritten(f"{reason}; nothing was written"))
        self._groups.clear()
        self._pending.clear()

    def _end(self, writes: Sequence[_Pending] | deque[_Pending], error: StoreError) -> None:
        self._metrics.writes_failed += len(writes)
        for pending in writes:
            if not pending.done.done():
                pending.done.set_exception(error)
