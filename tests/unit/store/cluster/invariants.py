"""What Raft promises, held at every step against what the members of a simulated cluster do.

The witness is told of everything: a member has had a turn, taken in a message, finished a flush, sent a message,
applied an entry, answered a client. It remembers what was ever true in the cluster and compares. What is durable it
knows from the disks themselves, not from the members.

    election safety        one leader a term
    leader append-only     a leader never drops or overwrites an entry of its log
    log matching           an entry with the same index and term is the same, and so is the one before it
    leader completeness    a leader has every entry that was committed in an earlier term
    state machine safety   at one index every member applies the same command, and stands at the same revision after
    commit                 never goes back; advances by counting only to an entry of the leader's own term, and only
                           when a majority has that entry on its disk; no committed entry is ever dropped
    durability             a term, a vote, an acknowledgement is on the disk before anybody hears of it; a restart
                           finds it there
    clients                nothing is acknowledged that is not committed; a fresh read is not older than any
                           acknowledged write; a watch has every event, once, in order

The names are those of Ongaro's thesis, figure 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestrator.store import Event, Put, ReplicatedStore
from orchestrator.store.command import Txn, decode_group
from orchestrator.store.log import Log, LogEntry
from orchestrator.store.raft import REGULAR, Raft
from orchestrator.store.v1.raft_pb2 import Message
from tests.unit.store.cluster.machine import Disk

NOTHING: Final[LogEntry] = (b"", 0, 0)


class Broken(AssertionError):
    """A promise of Raft was not kept."""


@dataclass(slots=True)
class _Committed:
    term: int
    command: bytes
    committed_in: int
    """The term of the leader that committed it."""


@dataclass(slots=True)
class _View:
    """What a running member was like when it was last looked at."""

    name: str
    store: ReplicatedStore
    raft: Raft
    log: Log
    disk: Disk
    entries: dict[int, LogEntry] = field(default_factory=dict)
    last: LogEntry = NOTHING
    next_index: int = 1
    term: int = 0
    led: int = -1
    """The last term it was seen to lead."""
    commit: int = 0


class Witness:
    def __init__(self, disks: Mapping[str, Disk]) -> None:
        self._disks = disks
        self._views: dict[str, _View] = {}
        self._leaders: dict[int, str] = {}
        self._entries: dict[tuple[int, int], tuple[bytes, int]] = {}
        """(index, term) -> (command, the term of the entry before)."""
        self._offered: set[tuple[int, int]] = set()
        """(index, term) of the entries that were ever sent to anybody."""
        self._committed: dict[int, _Committed] = {}
        self._last_committed = 0
        self._votes: dict[tuple[str, int], str] = {}
        self._revisions: dict[int, int] = {}
        """The revision after an index."""
        self._values: dict[bytes, int] = {}
        """The index of the committed entry that writes a value."""
        self._events: dict[int, Sequence[tuple[str, bytes | None]]] = {}
        """What happened at a revision."""
        self._written: dict[bytes, int] = {}
        """The revision at which a value was written: clients write none twice."""
        self.acknowledged = 0
        """The highest revision any client was told of."""
        self.terms = 0
        """Terms that had a leader."""

        self.broken: Broken | None = None
        """The first promise that was not kept, wherever the exception went."""

    def _broken(self, what: str) -> Broken:
        broken = Broken(what)
        self.broken = self.broken or broken
        return broken

    # Members.

    def started(self, name: str, store: ReplicatedStore) -> None:
        """A member has been opened on its disk, and has not done anything yet."""
        raft, log, disk = store._raft, store._log, self._disks[name]
        view = _View(name, store, raft, log, disk)
        durable = disk.durable
        if (log.term, log.voted_for) != (durable.term, durable.voted_for):
            raise self._broken(
                f"{name} starts in term {log.term} with its vote for {log.voted_for}: on its disk are {durable.term} "
                f"and {durable.voted_for}"
            )
        if log.next_index - 1 < durable.last:
            raise self._broken(
                f"{name} starts with a log up to {log.next_index - 1}: on its disk it goes to {durable.last}"
            )
        for position, (command, index, term) in enumerate(log.entries):
            if index > durable.covered and durable.terms.get(index) != term:
                raise self._broken(f"{name} starts with an entry {index} of term {term} that is not on its disk")
            if position and self._entries.get((index, term), (command,))[0] != command:
                raise self._broken(f"{name} starts with another command in entry {index} of term {term}")
        base = raft.applied_index
        if self._revisions.get(base, store._state.revision) != store._state.revision:
            raise self._broken(f"{name} starts at revision {store._state.revision} after entry {base}")
        self._views[name] = view
        self._watch_over(view)
        self.look_at(name)

    def stopped(self, name: str) -> None:
        self._views.pop(name, None)

    def replaced(self, name: str) -> None:
        """The machine of this name is gone, and what it promised is another member's."""
        self._votes = {vote: candidate for vote, candidate in self._votes.items() if vote[0] != name}

    def look_at(self, name: str) -> None:
        """A step of this member is over."""
        view = self._views.get(name)
        if view is None or view.disk.dead or view.store._failed.is_set():
            # One that has stopped may have done so half-way.
            return
        log, raft = view.log, view.raft
        if log.term != view.term:
            if log.term < view.term:
                raise self._broken(f"{name} goes back from term {view.term} to {log.term}")
            view.term = log.term
        if log.next_index != view.next_index or (log.entries and log.entries[-1] is not view.last):
            self._log_changed(view)
        if raft.leads and view.led != view.term:
            self._leads(view)
        if raft.commit != view.commit:
            self._commits(view)

    def _watch_over(self, view: _View) -> None:
        raft, hub, name = view.raft, view.store._hub, view.name
        apply, tick, publish = raft._apply, raft.tick, hub.publish

        def checked_apply(command: bytes) -> None:
            index = raft.applied_index + 1
            # Entries are committed and applied in one tick.
            self.look_at(name)
            known = self._committed.get(index)
            if known is None or known.command != REGULAR + command:
                raise self._broken(f"{name} applies an entry {index} that is not the committed one")
            apply(command)
            if not view.disk.dead:
                revision = view.store._state.revision
                if self._revisions.setdefault(index, revision) != revision:
                    raise self._broken(
                        f"{name} is at revision {revision} after entry {index}, not {self._revisions[index]}"
                    )

        def checked_tick() -> None:
            tick()
            self.look_at(name)

        def checked_publish(revision: int, events: Sequence[Event]) -> None:
            self._happens(name, revision, events)
            publish(revision, events)

        hub.publish = checked_publish  # type: ignore[method-assign]
        raft._apply = checked_apply
        raft.tick = checked_tick  # type: ignore[method-assign]

    # Logs.

    def _log_changed(self, view: _View) -> None:
        entries, seen = view.log.entries, view.entries
        position = len(entries)
        while position and seen.get(entries[position - 1][1]) is not entries[position - 1]:
            position -= 1
        # What comes again with the same term is the same: a snapshot's last entry stands at the log's beginning.
        now = {index: term for _, index, term in entries[position:]}
        last_kept = entries[position - 1][1] if position else entries[0][1] - 1 if entries else 0
        for index in range(last_kept + 1, view.next_index):
            if index not in seen or now.get(index) == seen[index][2]:
                continue
            dropped, known = seen.pop(index), self._committed.get(index)
            # A full disk did not take it: where nobody ever got it, it was nothing.
            given_up = (index, dropped[2]) not in self._offered and not view.disk.durable.has(index, dropped[2])
            if given_up:
                self._entries.pop((index, dropped[2]), None)
            elif view.raft.leads and view.led == view.log.term:
                raise self._broken(f"{view.name} leads term {view.led} and drops its entry {index}")
            if known is None or known.term != dropped[2]:
                continue
            # Of what was not on its disk it has promised nothing: the others' majority has it.
            if index <= view.commit or view.disk.durable.has(index, known.term):
                raise self._broken(f"{view.name} drops the committed entry {index} of term {known.term}")
        for each in range(position, len(entries)):
            command, index, term = entries[each]
            seen[index] = entries[each]
            if each:
                before = entries[each - 1][2]
                if self._entries.setdefault((index, term), (command, before)) != (command, before):
                    raise self._broken(
                        f"{view.name} has another entry {index} of term {term}, or another one before it"
                    )
        view.next_index = view.log.next_index
        view.last = entries[-1] if entries else NOTHING

    def _leads(self, view: _View) -> None:
        term = view.led = view.term
        if self._leaders.setdefault(term, view.name) != view.name:
            raise self._broken(f"{view.name} and {self._leaders[term]} lead in term {term}")
        self.terms = len(self._leaders)
        for index, known in self._committed.items():
            if known.committed_in < term:
                self._must_have(view, index, known)

    def _must_have(self, leader: _View, index: int, known: _Committed) -> None:
        log = leader.log
        if index >= log.next_index or (log.entries[0][1] <= index and log.term_of(index) != known.term):
            raise self._broken(
                f"{leader.name} leads term {leader.term} without the entry {index} of term {known.term}, which was "
                f"committed in term {known.committed_in}"
            )

    def _commits(self, view: _View) -> None:
        log, before, after = view.log, view.commit, view.raft.commit
        view.commit = after
        if after < before:
            raise self._broken(f"{view.name} goes back from commit index {before} to {after}")
        if after >= log.next_index:
            raise self._broken(f"{view.name} commits entry {after}, its log ends at {log.next_index - 1}")
        first = log.entries[0][1]
        if after > max(self._last_committed, 1):
            self._commits_first(view, after)
        for index in range(max(before + 1, first + 1), after + 1):
            command, _, term = log.entries[index - first]
            known = self._committed.get(index)
            if known is None:
                known = self._committed[index] = _Committed(term, command, view.term)
                self._last_committed = max(self._last_committed, index)
                self._note_values(index, command)
                for other in self._views.values():
                    if other.raft.leads and other.term > view.term and not other.disk.dead:
                        self._must_have(other, index, known)
            elif (known.term, known.command) != (term, command):
                raise self._broken(f"{view.name} commits another entry {index} than was committed before")

    def _commits_first(self, view: _View, index: int) -> None:
        """Nobody has committed so far before."""
        term = view.log.term_of(index)
        # A leader may find in the same turn, behind that, that it has not heard of a majority for long.
        if view.led != view.term:
            raise self._broken(f"{view.name} commits entry {index} without leading, and before any leader has")
        if term != view.term:
            raise self._broken(f"{view.name} commits entry {index} of term {term} by counting in term {view.term}")
        voters = view.raft.configuration.voters
        having = [name for name in voters if self._disks[name].durable.has(index, term)]
        if 2 * len(having) <= len(voters):
            raise self._broken(f"{view.name} commits entry {index}, which is on the disks of {having} only")

    def _note_values(self, index: int, command: bytes) -> None:
        if command[:1] == REGULAR:
            for each in decode_group(command[1:]).commands:
                if isinstance(each, Txn):
                    for operation in each.operations:
                        if isinstance(operation, Put):
                            # One that was proposed again may be there twice: the first counts.
                            self._values.setdefault(operation.value, index)

    # Messages.

    def sent(self, sender: str, receiver: str, message: Message) -> None:
        """A member says something: it must be true, and what it promises must be on its disk."""
        durable = self._disks[sender].durable
        kind, term = message.WhichOneof("body"), message.term
        if kind == "request_vote" and message.request_vote.considered:
            return
        if kind == "vote" and message.vote.considered and message.vote.granted:
            return
        if term > durable.term and kind != "hello":
            raise self._broken(f"{sender} says {kind} in term {term}, on its disk is term {durable.term}")
        if kind == "append_entries":
            if self._leaders.setdefault(term, sender) != sender:
                raise self._broken(f"{sender} speaks as leader of term {term}, which is {self._leaders[term]}")
            self.look_at(sender)
            self._offered.update((entry.index, entry.term) for entry in message.append_entries.entries)
            if message.append_entries.commit_index > max(self._last_committed, 1):
                raise self._broken(f"{sender} says that entry {message.append_entries.commit_index} is committed")
        elif kind == "appended" and message.appended.success:
            self._acknowledges(sender, receiver, message)
        elif kind == "request_vote":
            self._votes_for(sender, sender, term)
        elif kind == "vote" and message.vote.granted:
            self._votes_for(sender, receiver, term)
        elif kind == "snapshot_chunk":
            chunk = message.snapshot_chunk
            known = self._committed.get(chunk.last_index)
            if known is None or known.term != chunk.last_term:
                raise self._broken(f"{sender} sends a snapshot of an entry {chunk.last_index} that is not committed")

    def _votes_for(self, voter: str, candidate: str, term: int) -> None:
        if self._votes.setdefault((voter, term), candidate) != candidate:
            raise self._broken(f"{voter} votes for {self._votes[voter, term]} and for {candidate} in term {term}")
        durable = self._disks[voter].durable
        if durable.term == term and durable.voted_for != candidate:
            raise self._broken(f"{voter} votes for {candidate} in term {term}, on its disk is {durable.voted_for}")

    def _acknowledges(self, member: str, leader: str, message: Message) -> None:
        match, durable = message.appended.match_index, self._disks[member].durable
        if match > max(durable.last, durable.covered, 1):
            raise self._broken(f"{member} acknowledges entry {match}, its disk ends at {durable.last}")
        view = self._views.get(leader)
        if view is not None and view.raft.leads and view.term == message.term and match in view.entries:
            term = view.entries[match][2]
            if match > 1 and not durable.has(match, term):
                raise self._broken(f"{member} acknowledges entry {match} of term {term}, on its disk is another")

    # Clients.

    def acknowledges(self, values: Sequence[bytes], revision: int) -> None:
        """A client was told that its txn took place at this revision."""
        self.acknowledged = max(self.acknowledged, revision)
        for value in values:
            index = self._values.get(value)
            if index is None:
                raise self._broken(f"a client was told that {value!r} was written, and no committed entry says so")
            if self._revisions.get(index, 0) < revision:
                raise self._broken(f"a client was told revision {revision} for {value!r}, which is in entry {index}")

    def _happens(self, name: str, revision: int, events: Sequence[Event]) -> None:
        """A member applies a txn."""
        changes = [(event.key, event.value) for event in events]
        if self._events.setdefault(revision, changes) != changes:
            raise self._broken(f"{name} does something else at revision {revision} than a member before it")
        for _, value in changes:
            if value and self._written.setdefault(value, revision) != revision:
                raise self._broken(f"{value!r} is written at revision {self._written[value]} and again at {revision}")

    def delivers(self, after: int, events: Sequence[Event]) -> int:
        """A watch of everything that had all events up to `after` gets these; the revision it has reached."""
        at = 0
        while at < len(events):
            after += 1
            expected = self._events.get(after, ())
            got = [(event.key, event.value) for event in events[at : at + len(expected)]]
            if not expected or events[at].revision != after or got != expected:
                raise self._broken(f"a watch gets {got} of revision {events[at].revision} for revision {after}")
            at += len(expected)
        return after
