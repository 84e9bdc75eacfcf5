"""The replication engine: PySyncObj's Raft, without its files, its threads, its tick and its pickles.

What is used of it is the protocol: terms, votes, the leader, the commit index, and the order in which entries are
applied. It is turned by hand: `tick` looks once at proposals, deadlines and the commit index, and returns. The journal
is ours (see `journal`), and so is the encoding of commands: PySyncObj would unpickle what it finds in an entry, which
runs whatever code whoever wrote it likes, so its pickle module is taken away and the two methods that read entries are
replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import pysyncobj.syncobj
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.journal import Journal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.interface import TxnResult
from orchestrator.store.journal import DurableJournal
from orchestrator.store.log import Base, Log

REGULAR: Final = b"\x00"
"""The first byte of an entry that carries a command of ours."""
_NO_OP_KIND: Final = b"\x01"
_NEVER: Final = 1 << 62

Results = Sequence[TxnResult | None]
"""The outcomes of one entry's commands, in order; None for a compaction."""


class _NoPickle:
    """Stands where PySyncObj looks for `pickle`."""

    @staticmethod
    def loads(data: bytes) -> object:
        raise StoreCorrupt(f"a pickle of {len(data)} bytes was refused: nothing here reads pickles")

    @staticmethod
    def dumps(obj: object) -> bytes:
        raise StoreCorrupt(f"a {type(obj).__name__} was not pickled: nothing here writes pickles")


def _journal(configured: object) -> Journal:
    """In place of PySyncObj's `createJournal`: the configuration names no file but holds the journal itself."""
    if not isinstance(configured, DurableJournal):
        raise TypeError("the engine runs on a DurableJournal only")
    return configured


pysyncobj.syncobj.pickle = _NoPickle
pysyncobj.syncobj.createJournal = _journal


class LoneTransport(Transport):  # type: ignore[misc]  # PySyncObj has no types
    """The wire of a cluster of one: nobody to hear from, nobody to talk to."""

    def addNode(self, node: Node) -> None:  # noqa: N802 - PySyncObj's name
        """Membership does not change while there is nobody to ask."""

    def dropNode(self, node: Node) -> None:  # noqa: N802
        """See addNode."""

    def send(self, node: Node, message: object) -> bool:
        return False

    def destroy(self) -> None:
        """There is nothing open."""


class Raft(SyncObj):  # type: ignore[misc]  # PySyncObj has no types
    """One member. `apply` is called with each committed command, once and in log order, and returns its results."""

    def __init__(self, member: str, log: Log, base: Base, apply: Callable[[bytes], Results]) -> None:
        self._log = log
        self._apply = apply
        super().__init__(Node(member), [], conf=_configuration(DurableJournal(log)), transportClass=LoneTransport)
        # A snapshot has brought the state up to here; PySyncObj would learn that from a pickle.
        self._SyncObj__raftLastApplied = max(1, base.index)

    def propose(self, command: bytes, done: Callable[[Results | None, int], None]) -> None:
        """Queue a command for the next tick. `done` gets the results, or None and the reason why there are none."""
        self._applyCommand(REGULAR + command, done)

    def tick(self) -> None:
        """Commit and apply what can be, then append what was proposed. Only to be called while the log is flushed."""
        self.doTick(0)

    def settled(self) -> bool:
        """Whether this member leads and has applied everything that is in its log."""
        return bool(self._isLeader()) and self.raftLastApplied == self._log.next_index - 1

    def applied(self) -> Base:
        """The last applied entry."""
        index: int = self.raftLastApplied
        return Base(index, self._log.term_of(index))

    def _SyncObj__doApplyCommand(self, command: bytes) -> Results:  # noqa: N802 - replaces PySyncObj's private method
        kind = command[:1]
        if kind == REGULAR:
            return self._apply(command[1:])
        if kind == _NO_OP_KIND:
            return ()
        raise StoreCorrupt(f"the log holds an entry of the unknown kind {kind.hex() or 'none'}")

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> None:  # noqa: N802 - replaces it too
        """No entry changes the membership: such entries would be pickles."""


def _configuration(journal: DurableJournal) -> SyncObjConf:
    return SyncObjConf(
        autoTick=False,
        journalFile=journal,
        commandsQueueSize=0,
        # A member that is alone elects itself; there is nobody to wait for.
        appendEntriesPeriod=0.001,
        raftMinTimeout=0.0031,
        raftMaxTimeout=0.004,
        # Snapshots are the store's business: PySyncObj's compaction pickles and forks.
        logCompactionMinEntries=_NEVER,
        logCompactionMinTime=_NEVER,
        useFork=False,
    )


def failure_text(reason: int) -> str:
    """PySyncObj's FAIL_REASON in words."""
    return {
        FAIL_REASON.QUEUE_FULL: "too many commands wait",
        FAIL_REASON.MISSING_LEADER: "there is no leader now",
        FAIL_REASON.DISCARDED: "another leader's entry took its place",
        FAIL_REASON.NOT_LEADER: "this member does not lead any more",
        FAIL_REASON.LEADER_CHANGED: "the leader changed",
        FAIL_REASON.REQUEST_DENIED: "the leader refused it",
    }.get(reason, "its outcome is unknown")
