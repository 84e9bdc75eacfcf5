"""A store behind its door, called over gRPC and TLS: what the store says, its client says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Never

import grpc.aio
import pytest

from orchestrator.clock import SystemClock
from orchestrator.pki import store_host
from orchestrator.store import (
    Compacted,
    Compare,
    Delete,
    Event,
    FutureRevision,
    InvalidTxn,
    KeyValue,
    NothingWritten,
    Put,
    ReplicatedStore,
    Settings,
    StoreUnavailable,
    TxnResult,
    UnknownLease,
    UnknownMember,
    ValueTooLarge,
    open_store,
)
from orchestrator.store.admin_door import admin_handler
from orchestrator.store.door import DOOR_OPTIONS
from orchestrator.store.errors import StoreRefused
from orchestrator.store.key_value_door import key_value_handler
from orchestrator.store.snapshot import parse_snapshot
from orchestrator.store.store_client import ClientCredentials, Endpoint, StoreClient
from orchestrator.store.v1 import store_pb2 as pb
from tests.integration.store.certificates import Authority

AUTHORITY = Authority()
SERVER = AUTHORITY.member("a")
_CALLER = AUTHORITY.member("caller")
CALLER = ClientCredentials(_CALLER.authority, _CALLER.certificate, _CALLER.key)


class Served:
    """A store, its door's address, and a client of it."""

    def __init__(self, store: ReplicatedStore, server: grpc.aio.Server, port: int) -> None:
        self.store, self.server = store, server
        self.endpoint = Endpoint(f"127.0.0.1:{port}", store_host("a"))
        self.client = StoreClient([self.endpoint], CALLER)

    async def close(self) -> None:
        await self.client.close()
        await self.store.close()
        await self.server.stop(None)


async def serve(directory: Path, *, read_only: bool = False) -> Served:
    store = await open_store(directory, clock=SystemClock(), settings=Settings())
    return Served(store, *await open_door(store, read_only=read_only))


async def open_door(
    store: ReplicatedStore, *, read_only: bool = False, address: str = "127.0.0.1:0"
) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(options=DOOR_OPTIONS)

    async def anybody(_: object) -> None:
        """Everybody is let in."""

    server.add_generic_rpc_handlers(
        (key_value_handler(store, authorize=anybody, read_only=read_only), admin_handler(store, authorize=anybody))
    )
    tls = grpc.ssl_server_credentials([(SERVER.key, SERVER.certificate)], SERVER.authority, require_client_auth=True)
    port = server.add_secure_port(address, tls)
    await server.start()
    return server, port


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    served = await serve(tmp_path / "store")
    yield served
    await served.close()


async def test_what_is_written_is_read_and_what_differs_is_shown(served: Served) -> None:
    client = served.client
    assert await client.get("/a") is None
    first = await client.txn([Compare("/a", 0)], [Put("/a", b"1"), Put("/b", b"")])
    assert (first.succeeded, first.revision, first.conflicts) == (True, 2, ())
    assert await client.get("/a") == KeyValue("/a", b"1", 2, 2)
    refused = await client.txn([Compare("/a", 0), Compare("/c", 7)], [Delete("/a")])
    assert not refused.succeeded
    assert refused.conflicts == (KeyValue("/a", b"1", 2, 2), None)
    await client.txn([], [Delete("/a")])
    assert await client.get("/a") is None
    assert await client.get("/a", revision=2) == KeyValue("/a", b"1", 2, 2)
    assert await client.get("/b", serializable=True) == KeyValue("/b", b"", 2, 2)


async def test_a_range_comes_in_pages_that_are_one_revision(served: Served) -> None:
    client = served.client
    await client.txn([], [Put(f"/k/{number:04}", bytes(64 << 10)) for number in range(100)])
    first = await client.range("/k/")
    assert first.more
    assert first.count == 100
    await client.txn([], [Delete("/k/0099")])
    rest = await client.range("/k/", start_after=first.items[-1].key, revision=first.revision)
    assert [item.key for item in (*first.items, *rest.items)] == [f"/k/{number:04}" for number in range(100)]
    few = await client.range("/k/", limit=3)
    assert (len(few.items), few.more, few.count, few.revision) == (3, True, 99, 3)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([Put("", b"")], InvalidTxn),
        ([Put("/a", b""), Delete("/a")], InvalidTxn),
        ([Put("/a", bytes(3 << 20))], ValueTooLarge),
    ],
)
async def test_a_bad_txn_is_refused_as_the_store_refuses_it(
    served: Served, operations: Sequence[Put | Delete], expected: type[Exception]
) -> None:
    with pytest.raises(expected) as told:
        await served.client.txn([], operations)
    with pytest.raises(expected) as original:
        await served.store.txn([], operations)
    assert str(told.value) == str(original.value)
    assert served.store.status().revision == 1


async def test_revisions_that_cannot_be_read_say_which_can(served: Served) -> None:
    client = served.client
    for number in range(5):
        await client.txn([], [Put("/a", bytes([number]))])
    await client.compact(4)
    with pytest.raises(Compacted) as compacted:
        await client.get("/a", revision=3)
    assert compacted.value.compacted_revision == 4
    with pytest.raises(FutureRevision) as future:
        await client.get("/a", revision=9)
    assert future.value.current == 6
    with pytest.raises(Compacted):
        await anext(client.watch("/", after=1))


async def test_a_watch_shows_everything_once_from_where_it_is_asked(served: Served) -> None:
    client = served.client
    await client.txn([], [Put("/a/1", b"x")])
    watches = [client.watch("/a/", after=1) for _ in range(3)]
    for watch in watches:
        assert await anext(watch) == [Event("/a/1", b"x", 2, None)]
    await client.txn([], [Put("/b", b"not seen")])
    await client.txn([], [Put("/a/2", b""), Delete("/a/1")])
    for watch in watches:
        assert await anext(watch) == [Event("/a/2", b"", 4, None), Event("/a/1", None, 4, None)]
        assert watch.progress == 4
    waiting = asyncio.ensure_future(anext(watches[0]))
    await asyncio.sleep(0)
    watches[0].close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_watch_whose_client_is_closed_by_another_says_so(served: Served) -> None:
    """gRPC would tell it that its own task is cancelled, which it is not."""
    client = served.client
    await client.txn([], [Put("/a", b"x")])
    watch = client.watch("/", after=1)
    await anext(watch)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await client.close()
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable, match="closed"):
            await waiting


async def test_a_read_goes_to_the_next_member_and_a_write_too_when_it_was_not_done(
    served: Served, tmp_path: Path
) -> None:
    nobody = Endpoint("127.0.0.1:1", store_host("x"))
    async with StoreClient([nobody, served.endpoint], CALLER) as client:
        assert (await client.txn([], [Put("/a", b"1")])).revision == 2
    async with StoreClient([nobody, served.endpoint], CALLER) as client:
        assert await client.get("/a") == KeyValue("/a", b"1", 2, 2)
    async with StoreClient([nobody, served.endpoint], CALLER) as client:
        assert await anext(client.watch("/", after=1)) == [Event("/a", b"1", 2, None)]
    async with StoreClient([nobody], CALLER) as client:
        with pytest.raises(NothingWritten):
            await client.txn([], [Put("/a", b"1")])
        with pytest.raises(StoreUnavailable):
            await client.get("/a")
        with pytest.raises(StoreUnavailable):
            await anext(client.watch("/", after=1))


async def test_who_cannot_be_reached_does_not_drown_what_a_member_says(served: Served) -> None:
    def leaderless(*_: object, **__: object) -> Never:
        raise NothingWritten("this member has no leader")

    for method in ("get", "txn", "members", "add_member", "save_snapshot"):
        setattr(served.store, method, leaderless)
    nobody = Endpoint("127.0.0.1:1", store_host("x"))
    for endpoints in ([nobody, served.endpoint], [served.endpoint, nobody]):
        async with StoreClient(endpoints, CALLER) as client:
            for call in (
                client.get("/a"),
                client.txn([], [Put("/a", b"1")]),
                client.members(),
                client.add_member("b", "10.0.0.2:7444"),
                collect(client),
            ):
                with pytest.raises(NothingWritten, match="has no leader"):
                    await call
    async with StoreClient([nobody], CALLER) as client:
        with pytest.raises(StoreUnavailable, match=r"127.0.0.1:1 failed: Failed to connect.*refused$"):
            await client.members()


async def test_a_write_that_is_cut_off_has_an_unknown_fate(tmp_path: Path) -> None:
    served = await serve(tmp_path / "store")
    begun = asyncio.Event()

    async def never(compares: object, operations: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    served.store.txn = never  # type: ignore[method-assign,assignment]
    writing = asyncio.ensure_future(served.client.txn([], [Put("/a", b"1")]))
    await begun.wait()
    await served.server.stop(None)
    with pytest.raises(StoreUnavailable) as failure:
        await writing
    assert not isinstance(failure.value, NothingWritten)
    await served.close()


async def test_a_door_for_reading_writes_nothing(tmp_path: Path) -> None:
    served = await serve(tmp_path / "store", read_only=True)
    await served.store.txn([], [Put("/a", b"1")])
    assert await served.client.get("/a") == KeyValue("/a", b"1", 2, 2)
    with pytest.raises(StoreRefused, match="write through the API"):
        await served.client.txn([], [Put("/a", b"2")])
    with pytest.raises(StoreRefused, match="write through the API"):
        await served.client.compact(2)
    await served.close()


async def test_how_the_member_does_and_who_belongs_to_it(served: Served) -> None:
    await served.client.txn([], [Put("/a", b"123")])
    status = await served.client.status()
    assert (status.member, status.leader, status.revision, status.keys, status.db_size) == ("local", "local", 2, 1, 5)
    for serializable in (True, False):
        members = await served.client.members(serializable=serializable)
        assert members.cluster == status.cluster
        assert [(member.name, member.leader, member.learner) for member in members.members] == [("local", True, False)]
    with pytest.raises(UnknownMember) as told:
        await served.client.remove_member("nobody")
    with pytest.raises(UnknownMember) as original:
        await served.store.remove_member("nobody")
    assert str(told.value) == str(original.value)


async def test_a_snapshot_comes_whole_and_fresh(served: Served) -> None:
    values = {f"/{number:03}": bytes([number]) * 30_000 for number in range(100)}
    for key, value in values.items():
        await served.client.txn([], [Put(key, value)])
        # However often it is asked for, it has everything that was written before.
        if key in ("/010", "/050"):
            await asyncio.gather(*(collect(served.client) for _ in range(2)))
    snapshot = parse_snapshot(await collect(served.client))
    assert {item.key: item.value for item in snapshot.items} == values
    # From a member that is there.
    async with StoreClient([Endpoint("127.0.0.1:1", store_host("x")), served.endpoint], CALLER) as client:
        assert parse_snapshot(await collect(client)).items == snapshot.items


async def collect(client: StoreClient) -> bytes:
    pieces = [piece async for piece in client.save_snapshot()]
    assert [piece.offset for piece in pieces] == [index << 20 for index in range(len(pieces))]
    whole = b"".join(piece.data for piece in pieces)
    assert {piece.size for piece in pieces} == {len(whole)}
    return whole


async def test_a_lease_is_granted_kept_and_ended(served: Served) -> None:
    client = served.client
    lease = await client.grant_lease(60)
    await client.txn([], [Put("/a", b"1", lease)])
    assert await client.get("/a") == KeyValue("/a", b"1", 2, 2, lease)
    assert await client.keep_lease(lease) == 60
    await client.revoke_lease(lease)
    assert await client.get("/a") is None
    with pytest.raises(UnknownLease):
        await client.keep_lease(lease)
    with pytest.raises(UnknownLease):
        await client.txn([], [Put("/a", b"1", lease)])


async def test_more_calls_than_a_stream_takes_at_once_are_all_answered(served: Served) -> None:
    results = await asyncio.gather(*(served.client.txn([], [Put(f"/{number}", bytes(100))]) for number in range(6000)))
    assert sorted(result.revision for result in results) == list(range(2, 6002))
    gets = await asyncio.gather(*(served.client.get(f"/{number}") for number in range(6000)))
    assert all(item is not None for item in gets)


async def test_answers_that_nobody_takes_hold_the_questions_back(served: Served) -> None:
    await served.client.txn([], [Put("/big", bytes(1 << 20))])
    got = await asyncio.gather(*(served.client.get("/big") for _ in range(100)))
    assert {len(item.value) for item in got if item is not None} == {1 << 20}


async def test_a_call_that_is_given_up_does_not_disturb_the_others(served: Served) -> None:
    hanging = asyncio.Event()
    real = served.store.get

    async def get(key: str, *, revision: int = 0, serializable: bool = False) -> KeyValue | None:
        if key == "/hang":
            hanging.set()
            await asyncio.Event().wait()
        return await real(key, revision=revision, serializable=serializable)

    served.store.get = get  # type: ignore[method-assign]
    await served.client.txn([], [Put("/a", b"1")])
    waiting = asyncio.ensure_future(served.client.get("/hang"))
    await hanging.wait()
    waiting.cancel()
    assert await served.client.get("/a") is not None
    async with StoreClient([served.endpoint], CALLER, timeout=0.2) as impatient:
        with pytest.raises(StoreUnavailable, match="in time"):
            await impatient.get("/hang")
        assert await impatient.get("/a") is not None


async def test_a_closed_client_writes_nothing(served: Served) -> None:
    hanging = asyncio.Event()

    async def txn(compares: object, operations: object) -> TxnResult:
        hanging.set()
        await asyncio.Event().wait()
        return TxnResult(True, 1, ())

    served.store.txn = txn  # type: ignore[method-assign]
    client = StoreClient([served.endpoint], CALLER)
    writing = asyncio.ensure_future(client.txn([], [Put("/a", b"1")]))
    await hanging.wait()
    await client.close()
    with pytest.raises(StoreUnavailable) as unknown:
        await writing
    assert not isinstance(unknown.value, NothingWritten)
    with pytest.raises(NothingWritten):
        await client.txn([], [Put("/a", b"1")])


async def test_a_member_that_comes_back_is_used_again(served: Served, tmp_path: Path) -> None:
    await served.client.txn([], [Put("/a", b"1")])
    await served.server.stop(0)
    with pytest.raises(StoreUnavailable):
        await served.client.get("/a")
    again = await open_door(served.store, address=served.endpoint.address)
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await served.client.get("/a") is not None
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
    finally:
        await again[0].stop(None)


async def test_bytes_that_are_no_request_are_refused(served: Served) -> None:
    tls = grpc.ssl_channel_credentials(CALLER.authority, CALLER.key, CALLER.certificate)
    options = (("grpc.ssl_target_name_override", store_host("a")),)
    async with grpc.aio.secure_channel(served.endpoint.address, tls, options=options) as channel:
        for method in ("Get", "Range", "Txn", "Compact"):
            call = channel.unary_unary(f"/{pb.DESCRIPTOR.package}.KeyValues/{method}")  # type: ignore[call-arg]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"\xff\xff")
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
