"""PySyncObj made fit to be turned by `raft`: its pickles, its clock, its journal, its sockets and its majorities go.

What is used of it is the core of the protocol: the member's state, its term and vote kept in the journal, the election,
the rule that only an entry of the leader's own term is committed by counting, and the order in which entries are
applied. Which majority counts is not its business: it is told the outcome (`turn`), as if every voter had the same.

Importing this changes the imported PySyncObj once, for the whole process.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.journal import Journal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.journal import DurableJournal
from orchestrator.store.log import Log

_NEVER: Final = 1 << 62
_FOLLOWER: Final = 0
_NOBODY: Final[Node | None] = None


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


class _Outlet(Transport):  # type: ignore[misc]  # PySyncObj has no types
    """What PySyncObj itself wants to send: only its votes; everything else is said by `raft`."""

    def __init__(
        self,
        engine: SyncObj,
        own: Node,
        others: Sequence[Node],
        *,
        ask: Callable[[str], None],
        vote: Callable[[str], None],
    ) -> None:
        super().__init__(engine, own, others)
        self._ask, self._vote = ask, vote

    def send(self, node: Node, message: Mapping[str, object]) -> bool:
        if message["type"] == "request_vote":
            self._ask(node.id)
        elif message["type"] == "response_vote":
            self._vote(node.id)
        return True

    def destroy(self) -> None:
        """The wire belongs to the store."""


class Engine(SyncObj):  # type: ignore[misc]  # PySyncObj has no types
    """PySyncObj's core. `apply` is called with each committed entry, once and in log order.

    `ask` and `vote` are called with the name of a member when a vote is to be asked of it in earnest, or given to it.
    """

    def __init__(
        self,
        member: str,
        log: Log,
        applied: int,
        *,
        election: float,
        apply: Callable[[bytes], None],
        ask: Callable[[str], None],
        vote: Callable[[str], None],
    ) -> None:
        self._apply_entry = apply
        super().__init__(
            Member(member),
            (),
            conf=_configuration(DurableJournal(log), election),
            transportClass=partial(_Outlet, ask=ask, vote=vote),
        )
        # A snapshot has brought the state up to here; PySyncObj would learn that from a pickle.
        self._SyncObj__raftLastApplied = max(1, applied)

    @property
    def leads(self) -> bool:
        return bool(self._isLeader())

    @property
    def leader(self) -> str | None:
        node = self._getLeader()
        return None if node is None else node.id

    @property
    def term(self) -> int:
        term: int = self.raftCurrentTerm
        return term

    @property
    def commit(self) -> int:
        index: int = self.raftCommitIndex
        return index

    @property
    def applied(self) -> int:
        index: int = self.raftLastApplied
        return index

    @property
    def first_of_term(self) -> int:
        """The entry with which this member began to lead."""
        index: int = self._SyncObj__noopIDx
        return index

    def set_voters(self, others: Iterable[str]) -> None:
        """Those of the others that have a vote. PySyncObj counts this member, too."""
        nodes = {Member(name) for name in others}
        now = engine_clock.time
        self._SyncObj__otherNodes = nodes
        # PySyncObj wants somebody connected before it stands; what is connected is the wire's business.
        self._SyncObj__connectedNodes = set(nodes)
        self._SyncObj__raftMatchIndex = dict.fromkeys(nodes, 0)
        self._SyncObj__raftNextIndex = dict.fromkeys(nodes, 0)
        self._SyncObj__lastResponseTime = dict.fromkeys(nodes, now)

    def turn(self, agreed: int, heard: float) -> None:
        """Stand, commit, apply, append. A leader's majority has the log up to `agreed`, and was last heard at `heard`.

        Only to be called while the log is flushed.
        """
        for node in self._SyncObj__otherNodes:
            self._SyncObj__raftMatchIndex[node] = agreed
            self._SyncObj__lastResponseTime[node] = heard
        self.doTick(0)

    def append(self, entry: bytes) -> None:
        """With the next turn, if this member leads then."""
        self._applyCommand(entry, None)

    def stand(self) -> None:
        """Be a candidate with the next turn."""
        self._SyncObj__raftElectionDeadline = float("-inf")

    def take_term(self, term: int) -> None:
        """A later term has begun; this member has not voted in it."""
        self._SyncObj__setCurrentTerm(term, None)
        self.step_down()

    def step_down(self) -> None:
        self._SyncObj__setState(_FOLLOWER)
        self._SyncObj__raftLeader = _NOBODY

    def forget_leader(self) -> None:
        self._SyncObj__raftLeader = _NOBODY

    def follow(self, leader: str) -> None:
        self._SyncObj__setState(_FOLLOWER)
        self._SyncObj__raftLeader = Member(leader)
        self._SyncObj__raftElectionDeadline = float("inf")

    def commit_up_to(self, index: int) -> None:
        self._SyncObj__raftCommitIndex = index

    def install(self, index: int) -> None:
        """The state is now the one after this entry."""
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = index

    def asked_for_vote(self, member: str, term: int, last_index: int, last_term: int) -> None:
        """Whether to vote is PySyncObj's decision; the vote is on the disk before it is given."""
        self._hears(
            member,
            {"type": "request_vote", "term": term, "last_log_index": last_index, "last_log_term": last_term},
        )

    def got_vote(self, member: str, term: int) -> None:
        """To be called once for each voter."""
        self._hears(member, {"type": "response_vote", "term": term})

    def _hears(self, member: str, message: Mapping[str, object]) -> None:
        self._SyncObj__onMessageReceived(Member(member), message)

    # In place of PySyncObj's private methods.

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802
        """PySyncObj never stands for election by itself, only when told to `stand`."""
        return float("inf")

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """Everything is sent by `raft`."""

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:  # noqa: N802
        self._apply_entry(command)

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> None:  # noqa: N802
        """PySyncObj's own changes of the membership would be pickles."""


def _configuration(journal: DurableJournal, election: float) -> SyncObjConf:
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
