"""The state machine: an ordered map that remembers its recent past.

It is pure and deterministic: no clock, no file, no randomness, so that every member that applies the same commands in
the same order holds the same state and gives the same results. The log decides the order, this module the outcome.

Current versions live in one ordered map. A version that is overwritten or deleted moves to its key's past, a short
list in revision order; the history of changes says which versions compaction may forget, so compacting costs what it
forgets and nothing else. A pin holds the past of one revision while a snapshot reads it page by page, although
compaction has already declared it gone for everybody else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sortedcontainers import SortedDict, SortedSet

from orchestrator.store.errors import Compacted, FutureRevision
from orchestrator.store.history import History
from orchestrator.store.interface import Compare, Delete, Event, KeyValue, Put, RangeResult, TxnResult
from orchestrator.store.leases import Leases

EMPTY_REVISION = 1
"""The revision of a store nothing was ever written to."""

PAST_LAST_KEY = "\U0010ffff"
"""Above any character that follows a prefix, so that `prefix + PAST_LAST_KEY` ends the prefix's range."""


class Outcome(NamedTuple):
    """A txn's result, and the events it caused, in the order of its operations."""

    result: TxnResult
    events: Sequence[Event]


class State:
    """The map, its past, and the two revisions between which it can be read."""

    def __init__(
        self,
        *,
        revision: int = EMPTY_REVISION,
        compacted: int = 0,
        items: Iterable[KeyValue] = (),
        leases: Leases | None = None,
    ) -> None:
        self.revision = revision
        self.compacted = compacted
        """Reads below this revision are refused."""
        self.history = History()
        """The changes since `compacted`, or since the oldest pin."""
        self.leases = Leases() if leases is None else leases
        self._live = SortedDict((item.key, item) for item in items)
        self._past: dict[str, list[KeyValue]] = {}
        self._gone = SortedSet()
        """The keys that only have a past."""
        self._pins: list[int] = []
        self.size = 0
        """Bytes of the current keys and values."""
        self.past_size = 0
        """Bytes of the past versions."""
        for item in self._live.values():
            self.size += _size(item)
            if item.lease:
                self.leases.attach(item.lease, item.key)

    def __len__(self) -> int:
        return len(self._live)

    # Reading.

    def get(self, key: str, revision: int = 0) -> KeyValue | None:
        """The key's version at `revision`; 0: now."""
        self._check(revision)
        return self._at(key, revision or self.revision)

    def range(self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        """The keys under `prefix` from behind `start_after`, at most `limit` (0: all), as of `revision` (0: now)."""
        self._check(revision)
        at = revision or self.revision
        if at == self.revision:
            return self._range_now(prefix, start_after, limit)
        first = max(prefix, start_after) if start_after else prefix
        versions = (self._at(key, at) for key in self._keys_ever(first, prefix + PAST_LAST_KEY))
        found = (item for item in versions if item is not None and item.key != start_after)
        page = list(islice(found, limit)) if limit else list(found)
        more = bool(limit) and next(found, None) is not None
        return RangeResult(page, at, more, self._count_then(prefix, at))

    def _count_then(self, prefix: str, revision: int) -> int:
        """How many keys there were: as many as now, but for those made and deleted since."""
        count = self._live.bisect_right(prefix + PAST_LAST_KEY) - self._live.bisect_left(prefix)
        for event in self.history.newest(revision):
            if event.previous is None:
                count -= event.key.startswith(prefix)
            elif event.value is None:
                count += event.key.startswith(prefix)
        return int(count)

    def _range_now(self, prefix: str, start_after: str, limit: int) -> RangeResult:
        begin = self._live.bisect_left(prefix)
        end = self._live.bisect_right(prefix + PAST_LAST_KEY)
        first = max(begin, self._live.bisect_right(start_after)) if start_after else begin
        first = min(first, end)
        last = min(end, first + limit) if limit else end
        live = self._live
        items = [live[key] for key in live.islice(first, last)]
        return RangeResult(items, self.revision, last < end, end - begin)

    def page(self, start_after: str, limit: int, revision: int) -> Sequence[KeyValue]:
        """The next keys of a pinned revision, at most `limit`; empty: there are no more."""
        found = (self._at(key, revision) for key in self._keys_ever(start_after) if key != start_after)
        return list(islice((item for item in found if item is not None), limit))

    def _check(self, revision: int) -> None:
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        if revision and revision < self.compacted:
            raise Compacted(self.compacted)

    def _at(self, key: str, revision: int) -> KeyValue | None:
        live: KeyValue | None = self._live.get(key)
        if live is not None and live.mod_revision <= revision:
            return live
        past = self._past.get(key, ())
        index = bisect_right(past, revision, key=_mod_revision)
        version = past[index - 1] if index else None
        return version if version is not None and version.create_revision else None

    def _keys_ever(self, first: str, last: str | None = None) -> Iterator[str]:
        """The keys from `first` to `last` that live or have a past, in order, lazily."""
        live = iter(self._live.irange(first, last))
        gone = iter(self._gone.irange(first, last))
        next_live, next_gone = next(live, None), next(gone, None)
        while next_gone is not None:
            if next_live is not None and next_live < next_gone:
                yield next_live
                next_live = next(live, None)
            else:
                yield next_gone
                next_gone = next(gone, None)
        if next_live is not None:
            yield next_live
            yield from live

    # Writing.

    def apply(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> Outcome:
        """Do the txn at the next revision. One that changes nothing takes no revision, so that revisions stay dense.

        Raises UnknownLease, having changed nothing.
        """
        conflicts = self._conflicts(compares)
        if conflicts is not None:
            return Outcome(TxnResult(False, self.revision, conflicts), ())
        for operation in operations:
            if isinstance(operation, Put) and operation.lease:
                self.leases.get(operation.lease)
        events: list[Event] = []
        revision = self.revision + 1
        for operation in operations:
            if isinstance(operation, Put):
                events.append(self._put(operation, revision))
            elif operation.key in self._live:
                events.append(self._delete(operation.key, revision))
        if events:
            self.revision = revision
        return Outcome(TxnResult(True, self.revision, ()), events)

    def end_leases(self, *ids: int) -> Sequence[Event]:
        """End these leases, and delete their keys at one revision. Raises UnknownLease."""
        keys = [key for id in ids for key in sorted(self.leases.end(id).keys)]
        if keys:
            self.revision += 1
        return [self._delete(key, self.revision) for key in keys]

    def _conflicts(self, compares: Sequence[Compare]) -> tuple[KeyValue | None, ...] | None:
        """What is there instead, for each compare that fails; None: they all hold."""
        failed: list[KeyValue | None] = []
        for compare in compares:
            there: KeyValue | None = self._live.get(compare.key)
            if (there.mod_revision if there else 0) != compare.mod_revision:
                failed.append(there)
        return tuple(failed) if failed else None

    def _put(self, put: Put, revision: int) -> Event:
        key, value, lease = put.key, put.value, put.lease
        before: KeyValue | None = self._live.get(key)
        now = KeyValue(key, value, before.create_revision if before else revision, revision, lease)
        self._live[key] = now
        self.size += _size(now)
        if before is not None:
            self._bury(before)
        elif key in self._past:
            self._gone.remove(key)
        if lease:
            self.leases.attach(lease, key)
        event = Event(key, value, revision, before)
        self.history.add(event)
        return event

    def _delete(self, key: str, revision: int) -> Event:
        before: KeyValue = self._live.pop(key)
        self._bury(before)
        # The absence is a version too: without it a read after the deletion would find the version before.
        self._past[key].append(KeyValue(key, b"", 0, revision))
        self._gone.add(key)
        event = Event(key, None, revision, before)
        self.history.add(event)
        return event

    def _bury(self, version: KeyValue) -> None:
        size = _size(version)
        self.size -= size
        self.past_size += size
        past = self._past.get(version.key)
        if past is None:
            self._past[version.key] = past = []
        past.append(version)
        if version.lease:
            self.leases.detach(version.lease, version.key)

    # Forgetting.

    def compact(self, revision: int) -> None:
        """Forget the versions that no read at `revision` or later can see. Beyond the present it means the present."""
        self.compacted = max(self.compacted, min(revision, self.revision))
        self._forget()

    def pin(self) -> int:
        """Keep the present readable by `page` until `unpin`, whatever is compacted."""
        self._pins.append(self.revision)
        return self.revision

    @property
    def pinned(self) -> bool:
        return bool(self._pins)

    def unpin(self, revision: int) -> None:
        self._pins.remove(revision)
        self._forget()

    def revision_leaving(self, *, size: int, events: int) -> int:
        """The revision to compact to so that the past keeps at most `size` bytes and so many `events`."""
        excess, many = self.past_size - size, len(self.history) - events
        for event in self.history.oldest():
            if excess <= 0 and many <= 0:
                return event.revision - 1
            many -= 1
            if event.previous is not None:
                excess -= _size(event.previous)
        return self.revision

    def _forget(self) -> None:
        forgotten: dict[str, int] = {}
        for event in self.history.forget(min([self.compacted, *self._pins])):
            if event.previous is not None:
                self.past_size -= _size(event.previous)
                # A deletion has left two versions: what was there, and its absence.
                forgotten[event.key] = forgotten.get(event.key, 0) + (1 if event.value is not None else 2)
        for key, count in forgotten.items():
            past = self._past[key]
            del past[:count]
            if not past:
                del self._past[key]
                self._gone.discard(key)


def _size(item: KeyValue) -> int:
    return len(item.key) + len(item.value)


def _mod_revision(version: KeyValue) -> int:
    return version.mod_revision
