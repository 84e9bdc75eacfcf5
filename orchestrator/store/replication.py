"""The leader's part of replication: what each follower has, what it is sent next, and when a read is fresh.

Every message that appends is numbered, and its answer repeats the number and the term. So an answer given to an
earlier leader counts for nothing, a refusal that was on its way while the leader had already gone back is not obeyed
twice, and a read is fresh once a majority has answered a message that was sent after the read was asked for.

Messages follow each other without waiting for answers, up to a window of bytes; what got lost shows when the next
message is refused, and is sent again from where the follower says.

The lease: whoever has heard this leader elects no other for an election's time. So while less than that has passed
since the sending of a message that a majority has answered, no other leads, and what this one has committed is all
there is (Ongaro's thesis, section 6.4.1). The time counts from the sending, on the leader's own monotonic clock, and
only a part of it is used, because the others' clocks may go faster. A leader that asks somebody to take over gives the
lease up for the rest of its term: the others may then elect that one at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.store.log import Log, LogEntry
from orchestrator.store.membership import Configuration, Timing
from orchestrator.store.quorum import reached_by_majority
from orchestrator.store.v1.raft_pb2 import Appended, AppendEntries, Entry, Message, SnapshotChunk, SnapshotReceived
from orchestrator.store.wire import Wire

MESSAGE_BYTES = 1 << 20
"""Entries are put into one message up to this; a single larger one has a message of its own."""
WINDOW_BYTES = 8 << 20
"""How much may be on its way to one follower."""
LEASE_SHARE = 0.75
"""Of the election's time: holds while no follower's clock goes faster than 4/3 of the leader's."""
_FULL_SECONDS = 1.0
"""How long a follower whose disk is full is left alone."""
_UNANSWERED = 4096
"""Messages to one follower whose times of sending are remembered."""
_COMMIT_SECONDS = 0.005
"""How long a follower at which nobody waits may not hear that something is committed: the next entries tell it too."""
_PROMPT_SECONDS = 1.0
"""How long after a write or read through a follower somebody is taken to wait there."""


@dataclass(slots=True)
class Peer:
    """A follower as its leader knows it."""

    name: str
    next_index: int
    since: int = 0
    """To be told to a learner; 0: it knows."""
    match: int = 0
    answered: int = 0
    """The highest number of a message it has answered."""
    heard: float = 0.0
    confirmed: float = float("-inf")
    """When the latest message was sent that it has answered."""
    sent: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_UNANSWERED))
    """(number, time) of the messages it has not answered yet."""
    fresh: bool = False
    """It is one of the first members and has not taken part yet."""
    full_until: float = float("-inf")
    """Its disk is full: until then it is offered nothing."""
    obeyed: int = 0
    """Refusals of messages up to this number are old news."""
    commit_sent: int = 0
    prompt_until: float = 0.0
    """Until then it hears at once of what is committed, because somebody there waits for it."""
    beat: float = 0.0
    """When it is to hear from its leader again."""
    flight: deque[tuple[int, int]] = field(default_factory=deque)
    """(last index, bytes) of the messages with entries that were not answered yet."""
    flight_bytes: int = 0

    def go_to(self, index: int) -> None:
        self.next_index = index
        self.flight.clear()
        self.flight_bytes = 0


@dataclass(frozen=True, slots=True)
class _Read:
    sequence: int
    member: str
    id: int
    index: int


class Replication:
    """One term's work of a leader."""

    def __init__(
        self,
        log: Log,
        wire: Wire,
        member: str,
        configuration: Configuration,
        term: int,
        *,
        first_index: int,
        now: float,
        timing: Timing,
        lagging: Callable[[Peer], None],
    ) -> None:
        """`first_index` is the term's first entry: once it is committed, the commit index is known to be the cluster's.

        `lagging` is told of a follower whose next entry is not in memory any more.
        """
        self._log = log
        self._wire = wire
        self._member = member
        self._term = term
        self._timing = timing
        self._lagging = lagging
        self.first_index = first_index
        self._sequence = 0
        """Of the last round of messages."""
        self.peers: dict[str, Peer] = {}
        self._voters: Sequence[str] = ()
        self._reads: list[_Read] = []
        self._lease_end = float("-inf")
        self._lease_given_up = not timing.lease
        self.configure(configuration, now)

    def configure(self, configuration: Configuration, now: float) -> None:
        """Other members than before are in force."""
        before = self.peers
        self.peers = {}
        for member in configuration.members:
            if member.name != self._member:
                peer = before.get(member.name) or Peer(member.name, self._log.next_index, heard=now)
                peer.since = member.since if member.learner else 0
                self.peers[member.name] = peer
        self._voters = configuration.voters
        self._renew_lease()

    # What a majority of those with a vote has.

    def agreed(self, own: int) -> int:
        """Up to which entry a majority has the leader's log on its disk; `own` is the leader's."""
        return int(reached_by_majority(self._of_voters(own, lambda peer: peer.match)))

    def heard(self, now: float) -> float:
        """When a majority was last heard of."""
        return reached_by_majority(self._of_voters(now, lambda peer: peer.heard))

    def _of_voters(self, own: float, of: Callable[[Peer], float]) -> list[float]:
        # A leader that is being removed leads on until that is committed, and does not count.
        return [own if name == self._member else of(self.peers[name]) for name in self._voters]

    # The lease.

    def holds_lease(self, now: float) -> bool:
        return now < self._lease_end and not self._lease_given_up

    def give_up_lease(self) -> None:
        self._lease_given_up = True

    def _renew_lease(self) -> None:
        confirmed = reached_by_majority(self._of_voters(float("inf"), lambda peer: peer.confirmed))
        self._lease_end = confirmed + LEASE_SHARE * self._timing.election

    # Sending.

    def replicate(self, now: float, commit: int) -> None:
        """Send to every follower what it lacks, if only a sign of life."""
        last = self._log.next_index - 1
        self._sequence += 1
        asked = bool(self._reads) and self._reads[-1].sequence == self._sequence
        for peer in self.peers.values():
            if not self._wire.connected(peer.name):
                peer.beat = now + self._timing.heartbeat
                continue
            sent = False
            while peer.next_index <= last and peer.flight_bytes < WINDOW_BYTES and now >= peer.full_until:
                if peer.next_index <= self._log.entries[0][1]:
                    self._lagging(peer)
                    break
                self.send(peer, self._entries(peer.next_index), commit, now)
                sent = True
            if sent:
                continue
            prompt = False
            if peer.commit_sent < commit:
                prompt = now < peer.prompt_until
                peer.beat = min(peer.beat, now + _COMMIT_SECONDS)
            if now >= peer.beat or prompt or asked:
                self.send(peer, (), commit, now)

    def send(self, peer: Peer, entries: Iterable[LogEntry], commit: int, now: float, previous_term: int = 0) -> None:
        """Offer `entries`, the first of which is the peer's next. `previous_term` when the log has forgotten it."""
        first = self._log.entries[0][1]
        previous = peer.next_index - 1
        if previous >= first:
            previous_term = self._log.term_of(previous)
        elif not previous_term:
            # A sign of life to somebody who is far behind: it meets every log, and tells nothing of it.
            previous = 0
        body = AppendEntries(
            previous_index=previous, previous_term=previous_term, commit_index=commit, since=peer.since
        )
        size = 0
        for command, index, term in entries:
            body.entries.append(Entry(index=index, term=term, command=command))
            size += len(command) + 16
        if size:
            peer.next_index = body.entries[-1].index + 1
            peer.flight.append((peer.next_index - 1, size))
            peer.flight_bytes += size
        if not peer.sent or peer.sent[-1][0] != self._sequence:
            peer.sent.append((self._sequence, now))
        peer.commit_sent = commit
        peer.beat = now + self._timing.heartbeat
        self._wire.send(peer.name, Message(term=self._term, sequence=self._sequence, append_entries=body))

    def is_waited_at(self, member: str, now: float) -> None:
        """Somebody writes or reads through this follower."""
        if (peer := self.peers.get(member)) is not None:
            peer.prompt_until = now + _PROMPT_SECONDS

    def is_settled(self, own: int, commit: int) -> bool:
        """Whether everything is committed that can be, nothing is to be sent, and nobody waits to read."""
        last = self._log.next_index - 1
        behind = any(peer.next_index <= last for peer in self.peers.values())
        return not behind and not self._reads and self.agreed(own) <= commit

    def _entries(self, index: int) -> list[LogEntry]:
        return take(self._log.entries, index - self._log.entries[0][1])

    # Hearing.

    def appended(self, member: str, sequence: int, answer: Appended, now: float) -> None:
        """An answer of this term."""
        peer = self.peers[member]
        peer.heard = now
        peer.answered = max(peer.answered, sequence)
        while peer.sent and peer.sent[0][0] <= sequence:
            peer.confirmed = peer.sent.popleft()[1]
        self._renew_lease()
        peer.fresh = answer.fresh
        if answer.success:
            peer.match = max(peer.match, answer.match_index)
            peer.next_index = max(peer.next_index, peer.match + 1)
            while peer.flight and peer.flight[0][0] <= peer.match:
                peer.flight_bytes -= peer.flight.popleft()[1]
        elif sequence > peer.obeyed:
            peer.obeyed = self._sequence
            if sequence == peer.answered and answer.resume_index <= peer.match:
                # Its latest answer: it has lost what it had, and gets all of it again.
                peer.match = max(answer.resume_index - 1, 0)
            if answer.full:
                peer.full_until = now + _FULL_SECONDS
            peer.go_to(min(max(answer.resume_index, peer.match + 1), self._log.next_index))

    # Reading.

    def read_index(self, member: str, id: int, commit: int) -> None:
        """Somebody wants to know how far to apply before reading; `fresh_reads` has the answer when it is certain."""
        self._reads.append(_Read(self._sequence + 1, member, id, max(commit, self.first_index)))

    def fresh_reads(self) -> list[tuple[str, int, int]]:
        """(member, id, index) of the reads that a majority has confirmed since they were asked."""
        if not self._reads:
            return []
        confirmed = reached_by_majority(self._of_voters(float("inf"), lambda peer: peer.answered))
        fresh = [read for read in self._reads if read.sequence <= confirmed]
        self._reads = [read for read in self._reads if read.sequence > confirmed]
        return [(read.member, read.id, read.index) for read in fresh]


class Host(Protocol):
    """Whom the engine works for: brings followers what is not in memory, and hears of changes of the members."""

    def lagging(self, replication: Replication, peer: Peer) -> None:
        """This follower's next entry is not in memory."""

    def chunk(self, leader: str, chunk: SnapshotChunk) -> None:
        """A piece of a snapshot has come from the leader."""

    def received(self, member: str, answer: SnapshotReceived) -> None:
        """A follower says what it has of the snapshot it is sent."""

    def reconfigured(self) -> None:
        """Other members than before are in force."""

    def began(self) -> None:
        """This member takes part in the cluster from now on: to be remembered, durably, before this returns."""

    def joined(self, since: int) -> None:
        """This member has been told which entry made it a member: to be remembered, durably, before this returns."""


def take(entries: list[LogEntry], position: int) -> list[LogEntry]:
    """The entries from `position` on that make one message."""
    size = 0
    end = position
    while end < len(entries) and (end == position or size + len(entries[end][0]) <= MESSAGE_BYTES):
        size += len(entries[end][0])
        end += 1
    return entries[position:end]
