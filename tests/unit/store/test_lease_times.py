"""When leases end, in virtual time: with one member and with three, whose leader changes and who all restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.store import (
    FutureRevision,
    Put,
    ReplicatedStore,
    Settings,
    StoreUnavailable,
    TooManyLeases,
    UnknownLease,
)
from orchestrator.store.command import Limits
from orchestrator.store.lease_keeper import NOTE_SECONDS
from tests.unit.store.cluster.cluster import Cluster
from tests.unit.store.cluster.virtual_time import run

SHORT = Settings(limits=Limits(leases=3))


async def leased(store: ReplicatedStore, key: str, ttl: float) -> int:
    lease = await store.grant_lease(ttl)
    await store.txn([], [Put(key, key.encode(), lease)])
    return lease


async def there(store: ReplicatedStore, key: str) -> bool:
    return await store.get(key) is not None


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - now()))


async def gone(cluster: Cluster, key: str) -> float:
    """When the key is gone, to within a tenth of a second."""
    while True:
        store = cluster.stores[await cluster.leader()]
        try:
            if not await there(store, key):
                return now()
        except StoreUnavailable:
            pass
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("size", [1, 3])
def test_a_lease_ends_after_its_time_and_not_before(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        cluster = Cluster(tmp_path, size, seed=1)
        await cluster.start()
        store = cluster.stores[await cluster.leader()]
        began = now()
        await leased(store, "/a", 10.0)
        watch = store.watch("/a", after=store.status().revision)
        await until(began + 9.9)
        assert await there(store, "/a")
        (event,) = await watch.__anext__()
        assert event.value is None
        assert began + 10.0 <= now() <= began + 10.5
        assert store.status().leases == 0
        await cluster.close()

    run(scenario())


def test_a_kept_lease_lives_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = Cluster(tmp_path, 3, seed=2)
        await cluster.start()
        store = cluster.stores[cluster.followers(await cluster.leader())[0]]
        lease = await leased(store, "/a", 5.0)
        for _ in range(10):
            await asyncio.sleep(3.0)
            assert await store.keep_lease(lease) == 5.0
        kept = now()
        assert kept + 4.8 <= await gone(cluster, "/a") <= kept + 6.0
        with pytest.raises(UnknownLease):
            await store.keep_lease(lease)
        with pytest.raises(UnknownLease):
            await store.txn([], [Put("/b", b"", lease)])
        await cluster.close()

    run(scenario())


@pytest.mark.parametrize("seed", range(5))
def test_a_new_leader_neither_shortens_nor_lengthens_a_lease(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        cluster = Cluster(tmp_path, 3, seed=seed)
        await cluster.start()
        began = now()
        await leased(cluster.stores[await cluster.leader()], "/a", 60.0)
        await leased(cluster.stores[await cluster.leader()], "/long", 600.0)
        await cluster.settle()
        for _ in range(5):
            await asyncio.sleep(10.0)
            leader = await cluster.leader()
            assert await there(cluster.stores[leader], "/a")
            cluster.kill(leader)
            await cluster.leader()
            await cluster.start(leader)
        assert began + 60.0 <= await gone(cluster, "/a") <= began + 60.0 + 15.0
        assert await there(cluster.stores[await cluster.leader()], "/long")
        await cluster.close()

    run(scenario())


@pytest.mark.parametrize("size", [1, 3])
def test_restarts_of_everybody_do_not_keep_a_lease_alive(tmp_path: Path, size: int) -> None:
    """A lease of an hour, everybody killed every five minutes: each time costs at most the time since the last note."""

    async def scenario() -> None:
        cluster = Cluster(tmp_path, size, seed=3)
        await cluster.start()
        began = now()
        await leased(cluster.stores[await cluster.leader()], "/a", 3600.0)
        restarts = 0
        while now() < began + 3500:
            await asyncio.sleep(300.0)
            for name in list(cluster.stores):
                cluster.kill(name)
            await cluster.start()
            restarts += 1
            assert await there(cluster.stores[await cluster.leader()], "/a") or now() >= began + 3600
        ended = await gone(cluster, "/a")
        assert began + 3600 <= ended <= began + 3600 + restarts * (NOTE_SECONDS + 5)
        await cluster.close()

    run(scenario())


def test_leases_are_in_the_snapshot(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = Cluster(tmp_path, 1, seed=4, settings=Settings(snapshot_entries=50, segment_size=2048))
        await cluster.start()
        store = cluster.stores["a"]
        began = now()
        lease = await leased(store, "/a", 300.0)
        await asyncio.sleep(150.0)
        while store.status().snapshot_index < 50:
            await store.txn([], [Put("/other", b"")])
        cluster.kill("a")
        await cluster.start()
        store = cluster.stores["a"]
        assert store.status().leases == 1
        found = await store.get("/a")
        assert found is not None and found.lease == lease
        assert began + 300 <= await gone(cluster, "/a") <= began + 300 + NOTE_SECONDS + 5
        assert await store.grant_lease(1.0) == lease + 1
        await cluster.close()

    run(scenario())


def test_a_member_cut_off_ends_nothing(tmp_path: Path) -> None:
    """What it believes to be over was renewed where the majority is."""

    async def scenario() -> None:
        cluster = Cluster(tmp_path, 3, seed=5)
        await cluster.start()
        old = await cluster.leader()
        lease = await leased(cluster.stores[old], "/a", 5.0)
        await cluster.settle()
        others = set(cluster.followers(old))
        cluster.network.part({old}, others)
        store = cluster.stores[next(iter(sorted(others)))]
        for _ in range(10):
            await asyncio.sleep(2.0)
            await store.keep_lease(lease)
        cluster.network.heal()
        await asyncio.sleep(2.0)
        assert await there(cluster.stores[old], "/a")
        await cluster.close()

    run(scenario())


def test_there_are_not_more_leases_than_allowed(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = Cluster(tmp_path, 1, seed=6, settings=SHORT)
        await cluster.start()
        store = cluster.stores["a"]
        leases = [await store.grant_lease(100.0) for _ in range(3)]
        with pytest.raises(TooManyLeases):
            await store.grant_lease(100.0)
        await store.revoke_lease(leases[0])
        await store.grant_lease(100.0)
        await cluster.close()

    run(scenario())


def test_a_revision_of_another_member_is_waited_for(tmp_path: Path) -> None:
    """Whatever one member has shown, another can be asked about at once: it waits until it knows it, too."""

    async def scenario() -> None:
        cluster = Cluster(tmp_path, 3, seed=7)
        await cluster.start()
        leader = await cluster.leader()
        follower = cluster.followers(leader)[0]
        waited = 0
        for number in range(50):
            revision = (await cluster.stores[leader].txn([], [Put("/a", b"%d" % number)])).revision
            behind = cluster.stores[follower]
            waited += behind.status().revision < revision
            watch = behind.watch("/a", after=revision - 1)
            ahead = behind.watch("/a", after=revision)
            waiting = asyncio.ensure_future(ahead.__anext__())
            found = await behind.get("/a", revision=revision, serializable=True)
            assert found is not None and found.mod_revision == revision
            (event,) = await watch.__anext__()
            assert event.revision == revision
            later = (await cluster.stores[leader].txn([], [Put("/a", b"later %d" % number)])).revision
            assert [event.revision for event in await waiting] == [later]
            watch.close()
            ahead.close()
        assert waited > 0, "the follower was never behind: nothing was shown"
        await cluster.close()

    run(scenario())


@pytest.mark.parametrize("size", [1, 3])
def test_a_revision_that_nobody_has_written_lies_in_the_future(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        cluster = Cluster(tmp_path, size, seed=8)
        await cluster.start()
        await cluster.leader()
        for store in cluster.stores.values():
            watch = store.watch("/a", after=1000)
            assert watch.progress == 1000
            with pytest.raises(FutureRevision):
                await watch.__anext__()
            with pytest.raises(FutureRevision):
                await store.range("/a", revision=1000)
            with pytest.raises(FutureRevision):
                await store.get("/a", revision=1000, serializable=True)
        await cluster.close()

    run(scenario())


def test_a_watch_of_the_future_waits_no_longer_than_anybody(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster = Cluster(tmp_path, 3, seed=9)
        await cluster.start()
        await cluster.settle()
        leader = await cluster.leader()
        follower = cluster.followers(leader)[0]
        cluster.network.part({follower}, set(cluster.names) - {follower})
        began = now()
        with pytest.raises(StoreUnavailable):
            await cluster.stores[follower].watch("/a", after=1000).__anext__()
        assert now() - began < 5.0
        closed = cluster.stores[follower].watch("/a", after=1000)
        waiting = asyncio.ensure_future(closed.__anext__())
        await asyncio.sleep(0.01)
        closed.close()
        with pytest.raises(StopAsyncIteration):
            await waiting
        await cluster.close()

    run(scenario())
