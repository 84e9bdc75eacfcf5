"""The replication engine: PySyncObj's Raft, without its files, its threads, its tick, its sockets and its pickles.

It is turned by hand: `tick` looks once at proposals, deadlines and the commit index, and `receive` takes one message.
PySyncObj's core (`engine`) decides on state, terms, votes and the order of application; what would lose or confuse data
is replaced (each has its test):

* It would unpickle what it finds in an entry or a message. Its pickle module is taken away, entries and messages are
  encoded by us.
* It would drop entries that it already has when a message is repeated: `reconcile` decides instead.
* Its acknowledgements carry no term, and promise what may not be on the disk yet: ours carry the term and the number
  of what they answer, and wait for the disk (`replication`, `_acknowledge`).
* It counts a vote that is delivered twice as two. A voter counts once (`elections`).
* A member that comes back would depose a healthy leader: pre-vote (`elections`).
* A leader that was cut off would believe in itself: it steps down when no majority answers for an election's time.
* Its members could be changed while an earlier change is not committed, and learners would count: which ones there are
  is read off our log (`configurations`), and whose majority counts, off the configuration that is in force.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from orchestrator.clock import Clock
from orchestrator.store.configurations import CHANGE, Configurations, encode_configuration
from orchestrator.store.elections import Elections
from orchestrator.store.engine import Engine, engine_clock
from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.giving_up import NO_OP
from orchestrator.store.log import Base, Log
from orchestrator.store.membership import FIRST_INDEX, Configuration, MemberInfo, Members
from orchestrator.store.reconcile import Offer, Refuse, reconcile
from orchestrator.store.replication import Host, Peer, Replication
from orchestrator.store.v1.raft_pb2 import (
    Appended,
    AppendEntries,
    Message,
    Proposal,
    ReadIndex,
    ReadIndexReply,
    TimeoutNow,
)
from orchestrator.store.wire import Wire

REGULAR: Final = b"\x00"
"""The first byte of an entry that carries a command of ours."""


class Raft:
    """One member. `apply` is called with each committed command, once and in log order.

    `fresh` is called with (id, index) when a `read_index` of this member has been answered. `configuration` is the one
    behind which the log begins, `since` the entry that made this member one; 0: it has not been told. `new`: it is one
    of the first members, and had an empty directory.
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
        host: Host,
        configuration: Configuration | None = None,
        since: int = FIRST_INDEX,
        new: bool = False,
    ) -> None:
        self._log = log
        self._apply = apply
        self._wire = wire
        self._clock = clock
        self._fresh = fresh
        self._host = host
        self._timing = members.timing
        self.member = members.name
        self.since = since
        self.removed = ""
        """Why this member is none any more."""
        self.replication: Replication | None = None
        """While this member leads."""
        self.configurations = Configurations(configuration or members.first(), log.entries)
        self._known_commit = 0
        """What the leader says is committed; more than this member has applied, while it is not on its own disk."""
        self._has_all_with = (0, 0, 0)
        """The leader's term and what it has committed, as it last said, and up to where its log and this one agree."""
        self._held: list[tuple[int, str, Message]] = []
        self._transfer: tuple[str, float] | None = None
        """Who is to take over, and when this member goes on by itself after all."""
        engine_clock.time = clock.monotonic()
        self._elections = Elections(
            self.member,
            log,
            self.configurations,
            timing=members.timing,
            wire=wire,
            clock=clock,
            chance=chance,
            own=self._find,
            since=lambda: self.since,
            fresh=new,
            began=host.began,
        )
        self._engine = Engine(
            self.member,
            log,
            base.index,
            election=members.timing.election,
            apply=self._apply_entry,
            ask=self._elections.ask,
            vote=self._elections.vote,
        )
        self._elections.bind(self._engine)
        self._set_members()

    # What the store asks and does.

    @property
    def leads(self) -> bool:
        return self._engine.leads

    @property
    def leader(self) -> str | None:
        return self._engine.leader

    @property
    def term(self) -> int:
        return self._engine.term

    @property
    def last_index(self) -> int:
        return self._log.next_index - 1

    @property
    def commit(self) -> int:
        return self._engine.commit

    @property
    def applied_index(self) -> int:
        return self._engine.applied

    def applied(self) -> Base:
        """The last applied entry."""
        return Base(self.applied_index, self._log.term_of(self.applied_index))

    def settled(self) -> bool:
        """Whether this member leads and has applied everything that is in its log."""
        return self.leads and self.applied_index == self._log.next_index - 1

    @property
    def configuration(self) -> Configuration:
        """The one in force."""
        return self.configurations.latest

    @property
    def is_sole_voter(self) -> bool:
        """Whether this member decides by itself; there may be learners."""
        return self.configuration.voters == [self.member] and self._own() is not None

    @property
    def is_alone(self) -> bool:
        return self.is_sole_voter and len(self.configuration.members) == 1

    @property
    def transferring(self) -> bool:
        """Whether this leader lets nothing more be proposed, so that another can catch up and take over."""
        return self._transfer is not None

    @property
    def deadline(self) -> float:
        """When this member has something to do even if nothing happens."""
        if self.replication is not None:
            return min((peer.beat for peer in self.replication.peers.values()), default=float("inf"))
        return self._elections.stand_at if self._may_stand else float("inf")

    def propose(self, command: bytes) -> None:
        """Append a command with the next tick, or have the leader do so; nobody says whether it arrived."""
        if self.leads:
            self._engine.append(REGULAR + command)
        elif (leader := self.leader) is not None:
            self.say(leader, Message(proposal=Proposal(command=command)))

    def change(self, members: tuple[MemberInfo, ...]) -> int:
        """Append a configuration; its index. For a leader, right behind a tick; a new member's `since` is given."""
        configuration = Configuration(members, self._log.next_index)
        command = CHANGE + encode_configuration(configuration)
        self._log.append(command, configuration.index, self._engine.term)
        self.configurations.appended(command, configuration.index)
        self._reconfigure()
        self.send()
        return configuration.index

    def may_read(self) -> bool:
        """Whether what this member has applied is certain to be all there is, without asking anybody."""
        replication = self.replication
        return (
            replication is not None
            and self.leads
            and self.applied_index >= replication.first_index
            and (self.is_sole_voter or replication.holds_lease(self._clock.monotonic()))
        )

    def read_index(self, id: int) -> None:
        """Ask how far to apply before a read is fresh."""
        if self.replication is not None:
            self._asked_read_index(self.member, id)
        elif (leader := self.leader) is not None:
            self.say(leader, Message(read_index=ReadIndex(id=id)))

    def tick(self) -> None:
        """Commit and apply what can be, then append what was proposed. Only to be called while the log is flushed."""
        now = engine_clock.time = self._clock.monotonic()
        if not self.leads and self._may_stand and now >= self._elections.stand_at:
            self._elections.ask_around()
        agreed, heard = 0, now
        if self.replication is not None:
            agreed, heard = self.replication.agreed(self._log.durable_index), self.replication.heard(now)
        elif (commit := min(self._known_commit, self._log.durable_index)) > self.commit:
            self._engine.commit_up_to(commit)
            self._log.commit = commit
        self._engine.turn(agreed, heard)
        self._follow_state()
        self.configurations.applied(self.applied_index)
        self.send()
        self._look_for_removal()
        if self._transfer is not None:
            self._go_on_with_transfer(now)

    def disk_full(self) -> None:
        """The log has given up what was not on the disk yet: nothing of it was promised. Others should lead."""
        last = self.last_index
        self._held = [held for held in self._held if held[0] <= last]
        self._known_commit = min(self._known_commit, last)
        if self.configurations.truncated(last + 1):
            self._reconfigure()
        if self.leads and not self.is_alone:
            # Also for learners: they may have what was given up, so what takes its place must be of another term.
            self._engine.step_down()
        self._follow_state()

    @property
    def _may_stand(self) -> bool:
        return self._elections.may_stand and (not self._log.full or self.is_sole_voter)

    def destroy(self) -> None:
        self._engine.destroy()

    def send(self) -> None:
        """Send followers what they lack; also while the disk is at work, beside which it goes on."""
        if self.replication is not None and self.replication.peers:
            self.replication.replicate(self._clock.monotonic(), self.commit)

    def flushed(self) -> None:
        """The log has been flushed: say what may now be promised."""
        self._begin_if_whole()
        held, self._held = self._held, []
        for match, member, message in held:
            if message.term == self._engine.term:
                self._acknowledge(match, member, message)

    # Handing over.

    def hand_over(self, target: str = "") -> None:
        """Have this voter take over; empty: whichever has most. It is given an election's time."""
        if self.replication is not None and (target := target or self._most_advanced()):
            self._transfer = (target, self._clock.monotonic() + self._timing.election)

    def _most_advanced(self) -> str:
        assert self.replication is not None
        peers = self.replication.peers
        silent_since = self._clock.monotonic() - self._timing.election
        voters = [peers[name] for name in self.configuration.voters if name != self.member]
        best = max(voters, key=lambda peer: (peer.heard > silent_since, peer.match), default=None)
        return best.name if best is not None else ""

    def _go_on_with_transfer(self, now: float) -> None:
        """As soon as the target has everything, tell it to stand, again and again: the message may get lost."""
        assert self._transfer is not None
        target, give_up = self._transfer
        replication = self.replication
        if replication is None or target not in replication.peers or now >= give_up:
            self._transfer = None
        elif replication.peers[target].match == self._log.next_index - 1:
            replication.give_up_lease()
            self.say(target, Message(timeout_now=TimeoutNow()))

    # Messages.

    def receive(self, member: str, message: Message) -> None:
        """One message of another member. Raises StoreCorrupt, and StoreUnavailable when a vote cannot be written."""
        engine_clock.time = self._clock.monotonic()
        replication = self.replication
        match message.WhichOneof("body"):
            case "request_vote":
                self._elections.asked(member, message, message.request_vote)
            case "vote":
                if message.vote.granted:
                    self._elections.heard_vote(member, message, message.vote)
                else:
                    self._catch_up_with_term(message.term)
            case "append_entries":
                self._append(member, message, message.append_entries)
            case "appended":
                self._catch_up_with_term(message.term)
                if replication is not None and message.term == self._engine.term and member in replication.peers:
                    replication.appended(member, message.sequence, message.appended, self._clock.monotonic())
                    self._answer_reads()
            case "proposal":
                if replication is not None:
                    replication.is_waited_at(member, self._clock.monotonic())
                if self.leads and not self.transferring:
                    self._engine.append(REGULAR + message.proposal.command)
            case "read_index":
                if replication is not None:
                    replication.is_waited_at(member, self._clock.monotonic())
                    self._asked_read_index(member, message.read_index.id)
            case "read_index_reply":
                if message.term == self._engine.term:
                    self._fresh(message.read_index_reply.id, message.read_index_reply.index)
            case "snapshot_chunk":
                if message.term >= self._engine.term:
                    self._follow(member, message.term)
                    self._host.chunk(member, message.snapshot_chunk)
            case "snapshot_received":
                if replication is not None and message.term == self._engine.term and member in replication.peers:
                    replication.peers[member].heard = self._clock.monotonic()
                    self._host.received(member, message.snapshot_received)
            case "timeout_now":
                if message.term == self._engine.term and self.leader == member and self._may_stand:
                    self._elections.stand(transferring=True)
            case "removed":
                if message.removed.configuration > self.since and self._is_certain_member():
                    self.removed = f"{self.member} is no member of this store any more: {member} says so"
        self._follow_state()

    def is_settled(self) -> bool:
        """Whether a leader has nothing to do until something new happens or its deadline comes."""
        replication = self.replication
        return (
            replication is not None
            and not self.transferring
            and replication.is_settled(self._log.durable_index, self.commit)
        )

    def reaches(self, member: str) -> bool:
        return self._wire.connected(member)

    def say(self, member: str, message: Message) -> None:
        message.term = self._engine.term
        self._wire.send(member, message)

    def _asked_read_index(self, member: str, id: int) -> None:
        assert self.replication is not None
        if self.may_read():
            self._answer_read(member, id, self.commit)
        else:
            self.replication.read_index(member, id, self.commit)
            self._answer_reads()

    def _answer_reads(self) -> None:
        assert self.replication is not None
        for member, id, index in self.replication.fresh_reads():
            self._answer_read(member, id, index)

    def _answer_read(self, member: str, id: int, index: int) -> None:
        if member == self.member:
            self._fresh(id, index)
        else:
            self.say(member, Message(read_index_reply=ReadIndexReply(id=id, index=index)))

    def _catch_up_with_term(self, term: int) -> None:
        """Raft, section 5.1: whoever hears of a later term follows."""
        if term > self._engine.term:
            self._engine.take_term(term)

    def _follow_state(self) -> None:
        """Begin or end the work of a leader as PySyncObj has decided."""
        if not self.leads:
            if self.replication is not None:
                self._elections.wait()
            self.replication = self._transfer = None
        elif self.replication is None:
            self.replication = Replication(
                self._log,
                self._wire,
                self.member,
                self.configuration,
                self._engine.term,
                first_index=self._engine.first_of_term,
                now=self._clock.monotonic(),
                timing=self._timing,
                lagging=self._lags,
            )

    def _lags(self, peer: Peer) -> None:
        assert self.replication is not None
        self._host.lagging(self.replication, peer)

    # Following.

    def _follow(self, leader: str, term: int) -> None:
        """Somebody has shown to be the leader of this term, or of a later one."""
        self._catch_up_with_term(term)
        if self.leads:
            raise StoreCorrupt(f"{leader} and {self.member} both lead in term {term}")
        self._engine.follow(leader)
        self._elections.heard_leader()

    def install(self, base: Base, configuration: Configuration | None) -> None:
        """The state and the log are now those behind another member's snapshot."""
        self._engine.install(base.index)
        self._held = [held for held in self._held if held[0] <= base.index]
        self.configurations.installed(base.index, configuration)
        self._reconfigure()

    def _append(self, leader: str, message: Message, body: AppendEntries) -> None:
        if message.term < self._engine.term:
            # The answer's term tells an old leader that it is one.
            self.say(leader, Message(sequence=message.sequence, appended=Appended(success=False)))
            return
        self._follow(leader, message.term)
        if body.since > self.since:
            self._told_since(leader, body.since)
            if self.removed:
                return
        offered = [(entry.command, entry.index, entry.term) for entry in body.entries]
        committed = max(self.commit, self._known_commit)
        verdict = reconcile(self._log.entries, committed, Offer(body.previous_index, body.previous_term, offered))
        if isinstance(verdict, Refuse):
            refusal = Appended(success=False, resume_index=verdict.resume, fresh=self._elections.fresh)
            self.say(leader, Message(sequence=message.sequence, appended=refusal))
            return
        if self._log.full and (verdict.truncate or verdict.entries):
            refusal = Appended(success=False, full=True, resume_index=self._log.next_index, fresh=self._elections.fresh)
            self.say(leader, Message(sequence=message.sequence, appended=refusal))
            return
        changed = False
        if verdict.truncate:
            self._log.truncate(verdict.truncate)
            changed = self.configurations.truncated(verdict.truncate)
        for command, index, term in verdict.entries:
            self._log.append(command, index, term)
            changed |= self.configurations.appended(command, index)
        if changed:
            self._reconfigure()
        self._known_commit = max(self._known_commit, min(body.commit_index, verdict.match))
        self._has_all_with = (message.term, body.commit_index, verdict.match)
        self._begin_if_whole()
        done = Appended(success=True, match_index=verdict.match, fresh=self._elections.fresh)
        answer = Message(term=message.term, sequence=message.sequence, appended=done)
        self._acknowledge(verdict.match, leader, answer)

    def _begin_if_whole(self) -> None:
        """Take part when all that the leader has committed is on the disk here, an entry of its own term among it."""
        term, commit, match = self._has_all_with
        here = term == self.term and self._log.entries[0][1] <= commit <= match <= self._log.durable_index
        if here and self._log.term_of(commit) == term:
            self._elections.begin()

    def _acknowledge(self, match: int, leader: str, answer: Message) -> None:
        if match <= self._log.durable_index:
            self._wire.send(leader, answer)
        else:
            self._held.append((match, leader, answer))

    def _apply_entry(self, entry: bytes) -> None:
        if entry[:1] == REGULAR:
            self._apply(entry[1:])
        elif entry[:1] != CHANGE and entry != NO_OP:
            raise StoreCorrupt(f"the log holds an entry of the unknown kind {entry[:1].hex() or 'none'}")

    # Being a member.

    def _own(self) -> MemberInfo | None:
        """This member in the configuration in force; one of its name that was there before it is another."""
        return self._find(self.configuration)

    def _find(self, configuration: Configuration) -> MemberInfo | None:
        own = configuration.find(self.member)
        return own if own is not None and own.since == self.since else None

    def _is_certain_member(self) -> bool:
        return self._find(self.configurations.at(self.commit)) is not None

    def _told_since(self, leader: str, since: int) -> None:
        """The leader takes this for the member that came with a later entry than this one knows of."""
        if self.since and self._is_certain_member():
            self.removed = f"{self.member} was removed, and another takes its place: {leader} says so"
            return
        self.since = since
        self._host.joined(since)
        self._reconfigure()

    def _look_for_removal(self) -> None:
        """Stop when it is committed that this member is none; a leader has somebody else take over first."""
        committed = self.configurations.at(self.applied_index)
        if self.removed or not committed.has_removed(self.member, self.since):
            return
        self.removed = f"{self.member} has been removed from the members of this store"
        if self.replication is not None and (target := self._most_advanced()):
            self.replication.give_up_lease()
            self.say(target, Message(timeout_now=TimeoutNow()))

    def _reconfigure(self) -> None:
        """Other members than before are in force."""
        self._set_members()
        self._host.reconfigured()

    def _set_members(self) -> None:
        configuration = self.configuration
        others = [member for member in configuration.members if member.name != self.member]
        self._engine.set_voters(member.name for member in others if not member.learner)
        self._wire.set_peers({member.name: member.address for member in others})
        if self.replication is not None:
            self.replication.configure(configuration, self._clock.monotonic())
        if self.is_sole_voter and not self.leads:
            self._elections.wait()
