"""The replication engine: PySyncObj's Raft, without its files, its threads, its tick, its sockets and its pickles.

What is used of it is the core of the protocol: the member's state, terms and votes kept in the journal, the election,
the commit rule, and the order in which entries are applied. It is turned by hand: `tick` looks once at proposals,
deadlines and the commit index, and `receive` takes one message.

What is replaced is what would lose or confuse data (each has its test):

* It would unpickle what it finds in an entry or a message. Its pickle module is taken away, entries and messages are
  encoded by us.
* It would drop entries that it already has when a message is repeated: `reconcile` decides instead.
* Its acknowledgements carry no term, and promise what may not be on the disk yet: ours carry the term and the number
  of what they answer, and wait for the disk (`replication`, `_acknowledge`).
* It counts a vote that is delivered twice as two. A voter counts once.
* A member that comes back would depose a healthy leader: a candidate first asks whether it would be elected
  (pre-vote; Ongaro's thesis, section 9.6), and nobody elects another while hearing from a leader.
* A leader that was cut off would believe in itself: it steps down when no majority answers for an election's time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from pysyncobj import SyncObj
from pysyncobj.node import Node

from orchestrator.clock import Clock
from orchestrator.store.engine import Member, Outlet, configuration, engine_clock
from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.journal import DurableJournal
from orchestrator.store.log import Base, Log
from orchestrator.store.membership import Members
from orchestrator.store.reconcile import Offer, Refuse, reconcile
from orchestrator.store.replication import Peer, Replication, Supplier
from orchestrator.store.v1.raft_pb2 import (
    Appended,
    AppendEntries,
    Message,
    Proposal,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    TimeoutNow,
    Vote,
)
from orchestrator.store.wire import Wire

REGULAR: Final = b"\x00"
"""The first byte of an entry that carries a command of ours."""
_NO_OP_KIND: Final = b"\x01"
_FOLLOWER: Final = 0
_NOBODY: Final[Node | None] = None


class Raft(SyncObj):  # type: ignore[misc]  # PySyncObj has no types
    """One member. `apply` is called with each committed command, once and in log order.

    `fresh` is called with (id, index) when a `read_index` of this member has been answered.
    """

    def __init__(
        self,
        members: Members,
        log: Log,
        base: Base,
        apply: Callable[[bytes], None],
        *,
        wire: Wire,
        clock: Clock,
        chance: random.Random,
        fresh: Callable[[int, int], None],
        supplier: Supplier,
    ) -> None:
        self._log = log
        self._apply = apply
        self._wire = wire
        self._clock = clock
        self._chance = chance
        self._fresh = fresh
        self._supplier = supplier
        self._timing = members.timing
        self.member = members.name
        self.others = tuple(sorted(members.others))
        self.replication: Replication | None = None
        """While this member leads."""
        self._held: list[tuple[int, str, Message]] = []
        self._round = 0
        self._granted: set[str] = set()
        self._transferring = False
        engine_clock.time = clock.monotonic()
        self._heard = 0.0
        self._stand_at = 0.0
        self._wait_for_leader()
        super().__init__(
            Member(self.member),
            [Member(name) for name in self.others],
            conf=configuration(DurableJournal(log), self._timing.election),
            transportClass=partial(Outlet, say=self._say_vote),
        )
        for node in self.otherNodes:
            # PySyncObj sends to connected nodes only; what is connected is the wire's business.
            self._SyncObj__onNodeConnected(node)
        # A snapshot has brought the state up to here; PySyncObj would learn that from a pickle.
        self._SyncObj__raftLastApplied = max(1, base.index)

    # What the store asks and does.

    @property
    def leads(self) -> bool:
        return bool(self._isLeader())

    @property
    def leader(self) -> str | None:
        node = self._getLeader()
        return None if node is None else node.id

    @property
    def commit(self) -> int:
        index: int = self.raftCommitIndex
        return index

    @property
    def applied_index(self) -> int:
        index: int = self.raftLastApplied
        return index

    def applied(self) -> Base:
        """The last applied entry."""
        return Base(self.applied_index, self._log.term_of(self.applied_index))

    def settled(self) -> bool:
        """Whether this member leads and has applied everything that is in its log."""
        return self.leads and self.applied_index == self._log.next_index - 1

    @property
    def deadline(self) -> float:
        """When this member has something to do even if nothing happens."""
        if self.replication is not None:
            return min((peer.beat for peer in self.replication.peers.values()), default=float("inf"))
        return self._stand_at

    def propose(self, command: bytes) -> None:
        """Append a command with the next tick, or have the leader do so; nobody says whether it arrived."""
        if self.leads:
            self._applyCommand(REGULAR + command, None)
        elif (leader := self.leader) is not None:
            self.say(leader, Message(proposal=Proposal(command=command)))

    def read_index(self, id: int) -> None:
        """Ask how far to apply before a read is fresh."""
        if self.replication is not None:
            self.replication.read_index(self.member, id, self.commit)
            self._answer_reads()
        elif (leader := self.leader) is not None:
            self.say(leader, Message(read_index=ReadIndex(id=id)))

    def tick(self) -> None:
        """Commit and apply what can be, then append what was proposed. Only to be called while the log is flushed."""
        now = engine_clock.time = self._clock.monotonic()
        if not self.leads and self.others and now >= self._stand_at:
            self._ask_around(now)
        if self.replication is not None and self.others:
            for node in self.otherNodes:
                peer = self.replication.peers[node.id]
                self._SyncObj__lastResponseTime[node] = peer.heard
                self._SyncObj__raftMatchIndex[node] = peer.match
        self.doTick(0)
        self._follow_state()
        self.send()

    def send(self) -> None:
        """Send followers what they lack; also while the disk is at work, beside which it goes on."""
        if self.replication is not None and self.others:
            self.replication.replicate(self._clock.monotonic(), self.commit)

    def flushed(self) -> None:
        """The log has been flushed: say what may now be promised."""
        held, self._held = self._held, []
        for match, member, message in held:
            if message.term == self.raftCurrentTerm:
                self._acknowledge(match, member, message)

    def hand_over(self) -> None:
        """Have the follower that has most take over the lead, if one is up to date."""
        if self.replication is None:
            return
        best = max(self.replication.peers.values(), key=lambda peer: peer.match, default=None)
        if best is not None and best.match == self._log.next_index - 1:
            self.say(best.name, Message(timeout_now=TimeoutNow()))

    # Messages.

    def receive(self, member: str, message: Message) -> None:
        """One message of another member. Raises StoreCorrupt, and StoreUnavailable when a vote cannot be written."""
        if member not in self.others:
            return
        engine_clock.time = self._clock.monotonic()
        match message.WhichOneof("body"):
            case "request_vote":
                self._asked_for_vote(member, message, message.request_vote)
            case "vote":
                self._heard_vote(member, message, message.vote)
            case "append_entries":
                self._append(member, message, message.append_entries)
            case "appended":
                self._catch_up_with_term(message.term)
                if self.replication is not None and message.term == self.raftCurrentTerm:
                    self.replication.appended(member, message.sequence, message.appended, self._clock.monotonic())
                    self._answer_reads()
            case "proposal":
                if self.leads:
                    self._applyCommand(REGULAR + message.proposal.command, None)
            case "read_index":
                if self.replication is not None:
                    self.replication.read_index(member, message.read_index.id, self.commit)
            case "read_index_reply":
                self._fresh(message.read_index_reply.id, message.read_index_reply.index)
            case "snapshot_chunk":
                if message.term >= self.raftCurrentTerm:
                    self._follow(member, message.term)
                    self._supplier.chunk(member, message.snapshot_chunk)
            case "snapshot_received":
                if self.replication is not None and message.term == self.raftCurrentTerm:
                    self.replication.peers[member].heard = self._clock.monotonic()
                    self._supplier.received(member, message.snapshot_received)
            case "timeout_now":
                if message.term == self.raftCurrentTerm and self.leader == member:
                    self._stand(transferring=True)
        self._follow_state()

    def say(self, member: str, message: Message) -> None:
        message.term = self.raftCurrentTerm
        self._wire.send(member, message)

    def _answer_reads(self) -> None:
        assert self.replication is not None
        for member, id, index in self.replication.fresh_reads():
            if member == self.member:
                self._fresh(id, index)
            else:
                self.say(member, Message(read_index_reply=ReadIndexReply(id=id, index=index)))

    def _catch_up_with_term(self, term: int) -> None:
        """Raft, section 5.1: whoever hears of a later term follows."""
        if term > self.raftCurrentTerm:
            self._SyncObj__setCurrentTerm(term, None)
            self._SyncObj__setState(_FOLLOWER)
            self._SyncObj__raftLeader = _NOBODY

    def _follow_state(self) -> None:
        """Begin or end the work of a leader as PySyncObj has decided."""
        term: int = self.raftCurrentTerm
        if not self.leads:
            if self.replication is not None:
                self._wait_for_leader()
            self.replication = None
        elif self.replication is None:
            self.replication = Replication(
                self._log,
                self._wire,
                self.others,
                term,
                first_index=self._SyncObj__noopIDx,
                now=self._clock.monotonic(),
                heartbeat=self._timing.heartbeat,
                lagging=self._lags,
            )

    def _lags(self, peer: Peer) -> None:
        assert self.replication is not None
        self._supplier.lagging(self.replication, peer)

    # Following.

    def _follow(self, leader: str, term: int) -> None:
        """Somebody has shown to be the leader of this term, or of a later one."""
        self._catch_up_with_term(term)
        if self.leads:
            raise StoreCorrupt(f"{leader} and {self.member} both lead in term {term}")
        self._SyncObj__setState(_FOLLOWER)
        self._SyncObj__raftLeader = Member(leader)
        self._SyncObj__raftElectionDeadline = float("inf")
        self._wait_for_leader()
        self._heard = self._clock.monotonic()

    def install(self, base: Base) -> None:
        """The state and the log are now those behind another member's snapshot."""
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = base.index
        self._held = [held for held in self._held if held[0] <= base.index]

    def _append(self, leader: str, message: Message, body: AppendEntries) -> None:
        if message.term < self.raftCurrentTerm:
            # The answer's term tells an old leader that it is one.
            self.say(leader, Message(sequence=message.sequence, appended=Appended(success=False)))
            return
        self._follow(leader, message.term)
        offered = [(entry.command, entry.index, entry.term) for entry in body.entries]
        verdict = reconcile(self._log.entries, self.commit, Offer(body.previous_index, body.previous_term, offered))
        if isinstance(verdict, Refuse):
            refusal = Appended(success=False, resume_index=verdict.resume)
            self.say(leader, Message(sequence=message.sequence, appended=refusal))
            return
        if verdict.truncate:
            self._log.truncate(verdict.truncate)
        for command, index, term in verdict.entries:
            self._log.append(command, index, term)
        commit = min(body.commit_index, verdict.match)
        if commit > self.commit:
            self._SyncObj__raftCommitIndex = commit
            self._log.commit = commit
        answer = Message(
            term=message.term, sequence=message.sequence, appended=Appended(success=True, match_index=verdict.match)
        )
        self._acknowledge(verdict.match, leader, answer)

    def _acknowledge(self, match: int, leader: str, answer: Message) -> None:
        if match <= self._log.durable_index:
            self._wire.send(leader, answer)
        else:
            self._held.append((match, leader, answer))

    # Electing.

    def _wait_for_leader(self) -> None:
        election = self._timing.election
        self._stand_at = self._clock.monotonic() + election * (1 + self._chance.random())

    def _ask_around(self, now: float) -> None:
        """Ask the others whether they would elect this member; its term does not change by that."""
        self._wait_for_leader()
        self._SyncObj__raftLeader = _NOBODY
        self._round += 1
        self._granted = {self.member}
        term = self.raftCurrentTerm + 1
        for other in self.others:
            self._wire.send(other, Message(term=term, sequence=self._round, request_vote=self._candidacy(True)))

    def _candidacy(self, considered: bool) -> RequestVote:
        _, index, term = self._log.entries[-1]
        transfer = self._transferring and not considered
        return RequestVote(last_index=index, last_term=term, considered=considered, transfer=transfer)

    def _stand(self, *, transferring: bool) -> None:
        """Be a candidate with the next tick."""
        self._granted = {self.member}
        self._transferring = transferring
        self._SyncObj__raftElectionDeadline = float("-inf")
        self._stand_at = self._clock.monotonic() + self._timing.election * (1 + self._chance.random())

    def _asked_for_vote(self, member: str, message: Message, asked: RequestVote) -> None:
        faithful = self.leads or (
            self.leader is not None and self._clock.monotonic() < self._heard + self._timing.election
        )
        if faithful and not asked.transfer and message.term > self.raftCurrentTerm:
            return
        _, index, term = self._log.entries[-1]
        current = (asked.last_term, asked.last_index) >= (term, index)
        if asked.considered:
            granted = current and message.term > self.raftCurrentTerm
            answer = Message(sequence=message.sequence, vote=Vote(granted=granted, considered=True))
            answer.term = message.term if granted else self.raftCurrentTerm
            self._wire.send(member, answer)
        elif message.term < self.raftCurrentTerm:
            self.say(member, Message(vote=Vote(granted=False)))
        else:
            self._engine_receives(
                member,
                {
                    "type": "request_vote",
                    "term": message.term,
                    "last_log_index": asked.last_index,
                    "last_log_term": asked.last_term,
                },
            )

    def _heard_vote(self, member: str, message: Message, vote: Vote) -> None:
        if not vote.granted:
            self._catch_up_with_term(message.term)
        elif vote.considered:
            mine = message.sequence == self._round and message.term == self.raftCurrentTerm + 1
            if mine and not self.leads and self.leader is None and self._wins(member):
                self._stand(transferring=False)
        elif message.term == self.raftCurrentTerm and member not in self._granted:
            self._granted.add(member)
            self._engine_receives(member, {"type": "response_vote", "term": message.term})

    def _wins(self, member: str) -> bool:
        """Whether this voter is the one that makes a majority."""
        before = len(self._granted)
        self._granted.add(member)
        return before < len(self._granted) == (len(self.others) + 1) // 2 + 1

    def _say_vote(self, member: str, message: Mapping[str, object]) -> None:
        """PySyncObj asks for a vote or gives one."""
        if message["type"] == "request_vote":
            self.say(member, Message(request_vote=self._candidacy(False)))
        elif message["type"] == "response_vote":
            self._wait_for_leader()
            self.say(member, Message(vote=Vote(granted=True)))

    def _engine_receives(self, member: str, message: Mapping[str, object]) -> None:
        self._SyncObj__onMessageReceived(Member(member), message)

    # In place of PySyncObj's private methods.

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802
        """When PySyncObj stands for election by itself: at once where it is alone, else when `_stand` says so."""
        return float("inf") if self.others else -1.0

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """Everything is sent by `send`."""

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:  # noqa: N802
        kind = command[:1]
        if kind == REGULAR:
            self._apply(command[1:])
        elif kind != _NO_OP_KIND:
            raise StoreCorrupt(f"the log holds an entry of the unknown kind {kind.hex() or 'none'}")

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> None:  # noqa: N802
        """No entry changes the membership: such entries would be pickles."""
