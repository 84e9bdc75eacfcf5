"""One engine among others that a test speaks for, message by message: what it must not believe, promise or do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.clock import FakeClock
from orchestrator.store.files import DiskFiles
from orchestrator.store.log import Base, Log
from orchestrator.store.membership import Members, Timing
from orchestrator.store.raft import Raft
from orchestrator.store.v1.raft_pb2 import Appended, AppendEntries, Entry, Message, RequestVote, Vote
from tests.unit.store.test_raft import Nobody

TIMING = Timing(heartbeat=0.1, election=1.0)


class Recorder:
    """A wire that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Message]] = []

    def start(self, receive: object, changed: object, greeter: object) -> None: ...

    def set_peers(self, peers: object) -> None: ...

    def send(self, member: str, message: Message) -> None:
        self.said.append((member, message))

    def connected(self, member: str) -> bool:
        return True

    async def close(self) -> None: ...

    def take(self, kind: str) -> list[tuple[str, Message]]:
        """The messages of that kind since the last look; what else was said is forgotten."""
        said, self.said = self.said, []
        return [(member, message) for member, message in said if message.WhichOneof("body") == kind]


class Engine:
    """The member `a` of a cluster of five, turned by hand on a clock that stands still."""

    def __init__(self, directory: Path, *, new: bool = False) -> None:
        self.clock = FakeClock()
        self.wire = Recorder()
        self.log = Log.open(DiskFiles(), directory, Base())
        self.raft = Raft(
            Members("a", dict.fromkeys("abcde", ""), cluster="test", timing=TIMING),
            self.log,
            Base(),
            lambda command: None,
            wire=self.wire,
            clock=self.clock,
            chance=random.Random(1),
            fresh=lambda id, index: None,
            host=Nobody(),
            new=new,
        )

    def turn(self) -> None:
        self.log.flush()
        self.raft.flushed()
        self.raft.tick()

    def hear(self, member: str, message: Message) -> None:
        self.raft.receive(member, message)

    def stand(self) -> Message:
        """Until it asks for votes in earnest; what it asks."""
        self.clock.advance(2 * TIMING.election)
        self.turn()
        *_, (_, question) = self.wire.take("request_vote")
        for voter in ("b", "c"):
            vote = Vote(granted=True, considered=True)
            self.hear(voter, Message(term=question.term, sequence=question.sequence, vote=vote))
        self.turn()
        (_, request), *_ = self.wire.take("request_vote")
        assert not request.request_vote.considered
        return request

    def lead(self) -> None:
        term = self.stand().term
        for voter in ("b", "c"):
            self.hear(voter, Message(term=term, vote=Vote(granted=True)))
        self.turn()
        assert self.raft.leads

    def offer(self, term: int, previous: tuple[int, int], *entries: tuple[int, int], commit: int = 0) -> Message:
        body = AppendEntries(previous_index=previous[0], previous_term=previous[1], commit_index=commit)
        for index, entry_term in entries:
            body.entries.append(Entry(index=index, term=entry_term, command=b"\x01"))
        return Message(term=term, sequence=7, append_entries=body)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    engine.log.close()


def test_nobody_s_term_grows_before_a_majority_would_elect(engine: Engine) -> None:
    for _ in range(10):
        engine.clock.advance(2 * TIMING.election)
        engine.turn()
    assert engine.log.term == 0
    assert engine.stand().term == 1


def test_a_vote_that_arrives_twice_counts_once(engine: Engine) -> None:
    term = engine.stand().term
    for _ in range(3):
        engine.hear("b", Message(term=term, vote=Vote(granted=True)))
        engine.turn()
    assert engine.raft.leader is None
    engine.hear("c", Message(term=term, vote=Vote(granted=True)))
    assert engine.raft.leader == "a"


def test_an_acknowledgement_of_an_earlier_term_commits_nothing(engine: Engine) -> None:
    engine.lead()
    before, last = engine.raft.commit, engine.log.next_index - 1
    for member in ("b", "c", "d", "e"):
        late = Appended(success=True, match_index=last)
        engine.hear(member, Message(term=engine.log.term - 1, sequence=1, appended=late))
    engine.turn()
    assert engine.raft.commit == before
    for member in ("b", "c"):
        engine.hear(member, Message(term=engine.log.term, appended=Appended(success=True, match_index=last)))
    engine.turn()
    assert engine.raft.commit == last


def test_an_earlier_term_s_entry_on_a_majority_is_committed_only_with_one_of_the_leader_s_own(engine: Engine) -> None:
    """Figure 8 of the Raft paper: one with a later last term could still be elected, and would drop it."""
    engine.hear("b", engine.offer(2, (1, 0), (2, 2)))
    engine.lead()
    own = engine.log.next_index - 1
    assert [(index, term) for _, index, term in engine.log.entries] == [(1, 0), (2, 2), (own, engine.log.term)]
    for member in ("c", "d", "e"):
        engine.hear(member, Message(term=engine.log.term, appended=Appended(success=True, match_index=own - 1)))
    engine.turn()
    assert engine.raft.commit == 1
    for member in ("c", "d"):
        engine.hear(member, Message(term=engine.log.term, appended=Appended(success=True, match_index=own)))
    engine.turn()
    assert engine.raft.commit == own


def test_nothing_is_taken_in_behind_an_entry_of_another_term(engine: Engine) -> None:
    engine.hear("b", engine.offer(1, (1, 0), (2, 1)))
    engine.turn()
    engine.wire.said.clear()
    engine.hear("c", engine.offer(3, (2, 2), (3, 3), commit=3))
    engine.turn()
    ((member, answer),) = engine.wire.take("appended")
    assert (member, answer.appended.success, answer.appended.resume_index) == ("c", False, 2)
    assert ([(index, term) for _, index, term in engine.log.entries], engine.raft.commit) == ([(1, 0), (2, 1)], 1)


def test_a_first_member_that_was_late_votes_once_it_has_all_on_its_disk(tmp_path: Path) -> None:
    engine = Engine(tmp_path, new=True)

    def voted() -> bool:
        engine.clock.advance(2 * TIMING.election)
        engine.wire.said.clear()
        asked = RequestVote(last_index=3, last_term=1, considered=True)
        engine.hear("c", Message(term=2, sequence=1, request_vote=asked))
        return any(message.vote.granted for _, message in engine.wire.take("vote"))

    engine.hear("b", engine.offer(1, (1, 0), (2, 1), (3, 1), commit=2))
    assert not voted(), "its disk may have been lost, and with it what it promised"
    engine.log.flush()
    engine.raft.flushed()
    assert voted()
    engine.log.close()


def test_entries_are_acknowledged_when_they_are_on_the_disk_and_not_before(engine: Engine) -> None:
    engine.hear("b", engine.offer(1, (1, 0), (2, 1), (3, 1)))
    assert engine.wire.take("appended") == []
    engine.log.flush()
    engine.raft.flushed()
    ((member, answer),) = engine.wire.take("appended")
    assert (member, answer.term, answer.sequence) == ("b", 1, 7)
    assert answer.appended == Appended(success=True, match_index=3)


def test_a_late_or_repeated_message_takes_no_entry_away(engine: Engine) -> None:
    engine.hear("b", engine.offer(1, (1, 0), (2, 1), (3, 1), (4, 1)))
    for message in (engine.offer(1, (1, 0), (2, 1)), engine.offer(1, (1, 0)), engine.offer(1, (2, 1), (3, 1))):
        engine.hear("b", message)
        assert engine.log.next_index == 5
    engine.hear("c", engine.offer(2, (2, 1), (3, 2)))
    assert [(index, term) for _, index, term in engine.log.entries] == [(1, 0), (2, 1), (3, 2)]


def test_only_what_agrees_with_the_leader_is_committed(engine: Engine) -> None:
    engine.hear("b", engine.offer(1, (1, 0), (2, 1), (3, 1)))
    engine.hear("c", engine.offer(2, (2, 1), commit=3))
    assert engine.raft.commit == 1, "nothing is on the disk yet"
    engine.turn()
    assert engine.raft.commit == 2, "entry 3 may not be the new leader's"


def test_an_acknowledgement_that_waited_for_the_disk_is_not_given_to_the_next_leader(engine: Engine) -> None:
    engine.hear("b", engine.offer(1, (1, 0), (2, 1)))
    engine.hear("c", engine.offer(2, (1, 0), (2, 2)))
    engine.wire.said.clear()
    engine.log.flush()
    engine.raft.flushed()
    assert [(member, message.term) for member, message in engine.wire.take("appended")] == [("c", 2)]


def test_a_leader_that_hears_from_no_majority_steps_down(engine: Engine) -> None:
    engine.lead()
    engine.clock.advance(TIMING.election / 2)
    engine.hear("b", Message(term=engine.log.term, appended=Appended(success=True, match_index=1)))
    engine.turn()
    assert engine.raft.leader == "a"
    engine.clock.advance(TIMING.election)
    engine.turn()
    assert engine.raft.leader is None


def test_whoever_hears_a_leader_elects_no_other(engine: Engine) -> None:
    engine.hear("b", engine.offer(1, (1, 0)))
    engine.wire.said.clear()
    asked = RequestVote(last_index=9, last_term=1)
    engine.hear("c", Message(term=5, request_vote=asked))
    assert engine.log.term == 1
    assert engine.wire.said == []
    engine.clock.advance(TIMING.election)
    engine.hear("c", Message(term=5, request_vote=asked))
    assert (engine.log.term, engine.log.voted_for) == (5, "c")
    assert [member for member, message in engine.wire.take("vote") if message.vote.granted] == ["c"]


def test_a_member_votes_once_a_term_and_only_for_a_log_that_has_all_it_has(engine: Engine) -> None:
    engine.hear("b", engine.offer(1, (1, 0), (2, 1)))
    engine.turn()
    engine.clock.advance(TIMING.election)
    engine.wire.said.clear()
    engine.hear("c", Message(term=2, request_vote=RequestVote(last_index=9, last_term=0)))
    assert not any(message.vote.granted for _, message in engine.wire.take("vote"))
    engine.hear("d", Message(term=2, request_vote=RequestVote(last_index=2, last_term=1)))
    engine.hear("e", Message(term=2, request_vote=RequestVote(last_index=2, last_term=1)))
    assert [member for member, message in engine.wire.take("vote") if message.vote.granted] == ["d"]


def test_an_old_leader_is_told_the_term(engine: Engine) -> None:
    engine.hear("b", engine.offer(3, (1, 0)))
    engine.wire.said.clear()
    engine.hear("c", engine.offer(2, (1, 0)))
    ((member, answer),) = engine.wire.take("appended")
    assert (member, answer.term, answer.appended.success) == ("c", 3, False)


def test_a_stranger_s_vote_and_acknowledgement_count_for_nothing(engine: Engine) -> None:
    term = engine.stand().term
    for voter in ("b", "x", "y"):
        engine.hear(voter, Message(term=term, vote=Vote(granted=True)))
    assert not engine.raft.leads
    engine.hear("c", Message(term=term, vote=Vote(granted=True)))
    assert engine.raft.replication is not None
    engine.turn()
    before, last = engine.raft.commit, engine.log.next_index - 1
    for member in ("b", "x", "y"):
        engine.hear(member, Message(term=term, appended=Appended(success=True, match_index=last)))
    engine.turn()
    assert engine.raft.commit == before
