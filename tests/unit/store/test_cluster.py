"""Several members as one store: elections, forwarding, fresh reads, and what a cut or a kill does to them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from orchestrator.store import Compacted, Compare, Put, Settings, StoreUnavailable
from orchestrator.store.v1.raft_pb2 import Message
from tests.unit.store.cluster.cluster import TIMING, Cluster
from tests.unit.store.cluster.virtual_time import run

Scenario = Callable[[Cluster], Coroutine[None, None, None]]


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[..., None]:
    """Run a scenario on a fresh cluster in virtual time."""

    def simulate(scenario: Scenario, *, size: int = 3, seed: int = 1, settings: Settings | None = None) -> None:
        async def everything() -> None:
            cluster = Cluster(tmp_path, size, seed, settings=settings)
            await cluster.start()
            try:
                async with asyncio.timeout(600):
                    await scenario(cluster)
            finally:
                await cluster.close()

        run(everything())

    return simulate


_NUMBERS = itertools.count()


async def put(cluster: Cluster, member: str, key: str, value: bytes = b"") -> int:
    """Where the value does not matter it is one of its own: the witness knows a write by its value."""
    value = value or b"value-%d" % next(_NUMBERS)
    return (await cluster.stores[member].txn([], [Put(key, value)])).revision


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_write_on_any_member_is_read_fresh_on_every_member(simulate: Callable[..., None], size: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.leader()
        for number, writer in enumerate(cluster.names):
            assert await put(cluster, writer, "/a", b"%d" % number) == number + 2
            for reader in cluster.names:
                found = await cluster.stores[reader].get("/a")
                assert found is not None
                assert found.value == b"%d" % number

    simulate(scenario, size=size)


def test_concurrent_writes_on_all_members_have_dense_revisions(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        revisions = await asyncio.gather(
            *(put(cluster, name, f"/{name}/{number}") for name in cluster.names for number in range(100))
        )
        assert sorted(revisions) == list(range(2, 302))

    simulate(scenario)


def test_one_of_many_creations_on_all_members_wins(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        results = await asyncio.gather(
            *(cluster.stores[name].txn([Compare("/a", 0)], [Put("/a", name.encode())]) for name in cluster.names * 5)
        )
        assert sum(result.succeeded for result in results) == 1

    simulate(scenario)


def test_a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        for number in range(5):
            leader = await cluster.leader()
            writer = cluster.followers(leader)[0]
            await put(cluster, writer, f"/{number}")
            cluster.kill(leader)
            began = cluster.clock.monotonic()
            await put(cluster, writer, f"/{number}/after")
            assert cluster.clock.monotonic() - began < 5 * TIMING.election
            await cluster.start(leader)
            await cluster.stores[leader].wait_ready()
            page = await cluster.stores[leader].range("/", limit=0)
            assert len(page.items) == 2 * (number + 1)

    simulate(scenario)


def test_a_leader_that_is_cut_off_serves_no_stale_read_and_soon_says_so(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        old = await cluster.leader()
        others = cluster.followers(old)
        await put(cluster, old, "/a", b"old")
        cluster.network.part([old], others)
        while cluster.stores[old]._raft.may_read():  # noqa: ASYNC110 - until its lease is over
            await asyncio.sleep(0.01)
        reading = asyncio.create_task(cluster.stores[old].get("/a"))
        await put(cluster, others[0], "/a", b"new")
        with pytest.raises(StoreUnavailable):
            await reading
        assert not cluster.stores[old].status().is_leader
        await asyncio.sleep(TIMING.patience)
        began = cluster.clock.monotonic()
        with pytest.raises(StoreUnavailable, match="no leader"):
            await cluster.stores[old].get("/a")
        assert cluster.clock.monotonic() == began, "nobody waits for a majority that has long been away"
        stale = await cluster.stores[old].get("/a", serializable=True)
        assert stale is not None
        assert stale.value == b"old"
        cluster.network.heal()
        await cluster.stores[old].wait_ready()
        fresh = await cluster.stores[old].get("/a")
        assert fresh is not None
        assert fresh.value == b"new"

    simulate(scenario)


def test_a_write_on_a_member_that_is_cut_off_is_given_up_as_unknown(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        cluster.network.part([leader], cluster.followers(leader))
        with pytest.raises(StoreUnavailable, match="whether the write takes place is unknown"):
            await put(cluster, leader, "/a")

    simulate(scenario)


def test_a_member_that_returns_does_not_depose_the_leader(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        absent, present = cluster.followers(leader)
        term = cluster.stores[leader].status().term
        cluster.network.part([absent], [leader, present])
        await asyncio.sleep(20 * TIMING.election)
        cluster.network.heal()
        await asyncio.sleep(20 * TIMING.election)
        await put(cluster, absent, "/a")
        assert cluster.stores[leader].status().is_leader
        assert cluster.stores[leader].status().term == term

    simulate(scenario)


def test_a_leader_that_is_closed_hands_over(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        writer = cluster.followers(leader)[0]
        await put(cluster, writer, "/a")
        await cluster.stores.pop(leader).close()
        began = cluster.clock.monotonic()
        await put(cluster, writer, "/b")
        assert cluster.clock.monotonic() - began < TIMING.election

    simulate(scenario)


def test_every_member_has_every_event(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.leader()
        watches = [cluster.stores[name].watch("/", after=1) for name in cluster.names]
        for number in range(30):
            await put(cluster, cluster.names[number % 3], f"/{number}")
        for watch in watches:
            seen: list[int] = []
            while len(seen) < 30:
                seen += [event.revision for event in await watch.__anext__()]
            assert seen == list(range(2, 32))

    simulate(scenario)


def test_a_proposal_that_arrives_twice_is_applied_once(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        cluster.network.weather.repeat = 1.0
        writer = cluster.followers(leader)[0]
        assert [await put(cluster, writer, "/a") for _ in range(20)] == list(range(2, 22))

    simulate(scenario)


def test_a_write_whose_leader_dies_is_proposed_to_the_next_and_applied_once(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        writer = cluster.followers(leader)[0]
        writes = [asyncio.create_task(put(cluster, writer, f"/{number}")) for number in range(20)]
        await asyncio.sleep(0.002)
        cluster.kill(leader)
        assert sorted(await asyncio.gather(*writes)) == list(range(2, 22))

    simulate(scenario)


@pytest.mark.parametrize(
    ("settings", "by_snapshot"),
    [
        (Settings(segment_size=4096, entries_in_memory=10), False),
        (Settings(segment_size=4096, entries_in_memory=10, snapshot_entries=50), True),
    ],
    ids=["from the segments", "by a snapshot"],
)
def test_a_member_that_was_long_away_catches_up(
    simulate: Callable[..., None], settings: Settings, by_snapshot: bool
) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        absent, present = cluster.followers(leader)
        await put(cluster, leader, "/first")
        cluster.kill(absent)
        for number in range(300):
            await put(cluster, present, f"/{number % 70}", b"%d" % number)
        await cluster.start(absent)
        await cluster.stores[absent].wait_ready()
        fresh = await cluster.stores[absent].range("/")
        assert fresh == await cluster.stores[leader].range("/")
        assert (cluster.stores[absent].status().log_first_index > 200) == by_snapshot
        assert await put(cluster, absent, "/after") == 303
        cluster.kill(absent)
        await cluster.start(absent)
        await cluster.settle()
        assert (await cluster.stores[absent].range("/")).revision == 304

    simulate(scenario, settings=settings)


def test_a_snapshot_that_takes_longer_than_it_is_to_the_next_one_is_enough(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        absent, _ = cluster.followers(leader)
        cluster.kill(absent)
        for number in range(200):
            await put(cluster, leader, f"/{number % 70}")
        carry = cluster.network.carry

        def slow(sender: str, receiver: str, message: Message) -> None:
            wait = 0.2 if message.WhichOneof("body") == "snapshot_chunk" else 0.0
            asyncio.get_running_loop().call_later(wait, carry, sender, receiver, message)

        cluster.network.carry = slow  # type: ignore[method-assign]

        async def write() -> None:
            while True:
                await put(cluster, leader, "/busy")

        writing = [asyncio.create_task(write()) for _ in range(4)]
        await cluster.start(absent)
        async with asyncio.timeout(3):
            while cluster.stores[absent]._raft.applied_index < cluster.stores[leader]._raft.commit - 20:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for task in writing:
            task.cancel()
        await asyncio.wait(writing)

    simulate(scenario, settings=Settings(segment_size=4096, entries_in_memory=10, snapshot_entries=50))


def test_a_snapshot_is_not_kept_for_whoever_has_gone(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        absent, _ = cluster.followers(leader)
        cluster.kill(absent)
        for number in range(200):
            await put(cluster, leader, f"/{number % 70}")
        carry = cluster.network.carry

        def lossy(sender: str, receiver: str, message: Message) -> None:
            if message.WhichOneof("body") != "snapshot_received":
                carry(sender, receiver, message)

        cluster.network.carry = lossy  # type: ignore[method-assign]
        await cluster.start(absent)
        helping = cluster.stores[leader]._catch_up._tasks
        while absent not in helping:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * TIMING.election)
        assert absent in helping
        cluster.stores[leader]._raft._wire.connected = lambda member: member != absent  # type: ignore[method-assign]
        await asyncio.sleep(2 * TIMING.election)
        assert absent not in helping

    simulate(scenario, settings=Settings(segment_size=4096, entries_in_memory=10, snapshot_entries=50))


def test_a_watcher_on_a_member_that_goes_on_from_a_snapshot_is_told_to_list(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        absent, present = cluster.followers(leader)
        watch = cluster.stores[absent].watch("/", after=1)
        cluster.network.part([absent], [leader, present])
        for number in range(300):
            await put(cluster, present, "/a", b"%d" % number)
        cluster.network.heal()
        with pytest.raises(Compacted):
            while True:
                await watch.__anext__()
        await cluster.stores[absent].wait_ready()
        assert cluster.stores[absent].watch("/", after=301).progress == 301

    simulate(scenario, settings=Settings(segment_size=4096, entries_in_memory=10, snapshot_entries=50))
