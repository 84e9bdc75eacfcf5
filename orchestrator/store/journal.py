"""The replication engine's journal: PySyncObj's interface over our durable log.

The engine assumes that what it adds is safe at once. It is not: it is on the disk after the next flush. What keeps
that harmless is the driver's rule that the engine ticks, and so commits, only while nothing waits for the disk. Two
things cannot wait for the next flush and are flushed here: a term or vote, which must be durable before anyone hears
of it, and the first entry of a new term, which a lone leader commits within the tick that made it.

Both are written also where the disk is full: what else was to be written with them is given up (`Log.give_up`), which
is the driver's business once this call is over.
"""

from __future__ import annotations

import contextlib
from typing import overload

from pysyncobj.journal import Journal

from orchestrator.store.errors import DiskFull
from orchestrator.store.log import Log, LogEntry


class DurableJournal(Journal):  # type: ignore[misc]  # PySyncObj has no types
    """What PySyncObj calls; indexes into `__getitem__` and the deletions are positions, not log indexes."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def add(self, command: bytes, idx: int, term: int) -> None:
        new_term = not self._log.entries or self._log.entries[-1][2] != term
        self._log.append(command, idx, term)
        if new_term:
            self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(DiskFull):
            self._log.flush()

    def clear(self) -> None:
        if self._log.entries:
            self._log.truncate(self._log.entries[0][1])

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803 - PySyncObj's names
        if entryFrom < len(self._log.entries):
            self._log.truncate(self._log.entries[entryFrom][1])

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803
        if entryTo < len(self._log.entries):
            self._log.forget_entries(self._log.entries[entryTo][1])

    @overload
    def __getitem__(self, item: int) -> LogEntry: ...
    @overload
    def __getitem__(self, item: slice) -> list[LogEntry]: ...
    def __getitem__(self, item: int | slice) -> LogEntry | list[LogEntry]:
        return self._log.entries[item]

    def __len__(self) -> int:
        return len(self._log.entries)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        # Written along with the next entry: a commit index that is too low costs nothing, one without its entry would.
        self._log.commit = raftCommitIndex

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        return max(1, self._log.commit)

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        self._log.vote(term, votedForNodeId)
        self._flush()

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self._log.term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        return self._log.voted_for

    def _destroy(self) -> None:
        """The log belongs to the store, which closes it."""
