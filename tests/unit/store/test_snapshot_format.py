"""The snapshot's format: what is written reads back, older versions read, and what makes no sense is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.files import DiskFiles
from orchestrator.store.frame import encode
from orchestrator.store.interface import KeyValue
from orchestrator.store.leases import Lease
from orchestrator.store.log import Base
from orchestrator.store.sessions import Session
from orchestrator.store.snapshot import Beside, SnapshotWriter, parse_snapshot, snapshot_name

ITEMS = [KeyValue("/a", b"1", 2, 2), KeyValue("/b\u00e9", b"", 3, 9, 4), KeyValue("/c", bytes(300), 5, 5)]
SESSION = Session("m", 7, 3, {5, 9})


def framed(*payloads: bytes) -> bytes:
    return b"".join(encode(number, payload) for number, payload in enumerate(payloads))


def head(version: int) -> bytes:
    return b"NVSNAP" + bytes([version, 0]) + struct.pack("<QQQ", 20, 3, 11)


def end(count: int) -> bytes:
    return b"NVSNAPND" + struct.pack("<Q", count)


def item(key: bytes, value: bytes, create: int, mod: int, *lease: int) -> bytes:
    return struct.pack(f"<HIQQ{len(lease)}Q", len(key), len(value), create, mod, *lease) + key + value


def lease(id: int) -> bytes:
    return struct.pack("<QQQQQ", 4, id, 3_600_000, 1_000, 2)


SESSIONS = struct.pack("<BQQI", 1, 7, 3, 2) + b"m" + struct.pack("<QQ", 5, 9)


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    leases = [Lease(4, 3_600_000, 1_000, 2)]
    writer = SnapshotWriter(DiskFiles(), tmp_path, Base(20, 3), 11, Beside([SESSION], b"who", leases, 8))
    writer.add(ITEMS[:2])
    writer.add(ITEMS[2:])
    writer.finish()
    found = parse_snapshot((tmp_path / snapshot_name(20)).read_bytes())
    assert (found.base, found.revision, found.items) == (Base(20, 3), 11, ITEMS)
    assert (found.sessions, found.configuration) == ([SESSION], b"who")
    assert (found.leases, found.leases_granted) == (leases, 8)
    state = found.state()
    assert state.leases.get(4).keys == {"/b\u00e9"}
    assert state.leases.grant(1).id == 9


def test_the_first_version_reads() -> None:
    found = parse_snapshot(framed(head(1), item(b"/a", b"1", 2, 2), end(1)))
    assert (found.items, found.sessions, found.leases, found.configuration) == ([ITEMS[0]], (), (), b"")


def test_the_second_version_reads() -> None:
    found = parse_snapshot(framed(head(2), SESSIONS, item(b"/a", b"1", 2, 2), end(1)))
    assert (found.base, found.revision) == (Base(20, 3), 11)
    assert (found.items, found.sessions, found.leases) == ([ITEMS[0]], [SESSION], ())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        framed(head(4), end(0)),
        framed(head(3), end(0)),
        framed(head(3), b"", b"", end(0)),
        framed(head(3), SESSIONS[:-1], b"", lease(1), end(0)),
        framed(head(3), b"", b"", lease(1)[:-3], end(0)),
        framed(head(3), b"", b"", lease(1), item(b"/a", b"1", 2, 2, 0)[:-1], end(1)),
        framed(head(3), b"", b"", lease(1), item(b"/\xff", b"1", 2, 2, 0), end(1)),
        framed(head(3), b"", b"", lease(1), item(b"/a", b"1", 2, 2, 7), end(1)),
        framed(head(3), b"", b"", lease(1), item(b"/a", b"1", 2, 2, 1), end(2)),
        framed(head(3), b"", b"", lease(1), item(b"/a", b"1", 2, 2, 1)),
        framed(head(3), b"", b"", lease(1), end(0))[:-1],
        framed(head(3), b"", b"", lease(1), end(0)) + b"more",
    ],
    ids=[
        "empty",
        "a later version",
        "nothing beside the keys",
        "no leases",
        "short sessions",
        "short leases",
        "short item",
        "no text",
        "an unknown lease",
        "a wrong count",
        "no end",
        "cut",
        "more behind it",
    ],
)
def test_what_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        parse_snapshot(data)
