"""Members that come, go, move and are replaced over real gRPC and TLS, and those that are turned away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import MemberNotReady, Members, Put, StoreUnavailable, WrongIdentity, open_store
from orchestrator.store.grpc_wire import Credentials, GrpcWire
from tests.integration.store.certificates import Authority
from tests.integration.store.test_members import AUTHORITY, NAMES, TIMING, Trio


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[Trio]:
    trio = Trio(tmp_path)
    yield trio
    for name in list(trio.stores):
        await trio.stop(name)


async def promote(trio: Trio, by: str, name: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await trio.stores[by].promote_member(name)
                return
            except MemberNotReady:
                await asyncio.sleep(0.02)


async def revision(trio: Trio, name: str) -> int:
    return (await trio.stores[name].range("/")).revision


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")], ids=["called by the first", "called by the last"])
async def test_a_lone_member_takes_in_another_that_knows_nobody(trio: Trio, names: tuple[str, str]) -> None:
    first, second = names
    await trio.start(first, initial=[first])
    for number in range(20):
        await trio.stores[first].txn([], [Put(f"/{number}", b"")])
    await trio.start(second, join=True)
    listing = await trio.stores[first].add_member(second, trio.address(second))
    assert [(each.name, each.learner) for each in listing.members] == [(first, False), (second, True)]
    await promote(trio, first, second)
    async with asyncio.timeout(20):
        await trio.stores[second].wait_ready()
    assert await revision(trio, second) == 21
    assert (await trio.stores[second].members()).cluster == listing.cluster
    await trio.stores[second].transfer_leadership(second)
    await trio.stores[second].remove_member(first)
    async with asyncio.timeout(20):
        assert "no member of this store any more" in await trio.stores[first].wait_failed()
    await trio.stop(first)
    assert (await trio.stores[second].txn([], [Put("/after", b"")])).revision == 22
    await trio.stop(second)
    await trio.start(second, initial=[second])
    assert await revision(trio, second) == 22


async def test_a_lone_member_without_an_address_is_not_called_but_calls(trio: Trio, tmp_path: Path) -> None:
    wire = GrpcWire("b", listen="127.0.0.1:0", credentials=AUTHORITY.member("b"), clock=SystemClock())
    await wire.open()
    trio.stores["b"] = await open_store(
        tmp_path / "b", clock=SystemClock(), members=Members("b", timing=TIMING), wire=wire
    )
    await trio.start("a", join=True)
    await trio.stores["b"].add_member("a", trio.address("a"))
    await promote(trio, "b", "a")
    await trio.stores["b"].txn([], [Put("/a", b"")])
    assert await revision(trio, "a") == 2


async def test_a_member_restarts_at_a_new_address(trio: Trio) -> None:
    for name in NAMES:
        await trio.start(name)
    leader = await trio.leader()
    for moved in sorted(set(NAMES) - {leader}):
        await trio.stop(moved)
        trio.move(moved)
        await trio.start(moved)
        await trio.stores[leader].move_member(moved, trio.address(moved))
        async with asyncio.timeout(20):
            await trio.stores[moved].wait_ready()
    await trio.stores[leader].txn([], [Put("/a", b"")])
    assert {await revision(trio, name) for name in NAMES} == {2}
    addresses = {each.name: each.address for each in (await trio.stores[leader].members()).members}
    assert addresses == {name: trio.address(name) for name in NAMES}


async def test_a_dead_member_is_replaced_and_its_former_self_is_told(trio: Trio, tmp_path: Path) -> None:
    for name in NAMES:
        await trio.start(name)
    leader = await trio.leader()
    dead = next(name for name in NAMES if name != leader)
    await trio.stop(dead)
    await trio.stores[leader].txn([], [Put("/a", b"")])
    await trio.stores[leader].remove_member(dead)
    (tmp_path / dead).rename(tmp_path / "kept")
    trio.move(dead)
    await trio.start(dead, join=True)
    await trio.stores[leader].add_member(dead, trio.address(dead))
    await promote(trio, leader, dead)
    assert await revision(trio, dead) == 2
    await trio.stop(dead)
    trio.wipe(dead)
    (tmp_path / "kept").rename(tmp_path / dead)
    await trio.start(dead)
    async with asyncio.timeout(20):
        assert "no member of this store any more" in await trio.stores[dead].wait_failed()


async def test_a_voter_that_comes_back_with_an_empty_directory_is_not_let_in(
    trio: Trio, caplog: pytest.LogCaptureFixture
) -> None:
    for name in NAMES:
        await trio.start(name)
    leader = await trio.leader()
    lost = next(name for name in NAMES if name != leader)
    await trio.stop(lost)
    trio.wipe(lost)
    await trio.start(lost, join=True)
    async with asyncio.timeout(20):
        while "comes with an empty directory" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert not (await trio.stores[lost].members(serializable=True)).members
    await trio.stores[leader].remove_member(lost)
    await trio.stores[leader].add_member(lost, trio.address(lost))
    await promote(trio, leader, lost)
    await trio.stores[lost].wait_ready()


async def test_a_member_of_another_cluster_is_told_so(trio: Trio, caplog: pytest.LogCaptureFixture) -> None:
    await trio.start("a")
    await trio.start("b", cluster="other")
    async with asyncio.timeout(20):
        while "belongs to the cluster" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert trio.stores["a"].status().leader is None
    await trio.stop("b")
    with pytest.raises(WrongIdentity, match="belongs to the cluster other, not to test"):
        await trio.start("b")
    await trio.wires.pop("b").close()


@pytest.mark.parametrize(
    ("credentials", "why"),
    [
        (Authority().member("a"), "not of the cluster's authority"),
        (AUTHORITY.member("a", life=timedelta(minutes=-1)), "is valid from .* only"),
        (AUTHORITY.member("b"), "is for 'system:store:b'"),
        (AUTHORITY.member("a", common_name="system:node:a"), "is for 'system:node:a'"),
        (Credentials(b"", b"", b""), "cannot be used"),
    ],
    ids=["another authority's", "expired", "another member's", "another role's", "none"],
)
async def test_a_member_with_a_useless_certificate_does_not_start(credentials: Credentials, why: str) -> None:
    shown = Credentials(AUTHORITY.member("a").authority, credentials.certificate, credentials.key)
    wire = GrpcWire("a", listen="127.0.0.1:0", credentials=shown, clock=SystemClock())
    with pytest.raises(StoreUnavailable, match=why):
        await wire.open()
