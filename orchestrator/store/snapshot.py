"""Snapshots: the whole state at one log entry, in one checksummed file.

A snapshot is written beside the running store, page by page in a worker thread, and takes its name only when it is
whole and on the disk; a file with that name is therefore complete, and one that does not check is damage, not an
accident. Its frames: a head (which entry it covers, at which revision), the sessions, the configuration, the leases,
pages of keys, an end that says how many.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.files import File, Files
from orchestrator.store.frame import encode, frames
from orchestrator.store.interface import KeyValue
from orchestrator.store.leases import Lease, Leases
from orchestrator.store.log import Base
from orchestrator.store.sessions import Session
from orchestrator.store.state import State

MAGIC = b"NVSNAP\x03\x00"
"""Ends with the format's version. Version 1, which had no sessions, and version 2, which had no configuration and no
leases, are read too."""
_VERSIONS = {b"NVSNAP\x01\x00": 1, b"NVSNAP\x02\x00": 2, MAGIC: 3}
_HEAD = struct.Struct("<8sQQQ")
_END = struct.Struct("<8sQ")
_END_MAGIC = b"NVSNAPND"
_ITEM = struct.Struct("<HIQQQ")
_ITEM_BEFORE_LEASES = struct.Struct("<HIQQ")
_LEASES_HEAD = struct.Struct("<Q")
_LEASE = struct.Struct("<QQQQ")
_SESSION = struct.Struct("<BQQI")
_NAME = re.compile(r"snapshot-(\d{20})")
_RECEIVED = re.compile(r"received-(\d{20})")


def snapshot_name(index: int) -> str:
    return f"snapshot-{index:020d}"


def received_name(index: int) -> str:
    """Of a snapshot that came from another member, until this member's log begins behind it."""
    return f"received-{index:020d}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read back: the entry it covers, the revision, the keys in order."""

    base: Base
    revision: int
    items: Sequence[KeyValue]
    sessions: Sequence[Session]
    configuration: bytes = b""
    """Which members there were, as they encode it; empty: the snapshot does not say."""
    leases: Sequence[Lease] = ()
    leases_granted: int = 0

    def state(self) -> State:
        """The past is not in a snapshot: reads and watches begin at its revision."""
        leases = Leases(self.leases, granted=self.leases_granted)
        return State(revision=self.revision, compacted=self.revision, items=self.items, leases=leases)


@dataclass(frozen=True, slots=True)
class Beside:
    """What a snapshot holds beside the keys: copies, as of its entry."""

    sessions: Sequence[Session] = ()
    configuration: bytes = b""
    leases: Sequence[Lease] = ()
    leases_granted: int = 0


class SnapshotWriter:
    """Writes one snapshot: `add` pages in key order, then `finish`, or `abandon`. Blocking: for a worker thread."""

    def __init__(self, files: Files, directory: Path, base: Base, revision: int, beside: Beside) -> None:
        self._files = files
        self._directory = directory
        self._path = directory / snapshot_name(base.index)
        self._fresh = self._path.with_suffix(".new")
        self._file: File = files.create(self._fresh)
        self._number = 0
        self._count = 0
        self._append(_HEAD.pack(MAGIC, base.index, base.term, revision))
        self._append(b"".join(map(_encode_session, beside.sessions)))
        self._append(beside.configuration)
        leases = (_LEASE.pack(each.id, each.ttl, each.remaining, each.renewals) for each in beside.leases)
        self._append(b"".join((_LEASES_HEAD.pack(beside.leases_granted), *leases)))

    def add(self, items: Sequence[KeyValue]) -> None:
        parts: list[bytes] = []
        for item in items:
            key = item.key.encode()
            value = item.value
            parts += (_ITEM.pack(len(key), len(value), item.create_revision, item.mod_revision, item.lease), key, value)
        self._append(b"".join(parts))
        self._count += len(items)

    def finish(self) -> None:
        """Make it durable, give it its name, and remove the ones before it."""
        self._append(_END.pack(_END_MAGIC, self._count))
        self._file.sync()
        self._file.close()
        self._files.rename(self._fresh, self._path)
        self._files.sync_directory(self._directory)
        remove_older(self._files, self._directory)

    def abandon(self) -> None:
        """Leave nothing behind, wherever it stopped."""
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            self._files.remove(self._fresh)

    def _append(self, payload: bytes) -> None:
        self._file.append(encode(self._number, payload))
        self._number += 1


def load_newest(files: Files, directory: Path) -> Snapshot | None:
    """The newest snapshot; None: there is none. Raises StoreCorrupt when it does not check."""
    received = received_snapshot(files, directory)
    names = [received] if received else _names(files, directory)
    if not names:
        return None
    path = directory / names[-1]
    try:
        return parse_snapshot(files.read(path))
    except StoreCorrupt as error:
        raise StoreCorrupt(f"{path}: {error}. Nothing was changed; restore it from a backup") from error


def received_snapshot(files: Files, directory: Path) -> str | None:
    """A snapshot of another member whose installation the end of the process interrupted; None: there is none."""
    received = [name for name in files.names(directory) if _RECEIVED.fullmatch(name)]
    return received[-1] if received else None


def adopt_received(files: Files, directory: Path, index: int) -> None:
    """The log begins behind the received snapshot now: it is this member's newest."""
    files.rename(directory / received_name(index), directory / snapshot_name(index))
    files.sync_directory(directory)
    remove_older(files, directory)


def remove_older(files: Files, directory: Path) -> None:
    """Remove all snapshots but the newest."""
    for name in _names(files, directory)[:-1]:
        files.remove(directory / name)


def _names(files: Files, directory: Path) -> Sequence[str]:
    return [name for name in files.names(directory) if _NAME.fullmatch(name)]


def parse_snapshot(data: bytes) -> Snapshot:
    """Raises StoreCorrupt."""
    try:
        return _parse(data)
    except (struct.error, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"the snapshot does not parse: {error}") from error


def _parse(data: bytes) -> Snapshot:
    """Frame by frame, so that the pages are not all in memory twice."""
    found = frames(data, 0)
    head = next(found, None)
    version = _VERSIONS.get(head.payload[:8], 0) if head is not None else 0
    if head is None or len(head.payload) != _HEAD.size or not version:
        raise StoreCorrupt("the snapshot's head is damaged or of another format")
    beside = [frame.payload for frame in islice(found, {1: 0, 2: 1, 3: 3}[version])]
    read = _items if version >= 3 else _items_before_leases
    items: list[KeyValue] = []
    page, end = b"", head.end
    for frame in found:
        items += read(page)
        page, end = frame.payload, frame.end
    if end < len(data):
        raise StoreCorrupt(f"the snapshot is damaged or cut short at offset {end} of {len(data)}")
    if len(page) != _END.size or page[:8] != _END_MAGIC:
        raise StoreCorrupt("the snapshot is cut short: its end is missing")
    _, index, term, revision = _HEAD.unpack(head.payload)
    sessions = _sessions(beside[0]) if version >= 2 else ()
    configuration = beside[1] if version >= 3 else b""
    granted, leases = _leases(beside[2]) if version >= 3 else (0, ())
    _, count = _END.unpack(page)
    if count != len(items):
        raise StoreCorrupt(f"the snapshot says it has {count} keys but holds {len(items)}")
    known = {0, *(lease.id for lease in leases)}
    for item in items:
        if item.lease not in known:
            raise StoreCorrupt(f"the snapshot's key {item.key!r} hangs on the lease {item.lease}, which is not in it")
    return Snapshot(Base(index, term), revision, items, sessions, configuration, leases, granted)


def _encode_session(session: Session) -> bytes:
    name = session.member.encode()
    head = _SESSION.pack(len(name), session.incarnation, session.settled, len(session.applied))
    return head + name + struct.pack(f"<{len(session.applied)}Q", *sorted(session.applied))


def _sessions(data: bytes) -> Sequence[Session]:
    sessions: list[Session] = []
    offset = 0
    while offset < len(data):
        length, incarnation, settled, count = _SESSION.unpack_from(data, offset)
        offset += _SESSION.size
        name = data[offset : offset + length].decode()
        applied = struct.unpack_from(f"<{count}Q", data, offset + length)
        sessions.append(Session(name, incarnation, settled, set(applied)))
        offset += length + 8 * count
    return sessions


def _leases(data: bytes) -> tuple[int, Sequence[Lease]]:
    (granted,) = _LEASES_HEAD.unpack_from(data)
    return granted, [Lease(*each) for each in _LEASE.iter_unpack(data[_LEASES_HEAD.size :])]


def _items(page: bytes) -> Iterator[KeyValue]:
    unpack, size = _ITEM.unpack_from, _ITEM.size
    offset = 0
    while offset < len(page):
        key_length, value_length, create_revision, mod_revision, lease = unpack(page, offset)
        begin = offset + size
        middle = begin + key_length
        offset = middle + value_length
        if create_revision == mod_revision:
            # One number for both: there are as many of them as keys.
            create_revision = mod_revision
        yield KeyValue(page[begin:middle].decode(), page[middle:offset], create_revision, mod_revision, lease)
    _check_whole(page, offset)


def _items_before_leases(page: bytes) -> Iterator[KeyValue]:
    offset = 0
    while offset < len(page):
        key_length, value_length, create_revision, mod_revision = _ITEM_BEFORE_LEASES.unpack_from(page, offset)
        middle = offset + _ITEM_BEFORE_LEASES.size + key_length
        key = page[offset + _ITEM_BEFORE_LEASES.size : middle].decode()
        offset = middle + value_length
        yield KeyValue(key, page[middle:offset], create_revision, mod_revision)
    _check_whole(page, offset)


def _check_whole(page: bytes, end: int) -> None:
    if end != len(page):
        raise StoreCorrupt("a page of the snapshot ends inside a key")
