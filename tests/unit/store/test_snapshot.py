"""Snapshots: taken while writes go on, whole or not there, and the log behind them is short."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import Compacted, Delete, KeyValue, Put, Settings, Store, StoreCorrupt, open_store
from orchestrator.store.log import Base
from orchestrator.store.sessions import Session
from orchestrator.store.snapshot import SnapshotWriter, parse_snapshot
from tests.unit.store.disk import FaultyFiles

SMALL = Settings(segment_size=4096, snapshot_entries=100, reserve=0)


async def fill(store: Store, count: int, prefix: str = "/k") -> None:
    """Write so many keys, some of them again and again, and delete some."""
    for number in range(count):
        await store.txn([], [Put(f"{prefix}/{number % 40:03}", b"%d" % number)])
        if number % 10 == 9:
            await store.txn([], [Delete(f"{prefix}/{number % 40:03}")])


async def content(store: Store) -> list[KeyValue]:
    return list((await store.range("")).items)


async def snapshot_taken(store: Store, beyond: int = 0) -> int:
    """Write until a snapshot beyond that entry is there; its entry."""
    while store.status().snapshot_index <= beyond:
        await store.txn([], [Put("/waiting", b"")])
    return store.status().snapshot_index


async def test_a_restart_from_a_snapshot_gives_the_same_store(tmp_path: Path) -> None:
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL)
    await fill(store, 500)
    await snapshot_taken(store)
    before, status = await content(store), store.status()
    await store.close()
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL)
    assert await content(store) == before
    assert store.status().revision == status.revision
    assert (await store.txn([], [Put("/a", b"")])).revision == status.revision + 1
    floor = store.status().compacted_revision
    assert 0 < floor < status.revision
    with pytest.raises(Compacted):
        store.watch("", after=floor - 1)
    batch = await store.watch("", after=floor).__anext__()
    assert sorted({event.revision for event in batch}) == list(range(floor + 1, status.revision + 2))
    await store.close()


async def test_the_disk_stays_bounded(tmp_path: Path) -> None:
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL)
    covered = 0
    for _ in range(5):
        await fill(store, 200)
        covered = await snapshot_taken(store, covered)
    await store.close()
    assert len(list(tmp_path.glob("snapshot-*"))) == 1
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100_000
    assert store.status().log_size < 80_000


async def test_a_snapshot_holds_one_instant_while_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small pages, and writers between them that change what was read and what will be."""
    monkeypatch.setattr("orchestrator.store.snapshotter._PAGE", 3)
    settings = Settings(segment_size=4096, snapshot_entries=200)
    store = await open_store(tmp_path, clock=SystemClock(), settings=settings)

    async def write(writer: int) -> None:
        for number in range(150):
            await store.txn([], [Put(f"/{number % 50:02}/{writer}", b"%d" % number)])
            if number % 7 == 0:
                await store.txn([], [Delete(f"/{(number * 3) % 50:02}/{writer}")])

    await asyncio.gather(*(write(writer) for writer in range(4)))
    await store.compact(store.status().revision)
    await snapshot_taken(store)
    before = await content(store)
    await store.close()
    assert list(tmp_path.glob("snapshot-*"))
    store = await open_store(tmp_path, clock=SystemClock(), settings=settings)
    assert await content(store) == before
    await store.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "cut at a frame", "empty"])
async def test_a_damaged_snapshot_is_refused_and_nothing_is_changed(tmp_path: Path, damage: str) -> None:
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL)
    await fill(store, 200)
    await snapshot_taken(store)
    await store.close()
    (path,) = tmp_path.glob("snapshot-*")
    data = bytearray(path.read_bytes())
    match damage:
        case "flip":
            data[len(data) // 2] ^= 16
        case "cut":
            del data[-1]
        case "cut at a frame":
            del data[-(16 + 16) :]
        case "empty":
            data.clear()
    path.write_bytes(data)
    files = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="snapshot-"):
            await open_store(tmp_path, clock=SystemClock(), settings=SMALL)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == files


async def test_a_crash_before_the_snapshot_got_its_name_or_before_the_log_was_cut_does_no_harm(tmp_path: Path) -> None:
    store = await open_store(tmp_path, clock=SystemClock())
    await fill(store, 300)
    before = await content(store)
    await store.close()
    (tmp_path / "snapshot-00000000000000000007.new").write_bytes(b"half")
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL)  # takes its snapshot at once
    await snapshot_taken(store)
    await store.txn([], [Delete("/waiting")])
    assert await content(store) == before
    await store.close()
    assert not list(tmp_path.glob("*.new"))


async def test_a_snapshot_that_cannot_be_written_costs_no_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyFiles()
    real_create = disk.create

    def create(path: Path) -> object:
        if path.name.startswith("snapshot-"):
            raise OSError(28, "No space left on device")
        return real_create(path)

    monkeypatch.setattr(disk, "create", create)
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL, files=disk)
    await fill(store, 200)
    before = await content(store)
    failures = [record for record in caplog.records if "a snapshot could not be written" in record.message]
    assert 1 <= len(failures) <= 3, "tried again once the log has grown as much again, not at every write"
    await store.close()
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL)
    assert await content(store) == before
    await store.close()


def frame(number: int, payload: bytes) -> bytes:
    """As it was laid down with the first version: length, checksum, number, payload."""
    covered = struct.pack("<IQ", len(payload), number)
    return struct.pack("<IIQ", len(payload), google_crc32c.value(covered + payload), number) + payload


def old_snapshot(version: int) -> bytes:
    """Two keys, as of entry 7 of term 3, revision 12."""
    items = b"".join(
        struct.pack("<HIQQ", len(key), len(value), created, modified) + key + value
        for key, value, created, modified in ((b"/a", b"first", 2, 9), (b"/b", b"", 12, 12))
    )
    sessions = struct.pack("<BQQI", 2, 77, 5, 2) + b"n1" + struct.pack("<2Q", 6, 8)
    frames = [struct.pack("<8sQQQ", b"NVSNAP%c\x00" % version, 7, 3, 12)]
    frames += [sessions] if version == 2 else []
    frames += [items, struct.pack("<8sQ", b"NVSNAPND", 2)]
    return b"".join(frame(number, payload) for number, payload in enumerate(frames))


@pytest.mark.parametrize("version", [1, 2])
def test_snapshots_of_earlier_versions_are_read(version: int) -> None:
    snapshot = parse_snapshot(old_snapshot(version))
    assert (snapshot.base, snapshot.revision) == (Base(7, 3), 12)
    assert list(snapshot.items) == [KeyValue("/a", b"first", 2, 9), KeyValue("/b", b"", 12, 12)]
    assert list(snapshot.sessions) == ([Session("n1", 77, 5, {6, 8})] if version == 2 else [])


@pytest.mark.parametrize("version", [1, 2])
def test_a_snapshot_cut_or_altered_anywhere_is_refused(version: int) -> None:
    data = old_snapshot(version)
    for size in range(len(data)):
        with pytest.raises(StoreCorrupt):
            parse_snapshot(data[:size])
    for bit in range(8 * len(data)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreCorrupt):
            parse_snapshot(bytes(altered))


async def test_large_values_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    add = SnapshotWriter.add

    def spy(writer: SnapshotWriter, items: Sequence[KeyValue]) -> None:
        sizes.append(sum(len(item.value) for item in items))
        add(writer, items)

    monkeypatch.setattr(SnapshotWriter, "add", spy)
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL)
    for number in range(90):
        await store.txn([], [Put(f"/{number}", bytes(50_000))])
    await snapshot_taken(store)
    before = await content(store)
    await store.close()
    assert sum(sizes) > 4_000_000
    assert max(sizes) < 400_000
    store = await open_store(tmp_path, clock=SystemClock(), settings=SMALL)
    assert await content(store) == before
    await store.close()
