"""Fresh reads on any member: how far must this member have applied before it may answer?

Raft's read index (Ongaro's thesis, section 6.4): the leader notes its commit index, makes sure with a round of messages
that it still leads, and a reader waits until its own member has applied up to there. No log entry is written. Readers
that come while a question is on its way share the next one.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.store.errors import StoreUnavailable


@dataclass(slots=True)
class _Reader:
    go: asyncio.Future[None]
    give_up: float


@dataclass(slots=True)
class _Question:
    id: int
    asked_of: object
    asked_at: float
    readers: list[_Reader]


class Reads:
    def __init__(self, ask: Callable[[int], None], patience: float, first_id: int) -> None:
        """Questions are numbered from `first_id` on, which is another one in every run of the process: an answer to a
        question of an earlier run may still be on its way."""
        self._ask = ask
        self.patience = patience
        self._joining: list[_Reader] = []
        self._question: _Question | None = None
        self._confirmed: list[tuple[int, int, list[_Reader]]] = []
        self._ids = itertools.count(first_id)
        self._order = itertools.count()

    def __len__(self) -> int:
        waiting = len(self._joining) + sum(len(readers) for _, _, readers in self._confirmed)
        return waiting + (len(self._question.readers) if self._question else 0)

    def join(self, now: float) -> asyncio.Future[None]:
        """Done when whoever joined may read."""
        reader = _Reader(asyncio.get_running_loop().create_future(), now + self.patience)
        self._joining.append(reader)
        return reader.go

    def inquire(self, leader: object, now: float, again_after: float) -> None:
        """Ask `leader` (with its term) what is to be asked."""
        question = self._question
        if question is not None:
            if question.asked_of == leader and now < question.asked_at + again_after:
                return
            # Whoever joined meanwhile began earlier than the question will be asked again.
            self._joining = question.readers + self._joining
            self._question = None
        if self._joining:
            readers, self._joining = self._joining, []
            self._question = _Question(next(self._ids), leader, now, readers)
            self._ask(self._question.id)

    def answered(self, id: int, index: int) -> None:
        question = self._question
        if question is not None and question.id == id:
            self._question = None
            heapq.heappush(self._confirmed, (index, next(self._order), question.readers))

    def applied(self, index: int) -> None:
        """This member has applied up to `index`."""
        while self._confirmed and self._confirmed[0][0] <= index:
            for reader in heapq.heappop(self._confirmed)[2]:
                if not reader.go.done():
                    reader.go.set_result(None)

    def give_up(self, now: float, why: str) -> None:
        groups = [self._joining, *(readers for _, _, readers in self._confirmed)]
        if self._question is not None:
            groups.append(self._question.readers)
        for readers in groups:
            for reader in readers:
                if now >= reader.give_up:
                    self._end(reader, why)
            readers[:] = [reader for reader in readers if not reader.go.done()]

    def fail(self, why: str) -> None:
        self.give_up(float("inf"), why)

    @staticmethod
    def _end(reader: _Reader, why: str) -> None:
        if not reader.go.done():
            reader.go.set_exception(StoreUnavailable(why))
