"""Saved snapshots without a running store: damage is seen, and what is restored is a sound cluster of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import (
    Compacted,
    Delete,
    Members,
    Put,
    Settings,
    StoreCorrupt,
    StoreUnavailable,
    WrongIdentity,
    open_store,
)
from orchestrator.store.files import DiskFiles
from orchestrator.store.identity import Identity, load_identity
from orchestrator.store.interface import KeyValue
from orchestrator.store.log import Base
from orchestrator.store.offline import SKIPPED_REVISIONS, inspect, restore
from orchestrator.store.snapshot import Beside, SnapshotWriter, snapshot_name

THREE = {"a": "10.0.0.1:7444", "b": "10.0.0.2:7444", "c": "10.0.0.3:7444"}
ITEMS = [KeyValue(f"/k/{n:03}", b"value %d" % n, 2 + n, 2 + 2 * n) for n in range(40)]


def saved(directory: Path, items: list[KeyValue] | None = None, revision: int = 100) -> Path:
    directory.mkdir(exist_ok=True)
    writer = SnapshotWriter(DiskFiles(), directory, Base(50, 3), revision, Beside())
    writer.add(ITEMS if items is None else items)
    writer.finish()
    path = directory.parent / "backup"
    shutil.move(directory / snapshot_name(50), path)
    return path


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return saved(tmp_path / "old")


def identity(directory: Path, member: str) -> Identity:
    found = load_identity(DiskFiles(), directory, Members(member))
    assert found is not None
    return found


def test_what_is_in_a_snapshot(backup: Path) -> None:
    found = inspect(backup)
    assert (found.revision, found.keys, found.index, found.term) == (100, 40, 50, 3)
    assert found.db_size == sum(len(item.key) + len(item.value) for item in ITEMS)
    assert found.file_size == backup.stat().st_size


def test_each_altered_byte_and_each_cut_is_seen(backup: Path) -> None:
    data = backup.read_bytes()
    for offset in range(0, len(data), 7):
        altered = bytearray(data)
        altered[offset] ^= 0x10
        backup.write_bytes(altered)
        with pytest.raises(StoreCorrupt):
            inspect(backup)
        backup.write_bytes(data[:offset])
        with pytest.raises(StoreCorrupt):
            inspect(backup)


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([ITEMS[1], ITEMS[0]], "not in order"),
        ([ITEMS[0], ITEMS[0]], "not in order"),
        ([KeyValue("/k", b"", 5, 101)], "was written at revision 101"),
        ([KeyValue("/k", b"", 7, 6)], "was written at revision 6"),
        ([KeyValue("/k", b"", 5, 6, lease=9)], "hangs on the lease 9"),
    ],
)
def test_whole_but_wrong(tmp_path: Path, items: list[KeyValue], why: str) -> None:
    with pytest.raises(StoreCorrupt, match=why):
        inspect(saved(tmp_path / "old", items))


async def test_a_restored_store_has_everything_and_no_past(tmp_path: Path, backup: Path) -> None:
    directory = tmp_path / "new"
    found = restore(backup, directory, member="a", address="10.0.0.1:7444")
    assert found.revision == 100 + SKIPPED_REVISIONS
    store = await open_store(directory, clock=SystemClock(), members=Members("a"), settings=Settings(segment_size=4096))
    assert list((await store.range("")).items) == ITEMS
    with pytest.raises(Compacted):
        store.watch("", after=100 + 5)  # which the old cluster may have told somebody
    assert (await store.txn([], [Put("/new", b"1"), Delete("/k/000")])).revision == found.revision + 1
    await store.close()
    store = await open_store(directory, clock=SystemClock(), members=Members("a"))
    assert await store.get("/k/000") is None
    assert [member.address for member in (await store.members()).members] == ["10.0.0.1:7444"]
    await store.close()


def test_a_restored_cluster_is_another_one(tmp_path: Path, backup: Path) -> None:
    for number in (1, 2):
        restore(backup, tmp_path / f"alone{number}", member="a")
    assert identity(tmp_path / "alone1", "a").cluster != identity(tmp_path / "alone2", "a").cluster
    for name in THREE:
        restore(backup, tmp_path / name, member=name, initial=THREE)
    clusters = {identity(tmp_path / name, name).cluster for name in THREE}
    assert len(clusters) == 1, "they must meet"
    restore(backup, tmp_path / "others", member="a", initial={**THREE, "c": "10.0.0.9:7444"})
    assert identity(tmp_path / "others", "a").cluster not in clusters


async def test_what_is_not_wanted_is_left_behind(tmp_path: Path, backup: Path) -> None:
    assert restore(backup, tmp_path / "store", member="a", without="/k/00").keys == 30
    store = await open_store(tmp_path / "store", clock=SystemClock(), settings=Settings(), members=Members("a"))
    assert [item.key for item in (await store.range("/")).items] == [item.key for item in ITEMS[10:]]
    await store.close()


async def test_a_restored_directory_is_its_members_alone(tmp_path: Path, backup: Path) -> None:
    restore(backup, tmp_path / "new", member="a")
    with pytest.raises(WrongIdentity, match="belongs to the member a"):
        await open_store(tmp_path / "new", clock=SystemClock(), members=Members("b"))


def test_nothing_is_restored_over_something(tmp_path: Path, backup: Path) -> None:
    directory = tmp_path / "new"
    directory.mkdir()
    (directory / "lock").touch()
    with pytest.raises(StoreUnavailable, match="is not empty"):
        restore(backup, directory, member="a")
    assert [each.name for each in directory.iterdir()] == ["lock"]


def test_a_damaged_snapshot_leaves_no_directory(tmp_path: Path, backup: Path) -> None:
    backup.write_bytes(backup.read_bytes()[:-1])
    with pytest.raises(StoreCorrupt):
        restore(backup, tmp_path / "new", member="a")
    assert not (tmp_path / "new").exists()


def test_what_an_interrupted_restore_left_is_in_nobodys_way(tmp_path: Path, backup: Path) -> None:
    (tmp_path / "new.restoring").mkdir()
    (tmp_path / "new.restoring" / "snapshot-1").write_bytes(b"half")
    (tmp_path / "new").mkdir()
    restore(backup, tmp_path / "new", member="a")
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == ["identity", "received-" + f"{50:020d}"]
    assert not (tmp_path / "new.restoring").exists()
