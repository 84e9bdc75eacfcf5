"""The ten faults of plain PySyncObj, each shown in PySyncObj itself and absent from the store built on it.

`plain` is what `plain_pysyncobj` saw, which runs as a program of its own; the rest of each test is ours. Where it
gets rid of a fault one day, the first assertion says so, and what we do about it can go.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import Put, Settings, StoreCorrupt, StoreUnavailable, open_store
from orchestrator.store.files import DiskFiles
from orchestrator.store.frame import frames
from orchestrator.store.installation import Incoming
from orchestrator.store.log import Base, Log
from orchestrator.store.v1.raft_pb2 import Appended, Message, SnapshotChunk
from tests.unit.store import plain_pysyncobj
from tests.unit.store.cluster.cluster import TIMING, Cluster
from tests.unit.store.cluster.virtual_time import run

Scenario = Callable[[Cluster], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("plain")
    done = subprocess.run(
        [sys.executable, plain_pysyncobj.__file__, str(directory)],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario on three members in virtual time."""

    def simulate(scenario: Scenario) -> None:
        async def everything() -> None:
            cluster = Cluster(tmp_path, 3, 1)
            await cluster.start()
            try:
                async with asyncio.timeout(600):
                    await scenario(cluster)
            finally:
                await cluster.close()

        run(everything())

    return simulate


async def put(cluster: Cluster, member: str, key: str, value: bytes = b"") -> None:
    await cluster.stores[member].txn([], [Put(key, value or key.encode())])


def test_1_commits_wait_for_no_tick(plain: dict[str, Any], simulate: Callable[[Scenario], None]) -> None:
    """PySyncObj commits when its tick or its append period comes, which takes up to 100 ms.
    Our members are driven by events: a write takes a flush and a round trip, here 0.5 ms and 1 ms each way."""
    assert plain["defaults_commit_slowly"] > 0.04

    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        took = []
        for number in range(50):
            began = cluster.clock.monotonic()
            await put(cluster, leader, f"/{number}")
            took.append(cluster.clock.monotonic() - began)
        assert statistics.median(took) < 0.006

    simulate(scenario)


def test_2_what_was_acknowledged_is_synced_and_checksummed(
    plain: dict[str, Any], simulate: Callable[[Scenario], None], tmp_path: Path
) -> None:
    """PySyncObj's journal is mapped memory that nobody syncs, without a checksum: a flipped bit comes back as data.
    Ours survives all machines losing their power right after the answer, and refuses what does not check."""
    assert plain["the_journal_is_never_synced"] == {"synced": [], "read_back": "an `cknowledged write"}

    async def scenario(cluster: Cluster) -> None:
        for number in range(10):
            await put(cluster, await cluster.leader(), f"/{number}")
            for name in cluster.names:
                cluster.kill(name)
            await cluster.start()
        page = await cluster.stores[await cluster.leader()].range("/")
        assert {f"/{number}" for number in range(10)} <= {item.key for item in page.items}

    simulate(scenario)
    log = Log.open(DiskFiles(), tmp_path, Base())
    for index in (1, 2):
        log.append(b"\x00an acknowledged write", index, 1)
        log.flush()
    log.close()
    (path,) = tmp_path.glob("log-*")
    path.write_bytes(path.read_bytes().replace(b"acknowledged", b"`cknowledged", 1))
    with pytest.raises(StoreCorrupt, match="is damaged at offset"):
        Log.open(DiskFiles(), tmp_path, Base())


async def test_3_a_commit_index_never_points_behind_the_log_s_end(plain: dict[str, Any], tmp_path: Path) -> None:
    """PySyncObj keeps its commit index in another file: where the journal lost its end, start-up never comes to one.
    Ours is written with the entries, so cutting the log anywhere cuts it too, and the member starts."""
    assert plain["a_commit_index_behind_the_journal_s_end"] == [True, False]
    directory = tmp_path / "whole"
    store = await open_store(directory, clock=SystemClock())
    for number in range(6):
        await store.txn([], [Put(f"/{number}", b"")])
    await store.close()
    (path,) = directory.glob("log-*")
    data = path.read_bytes()
    ends = [frame.end for frame in frames(data, 0)]
    for end in ends[:-1]:
        path.write_bytes(data[:end])
        log = Log.open(DiskFiles(), directory, Base())
        assert log.commit < log.next_index
        log.close()
        async with asyncio.timeout(10):
            again = await open_store(directory, clock=SystemClock())
        await again.txn([], [Put("/after", b"")])
        await again.close()


def test_4_a_leader_whose_disk_is_full_makes_way(plain: dict[str, Any], simulate: Callable[[Scenario], None]) -> None:
    """PySyncObj's leader cannot append any more and leads on: nothing is written until somebody makes room.
    Ours steps down, the others go on within an election, and it takes part again when there is room."""
    assert plain["a_full_disk_stalls_the_leader"] is True

    async def scenario(cluster: Cluster) -> None:
        old = await cluster.leader()
        cluster.disks[old].full = True
        other = cluster.followers(old)[0]
        # What was reserved before is used up first.
        for number in range(500):
            try:
                await put(cluster, other, f"/{number}", b"%d" % number + bytes(100_000))
            except StoreUnavailable:
                break
            if not cluster.stores[old].status().is_leader:
                break
        began = cluster.clock.monotonic()
        while True:
            try:
                await put(cluster, other, "/after")
                break
            except StoreUnavailable:
                continue
        assert cluster.clock.monotonic() - began < TIMING.patience + 4 * TIMING.election
        assert not cluster.stores[old].status().is_leader
        cluster.disks[old].full = False
        await cluster.settle()
        assert cluster.stores[old].status().failure is None

    simulate(scenario)


def test_5_a_repeated_message_takes_nothing_away(
    plain: dict[str, Any], simulate: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PySyncObj drops what follows a message's place in the log, even applied entries, when the message comes again.
    Ours drops entries only where terms differ: with every message repeated and late, nothing is ever truncated."""
    assert plain["a_repeated_message_drops_applied_entries"] == [4, 4, 2]
    truncated: list[int] = []
    real = Log.truncate

    def truncate(log: Log, index: int) -> None:
        truncated.append(index)
        real(log, index)

    monkeypatch.setattr(Log, "truncate", truncate)

    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        truncated.clear()
        weather = cluster.network.weather
        weather.repeat, weather.straying, weather.far = 1.0, 0.3, 0.2
        await asyncio.gather(*(put(cluster, leader, f"/{number}") for number in range(60)))
        for number in range(20):
            await put(cluster, leader, f"/again/{number}")
        assert cluster.stores[leader].status().is_leader
        assert truncated == []

    simulate(scenario)


def test_6_an_acknowledgement_of_an_earlier_term_does_not_count(
    plain: dict[str, Any], simulate: Callable[[Scenario], None]
) -> None:
    """PySyncObj's acknowledgements do not say in which term they were given: the next leader counts a late one.
    Ours do, and with two late ones, which are a majority, the entry is not committed."""
    assert plain["a_late_acknowledgement_counts"] == [1, 2]

    async def scenario(cluster: Cluster) -> None:
        first = await cluster.leader()
        await put(cluster, first, "/before")
        cluster.kill(first)
        second = await cluster.leader()
        await cluster.start(first)
        await cluster.settle()
        store, others = cluster.stores[second], cluster.followers(second)
        cluster.network.part([second], others)
        commit, writing = store.status().commit_index, asyncio.create_task(put(cluster, second, "/alone"))
        await asyncio.sleep(0.01)
        last = store.status().log_last_index
        assert last > commit
        for member in others:
            late = Appended(success=True, match_index=last)
            store._receive(member, Message(term=store.status().term - 1, sequence=1 << 30, appended=late))
        await asyncio.sleep(0.05)
        assert store.status().is_leader
        assert store.status().commit_index == commit
        cluster.network.heal()
        await writing

    simulate(scenario)


class Trap:
    """A pickle of it makes a directory when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.mkdir, (self._path,)


@pytest.mark.parametrize("kind", [0, 2, 3], ids=["command", "membership", "version"])
async def test_7_no_pickle_is_ever_loaded(plain: dict[str, Any], tmp_path: Path, kind: int) -> None:
    """PySyncObj's entries, messages and snapshots are pickles: whoever reaches its port, or its disk, runs code.
    Ours refuses such an entry and says so. (`test_pickle` sends them everywhere else.)"""
    assert plain["a_message_runs_code"] is True
    log = Log.open(DiskFiles(), tmp_path, Base())
    log.append(b"\x01", 1, 0)
    log.append(bytes([kind]) + pickle.dumps(Trap(tmp_path / "sprung")), 2, 1)
    log.flush()
    log.close()
    with pytest.raises((StoreCorrupt, StoreUnavailable)):
        async with asyncio.timeout(10):
            await open_store(tmp_path, clock=SystemClock())
    assert not (tmp_path / "sprung").exists()


async def test_8_a_snapshot_forks_nothing(
    plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PySyncObj forks the process for a snapshot, which threads (those of gRPC) do not survive whole.
    Ours writes it page by page beside the running store."""
    assert plain["snapshots_fork"] >= 1
    forks: list[int] = []
    for name in ("fork", "forkpty", "posix_spawn"):
        monkeypatch.setattr(os, name, lambda *_, **__: forks.append(1))
    store = await open_store(tmp_path, clock=SystemClock(), settings=Settings(snapshot_entries=20))
    async with asyncio.timeout(30):
        while not store.status().snapshot_index:
            await store.txn([], [Put("/a", b"")])
    await store.close()
    assert forks == []


def test_9_a_leader_that_is_cut_off_knows_within_an_election(
    plain: dict[str, Any], simulate: Callable[[Scenario], None]
) -> None:
    """PySyncObj's leader believes in itself for 30 s after it was cut off, and answers reads with what it has.
    Ours steps down when no majority answered for an election's time, and a fresh read is never answered alone."""
    assert plain["a_leader_that_is_cut_off_believes_in_itself"] >= 30.0

    async def scenario(cluster: Cluster) -> None:
        old = await cluster.leader()
        others = cluster.followers(old)
        await put(cluster, old, "/a", b"old")
        cluster.network.part([old], others)
        began = cluster.clock.monotonic()
        while cluster.stores[old].status().is_leader:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert cluster.clock.monotonic() - began < 1.5 * TIMING.election
        await put(cluster, others[0], "/a", b"new")
        with pytest.raises(StoreUnavailable):
            await cluster.stores[old].get("/a")

    simulate(scenario)


def test_10_pieces_are_checked(plain: dict[str, Any], simulate: Callable[[Scenario], None], tmp_path: Path) -> None:
    """PySyncObj sends a large entry in pieces and takes whatever pieces come: one lost and one twice makes another.
    Our entries are whole messages; a snapshot's pieces have their place and checksum, and only the right one fits."""
    assert plain["pieces_of_an_entry_are_not_checked"] is True

    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        weather = cluster.network.weather
        weather.repeat, weather.straying, weather.far = 0.5, 0.3, 0.05
        values = {f"/{number}": random.Random(number).randbytes(1 << 20) for number in range(4)}
        await asyncio.gather(*(put(cluster, leader, key, value) for key, value in values.items()))
        await cluster.settle()
        for store in cluster.stores.values():
            page = await store.range("/", serializable=True)
            assert {item.key: item.value for item in page.items if item.key != "/settled"} == values

    simulate(scenario)
    chance = random.Random(10)
    whole = chance.randbytes(1000)
    pieces = [(offset, whole[offset : offset + 100]) for offset in range(0, 1000, 100)]
    incoming = Incoming(DiskFiles(), tmp_path)
    had = 0
    while had < len(whole):
        offset, data = chance.choice(pieces)
        checksum = google_crc32c.value(data)
        if chance.random() < 0.3:
            data = data[:50] + bytes([data[50] ^ 1]) + data[51:]
        had = incoming.add(
            SnapshotChunk(last_index=7, last_term=1, offset=offset, data=data, checksum=checksum, size=len(whole))
        )
    assert (tmp_path / "incoming.new").read_bytes() == whole
