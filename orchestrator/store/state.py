"""The state machine: an ordered map that remembers its recent past.

It is pure and deterministic: no clock, no file, no randomness, so that every member that applies the same commands in
the same order holds the same state and gives the same results. The log decides the order, this module the outcome.

Current versions live in one ordered map. A version that is overwritten or deleted moves to its key's past, a short
list in revision order, and is noted in a queue ordered by the revision that superseded it; compaction eats that queue
from the old end, so it costs what it forgets and nothing else. A pin holds the past of one revision while a snapshot
reads it page by page, although compaction has already declared it gone for everybody else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sortedcontainers import SortedDict, SortedSet

from orchestrator.store.errors import Compacted, FutureRevision
from orchestrator.store.interface import Compare, Delete, Event, KeyValue, Put, RangeResult, TxnResult

EMPTY_REVISION = 1
"""The revision of a store nothing was ever written to."""

PAST_LAST_KEY = "\U0010ffff"
"""Above any character that follows a prefix, so that `prefix + PAST_LAST_KEY` ends the prefix's range."""


@dataclass(frozen=True, slots=True)
class Past:
    """An old version of a key: what was there from `revision` on; None: nothing was."""

    revision: int
    version: KeyValue | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A txn's result, and the events it caused, in the order of its operations."""

    result: TxnResult
    events: Sequence[Event]


class State:
    """The map, its past, and the two revisions between which it can be read."""

    def __init__(self, *, revision: int = EMPTY_REVISION, compacted: int = 0, items: Iterable[KeyValue] = ()) -> None:
        self.revision = revision
        self.compacted = compacted
        """Reads below this revision are refused."""
        self._live = SortedDict((item.key, item) for item in items)
        self._past: dict[str, list[Past]] = {}
        self._past_keys = SortedSet()
        self._superseded: deque[tuple[int, str, int]] = deque()
        """(revision that superseded it, key, size) of every version in the past, oldest first."""
        self._pins: list[int] = []
        self.size = sum(_size(item) for item in self._live.values())
        """Bytes of the current keys and values."""
        self.past_size = 0
        """Bytes of the past versions."""

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
        everything = [item for key in self._keys_ever(prefix) if (item := self._at(key, at)) is not None]
        first = bisect_right(everything, start_after, key=lambda item: item.key) if start_after else 0
        page = everything[first : first + limit] if limit else everything[first:]
        return RangeResult(page, at, first + len(page) < len(everything), len(everything))

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
        found = (self._at(key, revision) for key in self._keys_after(start_after))
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
        index = bisect_right(past, revision, key=lambda version: version.revision)
        return past[index - 1].version if index else None

    def _keys_ever(self, prefix: str) -> list[str]:
        """The keys under the prefix that live or have a past, in order."""
        last = prefix + PAST_LAST_KEY
        now: list[str] = list(self._live.irange(prefix, last))
        gone = [key for key in self._past_keys.irange(prefix, last) if key not in self._live]
        return sorted(now + gone) if gone else now

    def _keys_after(self, start_after: str) -> Iterator[str]:
        """Like `_keys_ever` over everything, lazily: one page of it must not cost the whole map."""
        live = iter(self._live.irange(start_after, inclusive=(False, False)))
        gone = (key for key in self._past_keys.irange(start_after, inclusive=(False, False)) if key not in self._live)
        next_live, next_gone = next(live, None), next(gone, None)
        while next_live is not None or next_gone is not None:
            if next_gone is None or (next_live is not None and next_live < next_gone):
                assert next_live is not None
                yield next_live
                next_live = next(live, None)
            else:
                yield next_gone
                next_gone = next(gone, None)

    # Writing.

    def apply(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> Outcome:
        """Do the txn at the next revision. One that changes nothing takes no revision, so that revisions stay dense."""
        conflicts = self._conflicts(compares)
        if conflicts is not None:
            return Outcome(TxnResult(False, self.revision, conflicts), ())
        events: list[Event] = []
        revision = self.revision + 1
        for operation in operations:
            if isinstance(operation, Put):
                events.append(self._put(operation.key, operation.value, revision))
            elif operation.key in self._live:
                events.append(self._delete(operation.key, revision))
        if events:
            self.revision = revision
        return Outcome(TxnResult(True, self.revision, ()), events)

    def _conflicts(self, compares: Sequence[Compare]) -> tuple[KeyValue | None, ...] | None:
        """What is there instead, for each compare that fails; None: they all hold."""
        failed: list[KeyValue | None] = []
        for compare in compares:
            there: KeyValue | None = self._live.get(compare.key)
            if (there.mod_revision if there else 0) != compare.mod_revision:
                failed.append(there)
        return tuple(failed) if failed else None

    def _put(self, key: str, value: bytes, revision: int) -> Event:
        before: KeyValue | None = self._live.get(key)
        now = KeyValue(key, value, before.create_revision if before else revision, revision)
        self._live[key] = now
        self.size += _size(now)
        if before is not None:
            self._bury(before, revision)
        return Event(key, value, revision, before)

    def _delete(self, key: str, revision: int) -> Event:
        before: KeyValue = self._live.pop(key)
        self._bury(before, revision)
        # The absence is a version too: without it a read after the deletion would find the version before.
        self._past[key].append(Past(revision, None))
        self._superseded.append((revision, key, 0))
        return Event(key, None, revision, before)

    def _bury(self, version: KeyValue, revision: int) -> None:
        size = _size(version)
        self.size -= size
        self.past_size += size
        if version.key not in self._past:
            self._past[version.key] = []
            self._past_keys.add(version.key)
        self._past[version.key].append(Past(version.mod_revision, version))
        self._superseded.append((revision, version.key, size))

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

    def revision_leaving(self, size: int) -> int:
        """The revision to compact to so that the past keeps at most `size` bytes."""
        excess = self.past_size - size
        for superseded_at, _, version_size in self._superseded:
            if excess <= 0:
                return superseded_at - 1
            excess -= version_size
        return self.revision

    def _forget(self) -> None:
        limit = min([self.compacted, *self._pins])
        forgotten: dict[str, int] = {}
        while self._superseded and self._superseded[0][0] <= limit:
            _, key, size = self._superseded.popleft()
            forgotten[key] = forgotten.get(key, 0) + 1
            self.past_size -= size
        for key, count in forgotten.items():
            past = self._past[key]
            del past[:count]
            if not past:
                del self._past[key]
                self._past_keys.remove(key)


def _size(item: KeyValue) -> int:
    return len(item.key) + len(item.value)
