"""Three members over real gRPC and TLS, each with a real disk: they agree, and let nobody else in."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import grpc.aio
import pytest

from orchestrator.clock import SystemClock
from orchestrator.pki import store_host
from orchestrator.store import Put, ReplicatedStore, open_store
from orchestrator.store.greeting import VERSION
from orchestrator.store.grpc_wire import Credentials, GrpcWire
from orchestrator.store.membership import Members, Timing
from orchestrator.store.v1.peers_pb2_grpc import PeersStub
from orchestrator.store.v1.raft_pb2 import AppendEntries, Hello, Message
from tests.integration.store.certificates import Authority

TIMING = Timing(heartbeat=0.1, election=0.8, patience=10.0)
AUTHORITY = Authority()
NAMES = ("a", "b", "c")


class Trio:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ports = {name: _free_port() for name in NAMES}
        self.stores: dict[str, ReplicatedStore] = {}
        self.wires: dict[str, GrpcWire] = {}

    async def start(
        self,
        name: str,
        *,
        cluster: str = "test",
        credentials: Credentials | None = None,
        initial: Sequence[str] = NAMES,
        join: bool = False,
    ) -> None:
        """`join`: with an empty directory, to be taken in; else as one of the `initial` members."""
        self.ports.setdefault(name, _free_port())
        wire = GrpcWire(
            name,
            listen=f"127.0.0.1:{self.ports[name]}",
            credentials=credentials or AUTHORITY.member(name),
            clock=SystemClock(),
        )
        await wire.open()
        self.wires[name] = wire
        if join:
            members = Members(name, join=True, timing=TIMING)
        else:
            addresses = {each: self.address(each) for each in initial}
            members = Members(name, addresses, cluster=cluster, timing=TIMING)
        self.stores[name] = await open_store(self._directory / name, clock=SystemClock(), members=members, wire=wire)

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def move(self, name: str) -> None:
        """From its next start on it answers somewhere else."""
        self.ports[name] = _free_port()

    def wipe(self, name: str) -> None:
        shutil.rmtree(self._directory / name)

    async def stop(self, name: str) -> None:
        await self.stores.pop(name).close()

    async def leader(self) -> str:
        await next(iter(self.stores.values())).wait_ready()
        while True:
            for name, store in self.stores.items():
                if store.status().is_leader:
                    return name
            await asyncio.sleep(0.02)

    def channel(self, to: str, credentials: Credentials) -> grpc.aio.Channel:
        tls = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
        override = (("grpc.ssl_target_name_override", store_host(to)),)
        return grpc.aio.secure_channel(f"127.0.0.1:{self.ports[to]}", tls, options=override)


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[Trio]:
    trio = Trio(tmp_path)
    yield trio
    for name in list(trio.stores):
        await trio.stop(name)


async def test_members_agree_survive_their_leader_and_take_it_back(trio: Trio) -> None:
    for name in NAMES:
        await trio.start(name)
    leader = await trio.leader()
    revisions = await asyncio.gather(
        *(trio.stores[name].txn([], [Put(f"/{name}/{number}", bytes(500))]) for name in NAMES for number in range(50))
    )
    assert sorted(result.revision for result in revisions) == list(range(2, 152))
    await trio.stop(leader)
    rest = [name for name in NAMES if name != leader]
    assert (await trio.stores[rest[0]].txn([], [Put("/after", b"")])).revision == 152
    assert len((await trio.stores[rest[1]].range("/")).items) == 151
    await trio.start(leader)
    await trio.stores[leader].wait_ready()
    assert (await trio.stores[leader].range("/")).revision == 152


async def test_a_large_value_reaches_everybody(trio: Trio) -> None:
    for name in NAMES:
        await trio.start(name)
    await trio.leader()
    values = {f"/{number}": bytes([number]) * (3 << 19) for number in range(4)}
    await asyncio.gather(*(trio.stores["c"].txn([], [Put(key, value)]) for key, value in values.items()))
    for name in NAMES:
        assert {item.key: item.value for item in (await trio.stores[name].range("/")).items} == values


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (Authority().member("b"), grpc.StatusCode.UNAVAILABLE),
        (AUTHORITY.member("b", life=timedelta(minutes=-1)), grpc.StatusCode.UNAVAILABLE),
        (AUTHORITY.member("b", common_name="system:node:b"), grpc.StatusCode.PERMISSION_DENIED),
        (AUTHORITY.member("x"), grpc.StatusCode.PERMISSION_DENIED),
    ],
    ids=["another authority", "expired", "not a member's certificate", "a member of something else"],
)
async def test_whoever_is_no_member_is_not_heard(
    trio: Trio, credentials: Credentials, expected: grpc.StatusCode
) -> None:
    await trio.start("a")
    real = AUTHORITY.member("b")
    shown = Credentials(real.authority, credentials.certificate, credentials.key)
    async with trio.channel("a", shown) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            name = "x" if expected == grpc.StatusCode.PERMISSION_DENIED else "b"
            await _speak(channel, Hello(cluster="test", member=name, version=VERSION))
    assert caught.value.code() == expected
    assert trio.stores["a"].status().leader is None


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (Hello(cluster="other", member="b", version=VERSION), "belongs to the cluster 'other'"),
        (Hello(cluster="test", member="c", version=VERSION), "its certificate is that of 'b'"),
        (Hello(cluster="test", member="b", version=99), "speaks version 99"),
    ],
    ids=["another cluster", "another name", "another version"],
)
async def test_a_wrong_greeting_is_answered_with_what_is_wrong(trio: Trio, hello: Hello, why: str) -> None:
    await trio.start("a")
    async with trio.channel("a", AUTHORITY.member("b")) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match=why):
            await _speak(channel, hello)


async def test_a_pickle_on_the_wire_is_not_even_parsed(trio: Trio, tmp_path: Path) -> None:
    await trio.start("a")
    trap = tmp_path / "sprung"
    pickled = pickle.dumps(_Trap(trap))
    async with trio.channel("a", AUTHORITY.member("b")) as channel:
        raw = channel.stream_stream("/navarch.store.v1.Peers/Exchange")  # type: ignore[call-arg]  # plain bytes

        async def requests() -> AsyncIterator[bytes]:
            yield Message(hello=Hello(cluster="test", member="b", version=VERSION)).SerializeToString()
            yield pickled

        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in raw(requests()):
                pass
    assert not trap.exists()


class _Trap:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (str(self._path),)


async def _speak(channel: grpc.aio.Channel, hello: Hello) -> None:
    """Greet, and where that is answered, claim to lead a later term."""
    call = PeersStub(channel).Exchange()  # type: ignore[call-arg]  # it is written to below
    await call.write(Message(hello=hello))
    if await call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]
        await call.write(Message(term=99, append_entries=AppendEntries()))
        await call.done_writing()
        await call.read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
