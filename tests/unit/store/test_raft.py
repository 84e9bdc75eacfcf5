"""The engine over the journal: commit, apply and acknowledge only what is on the disk, and never unpickle."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pysyncobj.syncobj
import pytest

from orchestrator.clock import SystemClock
from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.files import DiskFiles
from orchestrator.store.journal import DurableJournal
from orchestrator.store.log import Base, Log
from orchestrator.store.membership import Members
from orchestrator.store.raft import Raft
from orchestrator.store.replication import Peer, Replication
from orchestrator.store.segment import recover
from orchestrator.store.v1.raft_pb2 import SnapshotChunk, SnapshotReceived
from orchestrator.store.wire import NoWire

FILES = DiskFiles()


class Nobody:
    """Helps nobody: there is nobody else."""

    def lagging(self, replication: Replication, peer: Peer) -> None: ...

    def chunk(self, leader: str, chunk: SnapshotChunk) -> None: ...

    def received(self, member: str, answer: SnapshotReceived) -> None: ...

    def reconfigured(self) -> None: ...

    def began(self) -> None: ...

    def joined(self, since: int) -> None: ...


class Member:
    """A lone member, turned by hand, that notes what was applied."""

    def __init__(self, directory: Path, base: Base | None = None) -> None:
        self.log = Log.open(FILES, directory, base or Base())
        self.applied: list[bytes] = []
        self.raft = Raft(
            Members("n1"),
            self.log,
            base or Base(),
            self.applied.append,
            wire=NoWire(),
            clock=SystemClock(),
            chance=random.Random(1),
            fresh=lambda id, index: None,
            host=Nobody(),
        )

    def turn(self) -> None:
        self.raft.tick()
        self.log.flush()

    def settle(self) -> None:
        deadline = time.monotonic() + 10
        while not self.raft.settled():
            assert time.monotonic() < deadline
            self.turn()


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every commit index as it was set, each held against the disk at that moment."""
    seen: list[int] = []
    real = DurableJournal.setRaftCommitIndex

    def check(journal: DurableJournal, index: int) -> None:
        assert recover(FILES, tmp_path).next_index > index, f"entry {index} was committed before it was on the disk"
        seen.append(index)
        real(journal, index)

    monkeypatch.setattr(DurableJournal, "setRaftCommitIndex", check)
    yield seen


def test_nothing_is_committed_before_it_is_on_the_disk(tmp_path: Path, committed: list[int]) -> None:
    for start in range(3):
        member = Member(tmp_path)
        member.settle()
        for number in range(5):
            member.raft.propose(b"%d" % number)
            member.turn()
        member.settle()
        assert len(member.applied) == 5 * (start + 1), "the log is applied from its beginning at each start"
        member.log.close()
    assert committed[-1] == recover(FILES, tmp_path).next_index - 1


def test_a_term_and_its_vote_are_on_the_disk_when_the_election_is_over(tmp_path: Path) -> None:
    member = Member(tmp_path)
    while member.log.term == 0:
        member.raft.tick()
    found = recover(FILES, tmp_path)
    assert (found.term, found.voted_for) == (1, "n1")


def test_what_is_proposed_is_applied_once_and_in_order_by_the_tick_after_its_flush(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.settle()
    for number in range(3):
        member.raft.propose(b"%d" % number)
    member.turn()
    assert member.applied == []
    member.turn()
    assert member.applied == [b"0", b"1", b"2"]
    member.settle()
    assert member.applied == [b"0", b"1", b"2"]


def test_behind_a_snapshot_only_the_rest_is_applied(tmp_path: Path) -> None:
    member = Member(tmp_path)
    member.settle()
    for number in range(6):
        member.raft.propose(b"%d" % number)
        member.turn()
    member.settle()
    base = Base(member.raft.applied().index - 2, member.log.term)
    member.log.close()
    again = Member(tmp_path, base)
    again.settle()
    assert again.applied == [b"4", b"5"]


def test_the_engine_has_no_pickle() -> None:
    with pytest.raises(StoreCorrupt, match="nothing here reads pickles"):
        pysyncobj.syncobj.pickle.loads(b"")
    with pytest.raises(StoreCorrupt, match="nothing here writes pickles"):
        pysyncobj.syncobj.pickle.dumps(1)
