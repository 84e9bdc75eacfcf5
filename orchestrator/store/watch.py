"""The watch hub: who gets which event.

Watchers are indexed by their prefix, and the prefixes by their length: an event looks up its key's beginning once for
each length in use, so it costs the watchers that want it and nothing for the others. An event is one shared instance.

The recent events are kept, back to `floor`, so that a watcher can begin in the past; how far back is the business of
compaction. A watcher holds at most a bounded backlog: one that does not read is cut with WatcherTooSlow, which names
the revision to resume after. Publishing never waits for anyone.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from orchestrator.store.errors import Compacted, FutureRevision, StoreError, WatcherTooSlow
from orchestrator.store.interface import Event


class Hub:
    """Recent events and the watchers that wait for the next ones. `floor` is the oldest revision to watch after."""

    def __init__(self, *, revision: int, floor: int, backlog: int) -> None:
        self.revision = revision
        self.floor = floor
        self._backlog = backlog
        self._history: list[Event] = []
        self._watchers: dict[int, dict[str, set[HubWatch]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def publish(self, revision: int, events: Sequence[Event]) -> None:
        """Hand out all events of one revision; they become visible to every watcher together."""
        self.revision = revision
        self._history.extend(events)
        slow: set[HubWatch] = set()
        for event in events:
            for length, by_prefix in self._watchers.items():
                for watcher in by_prefix.get(event.key[:length], ()):
                    if not watcher.offer(event):
                        slow.add(watcher)
        # Only now: cutting changes the index.
        for watcher in slow:
            watcher.cut(WatcherTooSlow(watcher.progress, self._backlog))

    def trim(self, floor: int) -> None:
        """Forget the events up to `floor`: nobody can begin to watch there any more."""
        if floor > self.floor:
            self.floor = floor
            del self._history[: bisect_right(self._history, floor, key=_revision)]

    def watch(self, prefix: str, after: int) -> HubWatch:
        """A watcher whose backlog holds what the history has for it. Raises Compacted, FutureRevision."""
        if after > self.revision:
            raise FutureRevision(after, self.revision)
        if after < self.floor:
            raise Compacted(self.floor)
        first = bisect_right(self._history, after, key=_revision)
        missed = [event for event in self._history[first:] if event.key.startswith(prefix)]
        watcher = HubWatch(self, prefix, missed, self._backlog)
        self._watchers.setdefault(len(prefix), {}).setdefault(prefix, set()).add(watcher)
        self._count += 1
        return watcher

    def forget(self, watcher: HubWatch) -> None:
        """Take the watcher out of the index; forgetting it again is fine."""
        by_prefix = self._watchers.get(len(watcher.prefix), {})
        same_prefix = by_prefix.get(watcher.prefix, set())
        if watcher not in same_prefix:
            return
        same_prefix.remove(watcher)
        self._count -= 1
        if not same_prefix:
            del by_prefix[watcher.prefix]
            if not by_prefix:
                del self._watchers[len(watcher.prefix)]

    def reset(self, revision: int) -> None:
        """Begin anew at a later revision: the events up to it are not known here, so every watcher has to list."""
        self.fail(Compacted(revision))
        self.revision = self.floor = revision
        self._history.clear()

    def fail(self, error: StoreError) -> None:
        """End all watches with `error`."""
        for by_prefix in tuple(self._watchers.values()):
            for watchers in tuple(by_prefix.values()):
                for watcher in tuple(watchers):
                    watcher.cut(error)


class HubWatch:
    """One reader's place in the stream of events."""

    def __init__(self, hub: Hub, prefix: str, missed: list[Event], backlog: int) -> None:
        self.prefix = prefix
        self._hub = hub
        self._pending = missed
        self._backlog = backlog
        # What history held comes on top, or a watcher that begins far back would be cut before it could read.
        self._room = backlog + len(missed)
        self._waiter: asyncio.Future[None] | None = None
        self._error: StoreError | None = None
        self._closed = False
        self._delivered = hub.revision

    @property
    def progress(self) -> int:
        if self._closed or self._error is not None:
            return self._delivered
        return self._pending[0].revision - 1 if self._pending else self._hub.revision

    def __aiter__(self) -> HubWatch:
        return self

    async def __anext__(self) -> Sequence[Event]:
        while not self._pending:
            if self._closed:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        batch, self._pending = self._pending, []
        self._room = self._backlog
        self._delivered = batch[-1].revision
        return batch

    def offer(self, event: Event) -> bool:
        """Add an event; False: the backlog is full, and the watcher is to be cut."""
        if len(self._pending) >= self._room:
            return False
        self._pending.append(event)
        self._wake()
        return True

    def cut(self, error: StoreError) -> None:
        """End the watch with `error`. The undelivered part is dropped: the reader resumes and gets it again."""
        self._delivered = self.progress
        self._error = error
        self._pending = []
        self._hub.forget(self)
        self._wake()

    def close(self) -> None:
        if not self._closed:
            self._delivered = self.progress
            self._closed = True
            self._pending = []
            self._hub.forget(self)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _revision(event: Event) -> int:
    return event.revision
