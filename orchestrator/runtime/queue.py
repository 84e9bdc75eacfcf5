"""The work queue: keys that somebody has to look at, each at most once in it and with at most one worker at a time.

A key that is added while it waits is the same wish; one that is added while a worker has it is handed out again when
the worker is done, since the worker may have looked before the change. So nothing that was added is forgotten, and no
two workers ever act on one object. A key that failed comes back after a delay that doubles each time and is jittered.

Delayed keys come out only while `run()` runs: that is where the waiting is done.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from orchestrator.client.backoff import delay_after
from orchestrator.clock import Clock

Key = TypeVar("Key", bound=Hashable)

FIRST_DELAY = 0.005
LONGEST_DELAY = 1000.0


class WorkQueue(Generic[Key]):
    """`add` from anywhere, `get` and `done` in workers, in pairs."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        *,
        first_delay: float = FIRST_DELAY,
        longest_delay: float = LONGEST_DELAY,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._ready: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._in_work: set[Key] = set()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._timetable: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._earlier = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait for a worker now."""
        return len(self._ready)

    @property
    def in_work(self) -> int:
        return len(self._in_work)

    @property
    def delayed(self) -> int:
        return len(self._due)

    def add(self, key: Key) -> None:
        """The key needs a look."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._in_work:
            self._offer(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """The key needs a look in so many seconds; of several such wishes the earliest holds."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        if not self._timetable or due < self._timetable[0][0]:
            self._earlier.set()
        heapq.heappush(self._timetable, (due, next(self._order), key))

    def add_backoff(self, key: Key) -> float:
        """The key failed: it comes back after a delay that grows with each failure. Returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = delay_after(failures, self._first_delay, self._longest_delay) * (1 - 0.5 * self._rng.random())
        self.add_after(key, delay)
        return delay

    def failures(self, key: Key) -> int:
        """How often in a row the key has failed."""
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        """The key succeeded: its next failure is its first."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key, which is this worker's alone until `done`."""
        while not self._ready:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    # Its turn had come: the key goes to another.
                    self._wake_one()
                raise
            finally:
                if turn in self._getters:
                    self._getters.remove(turn)
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._in_work.add(key)
        return key

    def done(self, key: Key) -> None:
        """The worker has finished with the key, well or not. If it was added meanwhile, it is ready again."""
        self._in_work.remove(key)
        if key in self._dirty:
            self._offer(key)

    async def run(self) -> None:
        """Move delayed keys to the ready ones when their time comes, until cancelled."""
        while True:
            self._earlier.clear()
            self._move_due()
            if not self._timetable:
                await self._earlier.wait()
                continue
            alarm = asyncio.ensure_future(self._clock.sleep(self._timetable[0][0] - self._clock.monotonic()))
            earlier = asyncio.ensure_future(self._earlier.wait())
            try:
                await asyncio.wait((alarm, earlier), return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
                earlier.cancel()
                await asyncio.gather(alarm, earlier, return_exceptions=True)

    def _move_due(self) -> None:
        now = self._clock.monotonic()
        while self._timetable and self._timetable[0][0] <= now:
            due, _, key = heapq.heappop(self._timetable)
            # An entry that an earlier one has replaced is left behind in the heap.
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    def _offer(self, key: Key) -> None:
        self._ready.append(key)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._getters:
            turn = self._getters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
