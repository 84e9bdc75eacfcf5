"""A member that says nonsense: whatever it says, the others drop it or bear it, and none of them stops.

What cannot be defended is said in `plausible`: lies that could be true.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.store import Put
from orchestrator.store.command import Origin, encode_group
from orchestrator.store.configurations import CHANGE, encode_configuration
from orchestrator.store.membership import Configuration, MemberInfo
from orchestrator.store.plausible import LARGEST, implausible
from orchestrator.store.v1.raft_pb2 import (
    Appended,
    AppendEntries,
    Entry,
    MemberReply,
    MemberRequest,
    Message,
    Proposal,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    SnapshotChunk,
    SnapshotReceived,
    TimeoutNow,
    Vote,
)
from tests.unit.store.cluster.cluster import TIMING, Cluster
from tests.unit.store.cluster.virtual_time import run

HUGE = 1 << 64
numbers = st.one_of(
    st.integers(0, 12),
    st.sampled_from([(1 << 31) - 1, 1 << 32, LARGEST - 1, LARGEST, LARGEST + 1, (1 << 63) - 1, 1 << 63, HUGE - 1]),
)
group = encode_group(Origin("c", 7, 1, 1), [])
commands = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"\x01", b"\x00", b"\x00" + group, b"\x00" + group + b"\x01\xff\xff", b"\x00" + pickle.dumps(1)]
    ),
    st.binary(max_size=40).map(lambda rest: b"\x00" + group + rest),
    st.binary(max_size=40).map(lambda rest: CHANGE + rest),
    st.integers(1, 9).map(
        lambda index: CHANGE + encode_configuration(Configuration((MemberInfo("c", "c"), MemberInfo("a", "a")), index))
    ),
)
flags = st.booleans()
bodies = st.one_of(
    st.builds(
        AppendEntries,
        previous_index=numbers,
        previous_term=numbers,
        commit_index=numbers,
        since=numbers,
        entries=st.lists(st.builds(Entry, index=numbers, term=numbers, command=commands), max_size=4),
    ),
    st.builds(Appended, success=flags, match_index=numbers, resume_index=numbers, full=flags),
    st.builds(RequestVote, last_index=numbers, last_term=numbers, considered=flags, transfer=flags, since=numbers),
    st.builds(Vote, granted=flags, considered=flags),
    st.builds(Proposal, command=commands.map(lambda command: command[1:])),
    st.builds(ReadIndex, id=numbers),
    st.builds(ReadIndexReply, id=numbers, index=numbers),
    st.just(TimeoutNow()),
    st.builds(
        SnapshotChunk,
        last_index=numbers,
        last_term=numbers,
        offset=numbers,
        data=st.binary(max_size=64),
        checksum=st.integers(0, (1 << 32) - 1),
        size=numbers,
    ),
    st.builds(SnapshotReceived, last_index=numbers, offset=numbers),
    st.builds(
        MemberRequest, id=numbers, kind=st.integers(0, 9), name=st.text(max_size=400), address=st.text(max_size=9)
    ),
    st.builds(MemberReply, id=numbers, error=st.text(max_size=9), text=st.text(max_size=9)),
)
FIELDS = {
    AppendEntries: "append_entries",
    Appended: "appended",
    RequestVote: "request_vote",
    Vote: "vote",
    Proposal: "proposal",
    ReadIndex: "read_index",
    ReadIndexReply: "read_index_reply",
    TimeoutNow: "timeout_now",
    SnapshotChunk: "snapshot_chunk",
    SnapshotReceived: "snapshot_received",
    MemberRequest: "member_request",
    MemberReply: "member_reply",
}
messages = st.builds(
    lambda term, sequence, body: Message(term=term, sequence=sequence, **{FIELDS[type(body)]: body}),
    numbers,
    numbers,
    bodies,
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=st.lists(messages, min_size=1, max_size=25))
def test_no_message_stops_a_member(said: list[Message]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        run(_hears(Path(directory), said))


async def _hears(directory: Path, said: list[Message]) -> None:
    """Two members hear everything that the third, which has gone mad, says, in the middle of their work."""
    logging.disable(logging.CRITICAL)
    cluster = Cluster(directory, 3, 1, watched=False)
    try:
        await cluster.start()
        async with asyncio.timeout(60):
            await cluster.stores[await cluster.leader()].txn([], [Put("/a", b"")])
            await cluster.settle()
        cluster.kill("c")
        for message in said:
            for name in ("a", "b"):
                cluster.stores[name]._receive("c", Message.FromString(message.SerializeToString()))
            await asyncio.sleep(0.01)
        await asyncio.sleep(4 * TIMING.election)
        for name in ("a", "b"):
            # That it was removed is what a member must believe another.
            assert "was removed" in (cluster.stores[name].status().failure or "was removed")
            # What was acknowledged is still there, whatever was claimed since.
            assert cluster.stores[name]._state.get("/a") is not None
    finally:
        await cluster.close()
        logging.disable(logging.NOTSET)


def test_a_term_at_the_end_of_64_bits_is_not_believed() -> None:
    async def scenario(directory: Path) -> None:
        cluster = Cluster(directory, 3, 1)
        await cluster.start()
        leader = await cluster.leader()
        term = cluster.stores[leader].status().term
        for name in cluster.names:
            for body in ({"request_vote": RequestVote(transfer=True)}, {"append_entries": AppendEntries()}):
                for hostile in (1 << 63, HUGE - 1, LARGEST + 1):
                    cluster.stores[name]._receive(cluster.followers(name)[0], Message(term=hostile, **body))
        await asyncio.sleep(1)
        assert cluster.stores[leader].status().term == term
        await cluster.close()

    with tempfile.TemporaryDirectory() as directory:
        run(scenario(Path(directory)))


OFFER = AppendEntries(previous_index=4, previous_term=2, entries=[Entry(index=5, term=3, command=b"\x01")])


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Message(term=3, append_entries=OFFER), ""),
        (Message(term=2, append_entries=OFFER), "term 3"),
        (Message(term=LARGEST + 1, append_entries=OFFER), "its term is"),
        (Message(term=3, sequence=HUGE - 1, append_entries=OFFER), "its number"),
        (Message(term=0, append_entries=AppendEntries()), "nobody leads term 0"),
        (Message(term=3, append_entries=AppendEntries(previous_index=3, entries=OFFER.entries)), "follows entry 3"),
        (Message(term=3, append_entries=AppendEntries(commit_index=1 << 63)), "has an entry"),
        (Message(term=3, append_entries=AppendEntries(entries=[Entry(index=5, term=3)])), "unknown kind none"),
        (
            Message(term=3, append_entries=AppendEntries(entries=[Entry(index=5, term=3, command=b"\x00\x80")])),
            "unknown version 80",
        ),
        (Message(term=3, appended=Appended(success=True, match_index=11)), "up to entry 11"),
        (Message(term=3, appended=Appended(success=True, match_index=10)), ""),
        (Message(term=3, request_vote=RequestVote(last_index=9, last_term=3)), "before term 3"),
        (Message(term=3, proposal=Proposal(command=pickle.dumps(1))), "its proposal is none"),
        (Message(term=3, proposal=Proposal(command=group + b"\x01")), "its proposal is none"),
        (Message(term=3, proposal=Proposal(command=group)), ""),
        (Message(term=3, snapshot_chunk=SnapshotChunk(last_index=1, offset=9, data=b"12", size=10)), "at 9"),
        (Message(term=3, snapshot_chunk=SnapshotChunk(last_index=1, offset=HUGE - 1, data=b"12", size=9)), "at"),
        (Message(term=3, snapshot_chunk=SnapshotChunk(last_index=0, size=9)), "of entry 0"),
        (Message(term=3, member_request=MemberRequest(name="x" * 300)), "endless"),
    ],
)
def test_what_is_implausible(message: Message, why: str) -> None:
    found = implausible(message, 10)
    assert why in found
    assert bool(found) == bool(why)
