"""The watch hub: who gets which event.

Watchers of one prefix share a channel. An event is put into a channel once, however many read it, and each reader has
a place in it; readers that are equally far get the same batch, so what is made of it above can be shared too. The
channels are indexed by their prefix, and the prefixes by their length: an event looks up its key's beginning once for
each length in use, so it costs the channels that want it and nothing for the others.

A watcher that begins in the past first reads the state's history from its place there, then its channel, without a gap.
How far back the history goes is the business of compaction. A channel holds what its slowest reader has not read, up to
a bounded backlog of events and bytes; who is further behind is cut with WatcherTooSlow, which names the revision to
resume after. Publishing never waits for anyone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.store.errors import Compacted, FutureRevision, StoreError, WatcherTooSlow
from orchestrator.store.history import History
from orchestrator.store.interface import Batch, Event

_AT_ONCE = 1000
"""Events of the history a reader of the past looks at for one batch."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far a watcher may be behind; it may be exceeded by a quarter before the watcher is cut."""

    events: int = 10_000
    size: int = 64 << 20
    """Bytes of the values it has not read."""
    all_size: int = 256 << 20
    """Bytes of what all channels hold together, counting what several hold several times."""


class Hub:
    """The watchers that wait for the next events. `floor` is the oldest revision to watch after."""

    def __init__(self, history: History, *, revision: int, floor: int, backlog: Backlog) -> None:
        self.history = history
        self.revision = revision
        self.floor = floor
        self.backlog = backlog
        self.held = 0
        """Bytes of what the channels hold."""
        self.crowded = False
        """Whether it is time to look for those who are too far behind."""
        self._channels: dict[int, dict[str, Channel]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def publish(self, revision: int, events: Sequence[Event]) -> None:
        """Hand out all events of one revision; they are in the history already."""
        self.revision = revision
        for event in events:
            for length, by_prefix in self._channels.items():
                channel = by_prefix.get(event.key[:length])
                if channel is not None:
                    channel.add(event)
        if self.crowded or self.held > self.backlog.all_size:
            self._tidy()

    def trim(self, floor: int) -> None:
        """Nobody can begin to watch before `floor` any more."""
        self.floor = max(self.floor, floor)

    def watch(self, prefix: str, after: int) -> HubWatch:
        """A watcher of what comes after `after`, from the history on. Raises Compacted, FutureRevision."""
        if after > self.revision:
            raise FutureRevision(after, self.revision)
        if after < self.floor:
            raise Compacted(self.floor)
        by_prefix = self._channels.setdefault(len(prefix), {})
        channel = by_prefix.get(prefix)
        if channel is None:
            channel = by_prefix[prefix] = Channel(self, prefix)
        watcher = HubWatch(self, channel, after)
        channel.watchers.add(watcher)
        self._count += 1
        return watcher

    def forget(self, watcher: HubWatch) -> None:
        """Take the watcher out of its channel; forgetting it again is fine."""
        channel = watcher.channel
        if watcher not in channel.watchers:
            return
        channel.watchers.remove(watcher)
        self._count -= 1
        if not channel.watchers:
            channel.drop(channel.end)
            by_prefix = self._channels[len(channel.prefix)]
            del by_prefix[channel.prefix]
            if not by_prefix:
                del self._channels[len(channel.prefix)]

    def reset(self, history: History, revision: int) -> None:
        """Begin anew at a later revision: the events up to it are not known here, so every watcher has to list."""
        self.fail(Compacted(revision))
        self.history = history
        self.revision = self.floor = revision

    def fail(self, error: StoreError) -> None:
        """End all watches with `error`."""
        for channel in tuple(self._all()):
            for watcher in tuple(channel.watchers):
                watcher.cut(error)

    def _all(self) -> Iterator[Channel]:
        for by_prefix in self._channels.values():
            yield from by_prefix.values()

    def _tidy(self) -> None:
        """Let go of what everybody has read, and of those who hold too much."""
        self.crowded = False
        for channel in tuple(self._all()):
            channel.tidy()
        while self.held > self.backlog.all_size:
            max(self._all(), key=lambda channel: channel.size).cut_slowest()


class Channel:
    """The events of one prefix that somebody may still have to read, by position: the number of those before, ever."""

    def __init__(self, hub: Hub, prefix: str) -> None:
        self.prefix = prefix
        self.watchers: set[HubWatch] = set()
        self.waiting: list[asyncio.Future[None]] = []
        self.events: list[Event] = []
        self.begin = 0
        self.size = 0
        self._hub = hub
        self._crowded_at = hub.backlog.events + 1
        self._crowded_size = hub.backlog.size + 1
        self._shared: tuple[int, int, Batch] | None = None

    @property
    def end(self) -> int:
        return self.begin + len(self.events)

    def add(self, event: Event) -> None:
        self.events.append(event)
        size = len(event.value or b"")
        self.size += size
        self._hub.held += size
        if len(self.events) >= self._crowded_at or self.size >= self._crowded_size:
            self._hub.crowded = True
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)

    def read(self, position: int) -> Batch:
        """Everything from a position on."""
        end = self.end
        shared = self._shared
        if shared is None or shared[0] != position or shared[1] != end:
            batch = Batch(self.events[position - self.begin :])
            self._shared = shared = (position, end, batch)
        return shared[2]

    def wait(self) -> asyncio.Future[None]:
        """Done when there may be more. When everybody waits, everything has been read."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        if len(self.waiting) >= len(self.watchers) and self.events:
            self.drop(self._lowest())
        return waiter

    def drop(self, position: int) -> None:
        """Let go of what is before a position."""
        count = position - self.begin
        size = self.size if count == len(self.events) else sum(len(event.value or b"") for event in self.events[:count])
        del self.events[:count]
        self.begin = position
        self.size -= size
        self._hub.held -= size
        if not self.events:
            self._shared = None

    def tidy(self) -> None:
        backlog = self._hub.backlog
        bearable, size = self.end, 0
        for event in reversed(self.events[-backlog.events :]):
            size += len(event.value or b"")
            if size > backlog.size:
                break
            bearable -= 1
        self._cut_before(bearable)
        self._crowded_at = max(len(self.events) + max(1, backlog.events // 4), backlog.events + 1)
        self._crowded_size = max(self.size + backlog.size // 4, backlog.size + 1)

    def cut_slowest(self) -> None:
        self._cut_before(self._lowest() + 1)

    def _cut_before(self, position: int) -> None:
        """Cut those who have not read up to there, then let go of what the others have read."""
        for watcher in [watcher for watcher in self.watchers if watcher.position < position]:
            watcher.cut(WatcherTooSlow(watcher.progress, self._hub.backlog.events))
        if self.watchers:
            self.drop(self._lowest())

    def _lowest(self) -> int:
        return min((watcher.position for watcher in self.watchers), default=self.end)


class HubWatch:
    """One reader's place in the stream of events."""

    def __init__(self, hub: Hub, channel: Channel, after: int) -> None:
        self.channel = channel
        self.position = channel.end
        """In the channel: what was published before this watcher began is read from the history."""
        self._hub = hub
        self._past = hub.history.after(after)
        self._past_end = hub.history.end
        self._delivered = after
        self._error: StoreError | None = None
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self._skip()

    @property
    def progress(self) -> int:
        if self._closed or self._error is not None or self._missed:
            return self._delivered
        if self._past < self._past_end:
            return self._hub.history.revision_at(self._past) - 1
        channel = self.channel
        if self.position < channel.end:
            return channel.events[self.position - channel.begin].revision - 1
        return self._hub.revision

    def __aiter__(self) -> HubWatch:
        return self

    async def __anext__(self) -> Batch:
        channel = self.channel
        while True:
            if self._closed:
                raise StopAsyncIteration
            if self._missed:
                self.cut(Compacted(self._hub.floor))
            if self._error is not None:
                raise self._error
            if self._past < self._past_end:
                batch = self._read_past()
            elif self.position < channel.end:
                batch = channel.read(self.position)
                self.position = channel.end
            else:
                self._waiter = channel.wait()
                try:
                    await self._waiter
                finally:
                    self._stop_waiting()
                continue
            self._delivered = batch[-1].revision
            return batch

    def cut(self, error: StoreError) -> None:
        """End the watch with `error`. The undelivered part is dropped: the reader resumes and gets it again."""
        self._delivered = self.progress
        self._error = error
        self._end()

    def close(self) -> None:
        if not self._closed:
            self._delivered = self.progress
            self._closed = True
            self._end()

    def _end(self) -> None:
        self._stop_waiting()
        self._hub.forget(self)

    def _stop_waiting(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            if waiter in self.channel.waiting:
                self.channel.waiting.remove(waiter)
            if not waiter.done():
                waiter.set_result(None)

    @property
    def _missed(self) -> bool:
        """Whether the history was forgotten before this reader came to read it."""
        return self._past < self._past_end and self._past < self._hub.history.begin

    def _skip(self) -> None:
        """Go to the next event of the past that is for this reader, so that `progress` is exact."""
        history, prefix = self._hub.history, self.channel.prefix
        while self._past < self._past_end:
            for event in history.between(self._past, min(self._past + _AT_ONCE, self._past_end)):
                if event.key.startswith(prefix):
                    return
                self._past += 1

    def _read_past(self) -> Batch:
        history, prefix = self._hub.history, self.channel.prefix
        end = min(self._past + _AT_ONCE, self._past_end)
        while end < self._past_end and history.revision_at(end) == history.revision_at(end - 1):
            end += 1
        batch = Batch(event for event in history.between(self._past, end) if event.key.startswith(prefix))
        self._past = end
        self._skip()
        return batch
