"""A pickle that makes a directory when it is loaded, in every place on the disk that the store reads: nothing runs.

Bare, as PySyncObj's own journal and dump would hold it, and wrapped so that every checksum fits: each time the store
refuses the directory with a StoreCorrupt that names the file, and leaves it as it is. What comes over a socket is in
tests/integration/store/test_hostile_peers.py.
"""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import Put, Settings, StoreCorrupt, open_store
from orchestrator.store.frame import encode, frames
from orchestrator.store.segment import segment_name
from orchestrator.store.snapshot import parse_snapshot, snapshot_name


class Trap:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.mkdir, (self._path,)


@pytest.fixture
def pickled(tmp_path: Path) -> bytes:
    return pickle.dumps(Trap(tmp_path / "sprung"))


async def filled(directory: Path) -> None:
    """A directory with a snapshot and a log behind it."""
    store = await open_store(directory, clock=SystemClock(), settings=Settings(snapshot_entries=10))
    while not store.status().snapshot_index:
        await store.txn([], [Put("/a", b"1")])
    await store.close()


async def is_refused(directory: Path, file: str) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}
    with pytest.raises(StoreCorrupt, match=file):
        await open_store(directory, clock=SystemClock())
    assert {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"} == before
    assert not (directory.parent / "sprung").exists()


def journal_of_pysyncobj(pickled: bytes) -> bytes:
    record = struct.pack("<QQ", 1, 1) + pickled
    size = struct.pack("<I", len(record))
    head = b"PYSYNCOBJ".ljust(24, b"\0") + b"0.3.17".ljust(8, b"\0") + struct.pack("<II", 1, 40 + len(record) + 8)
    return head + size + record + size


@pytest.mark.parametrize(
    "content",
    [bytes, journal_of_pysyncobj, lambda pickled: encode(0, pickled)],
    ids=["bare", "a journal of PySyncObj's", "in a frame that checks"],
)
async def test_a_pickle_for_a_segment(tmp_path: Path, pickled: bytes, content: Callable[[bytes], bytes]) -> None:
    directory = tmp_path / "store"
    directory.mkdir()
    (directory / segment_name(1)).write_bytes(content(pickled))
    await is_refused(directory, segment_name(1))


@pytest.mark.parametrize("kind", [b"", b"\x01", b"\x02", b"\x03"], ids=["bare", "entry", "vote", "truncate"])
async def test_a_pickle_for_a_record(tmp_path: Path, pickled: bytes, kind: bytes) -> None:
    directory = tmp_path / "store"
    store = await open_store(directory, clock=SystemClock())
    await store.txn([], [Put("/a", b"1")])
    await store.close()
    path = max(directory.glob("log-*"))
    data = path.read_bytes()
    found = list(frames(data, 0))
    path.write_bytes(data[: found[-1].end] + encode(found[-1].number + 1, kind + pickled))
    await is_refused(directory, path.name)


@pytest.mark.parametrize("form", ["bare", "compressed", "a page", "the sessions", "the end"])
async def test_a_pickle_for_a_snapshot(tmp_path: Path, pickled: bytes, form: str) -> None:
    directory = tmp_path / "store"
    await filled(directory)
    path = max(directory.glob("snapshot-*"))
    payloads = [frame.payload for frame in frames(path.read_bytes(), 0)]
    match form:
        case "bare":
            data = pickled
        case "compressed":
            data = gzip.compress(pickled)
        case _:
            payloads[{"a page": -2, "the sessions": 1, "the end": -1}[form]] = pickled
            data = b"".join(encode(number, payload) for number, payload in enumerate(payloads))
    path.write_bytes(data)
    await is_refused(directory, path.name)
    with pytest.raises(StoreCorrupt):
        parse_snapshot(data)


async def test_a_pickle_for_the_identity(tmp_path: Path, pickled: bytes) -> None:
    directory = tmp_path / "store"
    await filled(directory)
    (directory / "identity").write_bytes(pickled)
    await is_refused(directory, "identity")


async def test_a_dump_of_pysyncobj_s_is_nobody_s_business(tmp_path: Path, pickled: bytes) -> None:
    directory = tmp_path / "store"
    await filled(directory)
    for name in ("dump", "journal", "journal.meta", snapshot_name(7) + ".bak"):
        (directory / name).write_bytes(pickled)
    store = await open_store(directory, clock=SystemClock())
    assert await store.get("/a") is not None
    await store.close()
    assert not (tmp_path / "sprung").exists()
