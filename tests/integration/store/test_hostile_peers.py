"""What somebody at a member's port can do to it: strangers nothing, a member gone mad nothing that stops it.

The third of three members is played by the test, with a real certificate, over a real stream: it says what no member
would, floods, or does not listen. The other two must go on, in bounded memory.
"""

from __future__ import annotations

import asyncio
import pickle
import resource
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from orchestrator.store import Put
from orchestrator.store.greeting import VERSION
from orchestrator.store.grpc_wire import QUEUE_BYTES
from orchestrator.store.v1.peers_pb2_grpc import PeersStub
from orchestrator.store.v1.raft_pb2 import (
    Appended,
    AppendEntries,
    Entry,
    Hello,
    MemberRequest,
    Message,
    Proposal,
    ReadIndexReply,
    RequestVote,
    SnapshotChunk,
    TimeoutNow,
    Vote,
)
from tests.integration.store.test_members import AUTHORITY, NAMES, Trio

HUGE = (1 << 64) - 1


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[Trio]:
    """Two members at work; the third is the test's."""
    trio = Trio(tmp_path)
    for name in NAMES[:2]:
        await trio.start(name)
    await trio.leader()
    yield trio
    for name in list(trio.stores):
        await trio.stop(name)


class Trap:
    """A pickle of it makes a directory when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.mkdir, (self._path,)


@asynccontextmanager
async def stream(trio: Trio, to: str) -> AsyncIterator[grpc.aio.StreamStreamCall[Message, Message]]:
    """A stream of the third member's, greeted."""
    async with trio.channel(to, AUTHORITY.member("c")) as channel:
        call = PeersStub(channel).Exchange()  # type: ignore[call-arg]  # it is written to below
        await call.write(Message(hello=Hello(cluster="test", member="c", version=VERSION, since=1)))
        assert isinstance(await call.read(), Message)
        yield call


async def goes_on(trio: Trio) -> None:
    """Both members are there, and a write and a fresh read work on each."""
    for name in trio.stores:
        async with asyncio.timeout(30):
            await trio.stores[name].txn([], [Put(f"/after/{name}", b"")])
            assert await trio.stores[name].get(f"/after/{name}") is not None
        assert trio.stores[name].status().failure is None


@pytest.mark.parametrize("usage", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING])
async def test_a_certificate_for_another_use_opens_nothing(trio: Trio, usage: object) -> None:
    wrong = AUTHORITY.member("c", usage=usage)  # type: ignore[arg-type]  # cryptography's constants are its class
    async with trio.channel("a", wrong) as channel:
        call = PeersStub(channel).Exchange()  # type: ignore[call-arg]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.write(Message(hello=Hello(cluster="test", member="c", version=VERSION, since=1)))
            await call.read()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    await goes_on(trio)


async def test_a_pickle_to_the_port_runs_nothing(trio: Trio, tmp_path: Path) -> None:
    """As PySyncObj's own transport would send it, bare, and in a message's every place for bytes."""
    trap = tmp_path / "sprung"
    pickled = pickle.dumps(Trap(trap))
    compressed = zlib.compress(pickled)
    for data in (pickled, struct.pack("i", len(compressed)) + compressed):
        reader, writer = await asyncio.open_connection("127.0.0.1", trio.ports["a"])
        writer.write(data)
        async with asyncio.timeout(30):
            # It is no TLS: the door hangs up.
            await reader.read()
        writer.close()
    async with stream(trio, "a") as call:
        for message in (
            Message(term=HUGE >> 3, append_entries=AppendEntries(entries=[Entry(index=1, term=1, command=pickled)])),
            Message(term=1, proposal=Proposal(command=pickled)),
            Message(term=1, proposal=Proposal(command=b"\x03" + pickled)),
            Message(term=1, snapshot_chunk=SnapshotChunk(last_index=9, data=pickled, size=len(pickled))),
            Message(term=1, member_request=MemberRequest(name=repr(pickled), address=repr(pickled))),
        ):
            await call.write(message)
        await call.done_writing()
        await call.read()
    await goes_on(trio)
    assert not trap.exists()


NONSENSE: Sequence[Message] = (
    Message(),
    Message(term=HUGE, sequence=HUGE, append_entries=AppendEntries()),
    Message(term=1 << 63, request_vote=RequestVote(transfer=True)),
    Message(term=HUGE, vote=Vote(granted=True)),
    Message(term=HUGE, vote=Vote(granted=False)),
    Message(term=1, append_entries=AppendEntries(previous_index=HUGE, previous_term=HUGE, commit_index=HUGE)),
    Message(term=1, append_entries=AppendEntries(commit_index=HUGE, entries=[Entry()] * 100)),
    Message(term=1, append_entries=AppendEntries(entries=[Entry(index=HUGE, term=1, command=b"\x00\x03")])),
    Message(term=1, appended=Appended(success=True, match_index=HUGE)),
    Message(term=2, appended=Appended(success=True, match_index=1 << 61)),
    Message(term=1, appended=Appended(success=False, resume_index=HUGE)),
    Message(term=1, proposal=Proposal()),
    Message(term=1, proposal=Proposal(command=b"\x00" * 100)),
    Message(term=1, read_index_reply=ReadIndexReply(id=HUGE, index=HUGE)),
    Message(term=1, snapshot_chunk=SnapshotChunk(last_index=5, offset=HUGE, size=HUGE, data=b"x")),
    Message(term=1, snapshot_chunk=SnapshotChunk(last_index=HUGE, size=HUGE)),
    Message(term=1, member_request=MemberRequest(id=HUGE, kind=77, name="x" * 100_000)),  # type: ignore[arg-type]
    Message(term=1, timeout_now=TimeoutNow()),
    Message(hello=Hello(cluster="again", member="z", version=7)),
)


async def test_nonsense_from_a_member_stops_nobody(trio: Trio) -> None:
    for name in trio.stores:
        async with stream(trio, name) as call:
            for message in [*NONSENSE, *reversed(NONSENSE), *NONSENSE]:
                await call.write(message)
            await call.done_writing()
            while isinstance(await call.read(), Message):
                pass
    await goes_on(trio)


async def test_a_member_that_does_not_listen_is_not_waited_for_and_costs_little(trio: Trio) -> None:
    leader = await trio.leader()
    async with stream(trio, leader):
        before = _resident()
        for number in range(100):
            await trio.stores[leader].txn([], [Put("/big", bytes([number]) * (1 << 20))])
        line = trio.wires[leader]._lines["c"]
        assert line._bytes <= QUEUE_BYTES // 2
        assert _resident() - before < 300 << 20
    await goes_on(trio)


async def test_a_flood_from_a_member_is_borne_in_bounded_memory(trio: Trio) -> None:
    leader = await trio.leader()
    before = _resident()
    async with stream(trio, leader) as call:
        junk = Message(term=1, proposal=Proposal(command=bytes(8 << 20)))
        votes = Message(term=1, request_vote=RequestVote(last_index=9, last_term=9, considered=True))
        for number in range(60):
            await call.write(junk if number % 2 else votes)
        assert _resident() - before < 300 << 20
        await goes_on(trio)


def _resident() -> int:
    """Bytes that this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
