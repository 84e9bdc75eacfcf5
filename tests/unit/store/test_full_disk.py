"""A full disk: writes are refused and nothing else is, and the member recovers by itself when there is room."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import Delete, Put, Settings, Store, open_store
from orchestrator.store.errors import DiskFull, NothingWritten, StoreUnavailable
from orchestrator.store.files import Files
from orchestrator.store.log import Base, Log
from tests.requires import require_program, require_root
from tests.unit.store.cluster.cluster import Cluster
from tests.unit.store.cluster.virtual_time import run
from tests.unit.store.disk import FaultyFiles

SETTINGS = Settings(segment_size=64 << 10, reserve=256 << 10)
VALUE = bytes(range(256)) * 16


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.store.room._LOOK", 0.01)


async def opened(directory: Path, files: Files | None = None, settings: Settings = SETTINGS) -> Store:
    return await open_store(directory, clock=SystemClock(), settings=settings, files=files)


async def fill(store: Store, prefix: str = "/fill") -> int:
    """Write until the disk is full; how many writes were acknowledged."""
    for number in range(100_000):
        try:
            await store.txn([], [Put(f"{prefix}/{number}", VALUE)])
        except DiskFull:
            return number
    raise AssertionError("the disk never became full")


async def has_room(store: Store) -> None:
    async with asyncio.timeout(10):
        while store.status().alarms:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)


async def test_writes_are_refused_reads_go_on_and_it_recovers_when_there_is_room(tmp_path: Path) -> None:
    disk = FaultyFiles()
    store = await opened(tmp_path, disk)
    disk.free = 300_000
    count = await fill(store)
    assert count > 30
    status = store.status()
    assert (status.alarms, status.failure, status.is_leader) == (("nospace",), None, True)
    assert (await store.range("/fill")).count == count
    for _ in range(3):
        with pytest.raises(NothingWritten, match="is full"):
            await store.txn([], [Put("/refused", b"")])
    assert store.status().revision == status.revision
    disk.free = None
    await has_room(store)
    assert (await store.txn([], [Put("/after", b"")])).revision == status.revision + 1
    await store.close()
    store = await opened(tmp_path)
    assert (await store.range("")).count == count + 1
    assert await store.get("/refused") is None
    await store.close()


async def test_writes_in_flight_together_learn_their_fate_one_by_one(tmp_path: Path) -> None:
    """What was acknowledged is there after a restart, what was refused is not."""
    disk = FaultyFiles()
    store = await opened(tmp_path, disk)
    disk.free = 400_000
    acknowledged: set[str] = set()
    refused: set[str] = set()

    async def write(writer: int) -> None:
        for number in range(100):
            key = f"/{writer}/{number}"
            try:
                await store.txn([], [Put(key, VALUE)])
                acknowledged.add(key)
            except DiskFull:
                refused.add(key)

    await asyncio.gather(*(write(writer) for writer in range(8)))
    assert acknowledged
    assert refused
    assert {item.key for item in (await store.range("")).items} == acknowledged
    await store.close()
    store = await opened(tmp_path)
    assert {item.key for item in (await store.range("")).items} == acknowledged
    await store.close()


async def test_deletions_and_compactions_still_go_through(tmp_path: Path) -> None:
    disk = FaultyFiles()
    store = await opened(tmp_path, disk)
    disk.free = 200_000
    count = await fill(store)
    disk.free = SETTINGS.reserve
    for number in range(count):
        await store.txn([], [Delete(f"/fill/{number}")])
    await store.compact(store.status().revision)
    assert store.status().keys == 0
    await store.close()


async def test_after_deletions_a_snapshot_makes_room_without_anybody_s_help(tmp_path: Path) -> None:
    disk = FaultyFiles()
    store = await opened(tmp_path, disk, replace(SETTINGS, segment_size=1 << 20, snapshot_entries=1 << 30))
    disk.free = 900_000
    count = await fill(store)
    await store.txn([], [Delete(f"/fill/{number}") for number in range(count)][:500])
    await has_room(store)
    assert store.status().snapshot_index > 0
    await store.txn([], [Put("/after", b"")])
    await store.close()
    store = await opened(tmp_path, settings=SETTINGS)
    assert await store.get("/after") is not None
    await store.close()


async def test_a_restart_with_a_full_disk_reads_and_recovers(tmp_path: Path) -> None:
    disk = FaultyFiles()
    store = await opened(tmp_path, disk)
    disk.free = 200_000
    count = await fill(store)
    await store.close()
    for _ in range(3):
        disk.free = 0
        store = await opened(tmp_path, disk)
        assert store.status().alarms == ("nospace",)
        assert (await store.range("/fill")).count == count
        with pytest.raises(DiskFull):
            await store.txn([], [Put("/refused", VALUE)])
        await store.close()
    store = await opened(tmp_path, disk)
    disk.free = None
    await has_room(store)
    await store.txn([], [Put("/after", b"")])
    await store.close()


async def test_a_log_that_has_grown_too_long_for_the_disk_is_cut_short_by_a_snapshot_after_a_restart(
    tmp_path: Path,
) -> None:
    """What others give back is less than the log needs to go on, and the log's past is most of what is there."""
    disk = FaultyFiles()
    store = await opened(tmp_path, disk)
    for number in range(200):
        await store.txn([], [Put("/one", VALUE[: 4000 + number])])
    await store.close()
    disk.remove(tmp_path / "reserve")
    disk.free = 0
    store = await opened(tmp_path, disk)
    assert store.status().alarms == ("nospace",)
    disk.free = SETTINGS.reserve // 2
    await has_room(store)
    await store.txn([], [Put("/after", b"")])
    await store.close()


async def test_a_failed_write_or_fsync_is_no_full_disk_and_stays_fatal(tmp_path: Path) -> None:
    disk = FaultyFiles()
    store = await opened(tmp_path, disk)
    disk.fail_writes = True
    with pytest.raises(StoreUnavailable) as caught:
        await store.txn([], [Put("/a", b"")])
    assert not isinstance(caught.value, NothingWritten)
    disk.fail_writes = False
    assert "cannot be written any more" in await store.wait_failed()
    await store.close()


# The log by itself.


def test_terms_and_votes_are_written_where_entries_are_not(tmp_path: Path) -> None:
    disk = FaultyFiles()
    log = Log.open(disk, tmp_path, Base(), segment_size=1 << 16)
    log.append(b"first", 1, 1)
    log.flush()
    disk.free = 0
    index = 2
    with pytest.raises(DiskFull):
        while True:
            log.append(VALUE, index, 1)
            log.flush()
            index += 1
    log.append(b"behind what was given up", index + 1, 1)
    log.give_up()
    assert (log.next_index, log.durable_index, log.entries[-1][1]) == (index, index - 1, index - 1)
    for term in range(2, 300):
        log.vote(term, f"n{term % 3}")
        log.append(VALUE, log.next_index, term)
        with pytest.raises(DiskFull):
            log.flush()
        log.give_up()
    assert log.failure is None
    log.close()
    again = Log.open(disk, tmp_path, Base(), segment_size=1 << 16)
    assert (again.term, again.voted_for) == (299, "n2")
    assert again.entries == log.entries
    again.close()


def test_a_truncation_is_written_and_what_should_have_taken_its_place_is_not(tmp_path: Path) -> None:
    disk = FaultyFiles()
    log = Log.open(disk, tmp_path, Base(), segment_size=1 << 16)
    for index in range(1, 6):
        log.append(b"%d" % index, index, 1)
    log.flush()
    disk.free = 0
    log.append(b"never on the disk", 6, 1)
    log.truncate(6)
    log.append(VALUE * 20, 6, 2)
    log.truncate(4)
    log.append(VALUE * 20, 4, 3)
    with pytest.raises(DiskFull):
        log.flush()
    log.append(b"", 5, 3)
    log.truncate(5)
    log.give_up()
    assert [entry[1] for entry in log.entries] == [1, 2, 3]
    assert (log.next_index, log.durable_index) == (4, 3)
    disk.free = None
    log.flush()
    assert not log.full
    log.append(b"new", 4, 4)
    log.flush()
    log.close()
    again = Log.open(disk, tmp_path, Base())
    assert again.entries == [(b"1", 1, 1), (b"2", 2, 1), (b"3", 3, 1), (b"new", 4, 4)]
    again.close()


def test_a_write_that_fills_the_disk_half_way_leaves_nothing(tmp_path: Path) -> None:
    """Where space cannot be reserved, the disk is full in the middle of a write."""
    disk = FaultyFiles()
    log = Log.open(disk, tmp_path, Base(), segment_size=1 << 16)
    log.append(b"first", 1, 1)
    log.flush()
    size = log.size
    disk.tear_next = True
    log.append(VALUE, 2, 1)
    with pytest.raises(DiskFull):
        log.flush()
    log.give_up()
    (path,) = tmp_path.glob("log-*")
    assert not any(path.read_bytes()[size:])
    log.append(b"second", 2, 1)
    log.flush()
    log.close()
    again = Log.open(disk, tmp_path, Base())
    assert [entry[0] for entry in again.entries] == [b"first", b"second"]
    again.close()


# A real one.


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    require_root()
    require_program("mount", "umount")
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


async def test_a_real_disk_that_is_full(small: Path) -> None:
    settings = replace(SETTINGS, segment_size=1 << 20, reserve=1 << 20)
    store = await opened(small / "store", settings=settings)
    await store.txn([], [Put("/before", b"")])
    ballast = small / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    count = await fill(store)
    assert count > 10
    assert store.status().alarms == ("nospace",)
    assert (await store.range("/fill")).count == count
    await store.txn([], [Delete("/before")])
    await store.close()
    store = await opened(small / "store", settings=settings)
    assert store.status().alarms == ("nospace",)
    assert (await store.range("/fill")).count == count
    ballast.unlink()
    await has_room(store)
    await store.txn([], [Put("/after", b"")])
    await store.close()
    store = await opened(small / "store", settings=settings)
    assert [item.key for item in (await store.range("")).items if not item.key.startswith("/fill")] == ["/after"]
    assert (await store.range("/fill")).count == count
    await store.close()


# Among others, in simulation.


async def until_noticed(cluster: Cluster, writer: str, *full: str) -> None:
    """Write until these members have no more room in what they had reserved."""
    async with asyncio.timeout(100):
        for number in itertools.count():
            with contextlib.suppress(StoreUnavailable):
                await cluster.stores[writer].txn([], [Put(f"/fill/{number % 7}", b"fill %d" % number + VALUE)])
            if any(cluster.stores[name].status().alarms for name in full):
                return
            await asyncio.sleep(0.01)


async def the_leader_is_full(cluster: Cluster) -> None:
    leader = await cluster.leader()
    for number in range(5):
        await cluster.stores[leader].txn([], [Put(f"/before/{number}", b"%d" % number)])
    cluster.disks[leader].full = True
    await until_noticed(cluster, leader, leader)
    other = next(name for name in cluster.names if name != leader)
    async with asyncio.timeout(30):
        while True:
            try:
                await cluster.stores[other].txn([], [Put("/meanwhile", b"meanwhile")])
                break
            except StoreUnavailable:
                await asyncio.sleep(0.1)
    assert cluster.stores[leader].status().alarms == ("nospace",)
    assert not cluster.stores[leader].status().is_leader
    with pytest.raises(DiskFull):
        await cluster.stores[leader].txn([], [Put("/refused", b"refused")])
    for number in range(300):
        await cluster.stores[other].txn([], [Put(f"/others/{number % 7}", b"others %d" % number)])
    assert cluster.stores[leader].status().failure is None
    cluster.disks[leader].full = False
    async with asyncio.timeout(60):
        while cluster.stores[leader].status().revision < cluster.stores[other].status().revision:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.1)
    assert not cluster.stores[leader].status().alarms
    await cluster.stores[leader].txn([], [Put("/after", b"after")])
    assert await cluster.stores[other].get("/refused") is None


async def all_are_full(cluster: Cluster) -> None:
    await cluster.leader()
    member = cluster.names[0]
    await cluster.stores[member].txn([], [Put("/before", b"before")])
    for disk in cluster.disks.values():
        disk.full = True
    await until_noticed(cluster, member, *cluster.names)
    await asyncio.sleep(20)
    assert all(cluster.stores[name].status().failure is None for name in cluster.names)
    found = await cluster.stores[member].get("/before", serializable=True)
    assert found is not None
    for disk in cluster.disks.values():
        disk.full = False
    await cluster.settle()
    await cluster.stores[member].txn([], [Put("/after", b"after")])
    found = await cluster.stores[cluster.names[1]].get("/before")
    assert found is not None


@pytest.mark.parametrize("scenario", [the_leader_is_full, all_are_full])
@pytest.mark.parametrize(
    "settings", [Settings(segment_size=1 << 17), Settings(snapshot_entries=30, segment_size=1 << 14)], ids=["", "short"]
)
@pytest.mark.parametrize("seed", range(1))
def test_a_full_member_of_several_stands_aside(
    tmp_path: Path, scenario: Callable[[Cluster], Coroutine[None, None, None]], seed: int, settings: Settings
) -> None:
    async def everything() -> None:
        cluster = Cluster(tmp_path, 3, seed, settings=settings)
        await cluster.start()
        try:
            await scenario(cluster)
        finally:
            await cluster.close()

    run(everything())
