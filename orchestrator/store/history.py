"""The recent changes, in order: what a reader of the past and a watcher that begins in the past share.

An event's position is the number of events before it, ever, so that a position stays right when old events are
forgotten. The events are kept once, whoever reads them: the state finds in them which versions are to be forgotten and
how many keys there were, the watch hub what a watcher has missed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

from orchestrator.store.interface import Event


class History:
    def __init__(self) -> None:
        self._events: list[Event] = []
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def begin(self) -> int:
        """The position of the oldest event."""
        return self._forgotten

    @property
    def end(self) -> int:
        """The position of the next event."""
        return self._forgotten + len(self._events)

    def add(self, event: Event) -> None:
        self._events.append(event)

    def after(self, revision: int) -> int:
        """The position of the first event above `revision`."""
        return self._forgotten + bisect_right(self._events, revision, key=_revision)

    def between(self, begin: int, end: int) -> Sequence[Event]:
        """The events from one position up to before another."""
        return self._events[max(begin - self._forgotten, 0) : end - self._forgotten]

    def revision_at(self, position: int) -> int:
        return self._events[position - self._forgotten].revision

    def oldest(self) -> Iterator[Event]:
        return iter(self._events)

    def newest(self, revision: int) -> Iterator[Event]:
        """The events above `revision`, the last first."""
        return islice(reversed(self._events), self.end - self.after(revision))

    def forget(self, revision: int) -> Sequence[Event]:
        """Take out the events up to `revision`."""
        count = self.after(revision) - self._forgotten
        forgotten = self._events[:count]
        del self._events[:count]
        self._forgotten += count
        return forgotten


def _revision(event: Event) -> int:
    return event.revision
