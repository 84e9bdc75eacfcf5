"""PySyncObj made fit to be turned by `raft`: its pickles, its clock, its journal and its sockets are taken away.

Importing this changes the imported PySyncObj once, for the whole process.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.journal import Journal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.journal import DurableJournal

_NEVER: Final = 1 << 62


class _NoPickle:
    """Stands where PySyncObj looks for `pickle`."""

    @staticmethod
    def loads(data: bytes) -> object:
        raise StoreCorrupt(f"a pickle of {len(data)} bytes was refused: nothing here reads pickles")

    @staticmethod
    def dumps(obj: object) -> bytes:
        raise StoreCorrupt(f"a {type(obj).__name__} was not pickled: nothing here writes pickles")


class _Now(threading.local):
    """The time for the engine that is at work in this thread, set when its turn begins: PySyncObj asks a function."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def _journal(configured: object) -> Journal:
    """In place of PySyncObj's `createJournal`: the configuration names no file but holds the journal itself."""
    if not isinstance(configured, DurableJournal):
        raise TypeError("the engine runs on a DurableJournal only")
    return configured


engine_clock = _Now()
pysyncobj.syncobj.pickle = _NoPickle
pysyncobj.syncobj.createJournal = _journal
pysyncobj.syncobj.monotonicTime = engine_clock


class Member(Node):  # type: ignore[misc]  # PySyncObj has no types
    """A node whose hash is the same in every process, so that a simulation goes the same way every time."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class Outlet(Transport):  # type: ignore[misc]  # PySyncObj has no types
    """What PySyncObj itself wants to send: only its votes; everything else is said by `raft`."""

    def __init__(
        self, engine: SyncObj, own: Node, others: Sequence[Node], *, say: Callable[[str, Mapping[str, object]], None]
    ) -> None:
        super().__init__(engine, own, others)
        self._say = say

    def send(self, node: Node, message: Mapping[str, object]) -> bool:
        self._say(node.id, message)
        return True

    def destroy(self) -> None:
        """The wire belongs to the store."""


def configuration(journal: DurableJournal, election: float) -> SyncObjConf:
    return SyncObjConf(
        autoTick=False,
        journalFile=journal,
        commandsQueueSize=0,
        appendEntriesPeriod=0.001,
        raftMinTimeout=0.0031,
        raftMaxTimeout=0.004,
        leaderFallbackTimeout=election,
        # Snapshots are the store's business: PySyncObj's compaction pickles and forks.
        logCompactionMinEntries=_NEVER,
        logCompactionMinTime=_NEVER,
        useFork=False,
    )
