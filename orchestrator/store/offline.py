"""Saved snapshots without a running store: looked at, checked, and made into the data directory of a new cluster.

What is restored is a cluster of its own: it has another id, so that no member of the old one can meet it, and its own
members. Its revisions go on far behind those of the snapshot: the old cluster may have gone on after the snapshot was
saved, and whoever has seen that must not take what is written now for it. So all of the past counts as compacted, and
every watcher begins anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.store.configurations import decode_configuration, encode_configuration
from orchestrator.store.errors import StoreCorrupt, StoreUnavailable
from orchestrator.store.files import DiskFiles, Files
from orchestrator.store.identity import Identity, save_identity
from orchestrator.store.membership import Configuration, MemberInfo
from orchestrator.store.snapshot import Beside, Snapshot, SnapshotWriter, parse_snapshot, received_name, snapshot_name

SKIPPED_REVISIONS = 1_000_000_000
"""More than the old cluster can have written after the snapshot."""
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Described:
    """What is in a saved snapshot."""

    revision: int
    keys: int
    leases: int
    db_size: int
    """Bytes of all keys and values."""
    file_size: int
    index: int
    """The last log entry in it, and its term."""
    term: int
    members: Sequence[str]
    """The cluster's, when it was saved."""


def inspect(path: Path) -> Described:
    """Read and check all of a saved snapshot. Raises StoreCorrupt, OSError."""
    return _described(*_read(path))


def restore(
    path: Path,
    directory: Path,
    *,
    member: str,
    address: str = "",
    initial: Mapping[str, str] | None = None,
    without: str = "",
    files: Files | None = None,
) -> Described:
    """Make `directory`, which is empty or absent, that of `member` of a new cluster; all or nothing.

    `initial`: the names and addresses of all its members, for which the same is done with the same file; none: it is
    alone, at `address`. `without`: a prefix of keys that are left behind. Returns what the new cluster begins with.

    Raises StoreCorrupt when the file does not check, StoreUnavailable when the directory is not empty, OSError.
    """
    files = files or DiskFiles()
    members = dict(sorted((initial or {member: address}).items()))
    if member not in members:
        raise ValueError(f"the member {member} is not among {', '.join(members)}")
    data, snapshot = _read(path)
    if directory.exists() and any(directory.iterdir()):
        raise StoreUnavailable(f"{directory} is not empty: a snapshot is restored into a directory of its own")
    fresh = directory.with_name(f"{directory.name}.restoring")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700, parents=True)
    revision = snapshot.revision + SKIPPED_REVISIONS
    index = snapshot.base.index
    configuration = Configuration(tuple(MemberInfo(name, members[name]) for name in members), index)
    beside = Beside(
        configuration=encode_configuration(configuration),
        leases=snapshot.leases,
        leases_granted=snapshot.leases_granted,
    )
    writer = SnapshotWriter(files, fresh, snapshot.base, revision, beside)
    items = [item for item in snapshot.items if not (without and item.key.startswith(without))]
    for begin in range(0, len(items), _PAGE):
        writer.add(items[begin : begin + _PAGE])
    writer.finish()
    # As one that came from another member: there is no log before it.
    received = fresh / received_name(index)
    files.rename(fresh / snapshot_name(index), received)
    cluster = _new_cluster(data, members) if len(members) > 1 else os.urandom(8).hex()
    save_identity(files, fresh, Identity(cluster, member, initial=members))
    restored = inspect(received)
    fresh.rename(directory)  # which may be there, if it is empty
    files.sync_directory(directory.parent)
    return restored


def _read(path: Path) -> tuple[bytes, Snapshot]:
    data = path.read_bytes()
    snapshot = parse_snapshot(data)
    before = ""
    for item in snapshot.items:
        if item.key <= before:
            raise StoreCorrupt(f"the snapshot's keys are not in order: {item.key!r} comes after {before!r}")
        if not 0 < item.create_revision <= item.mod_revision <= snapshot.revision:
            raise StoreCorrupt(f"the snapshot's key {item.key!r} was written at revision {item.mod_revision}, later")
        before = item.key
    return data, snapshot


def _described(data: bytes, snapshot: Snapshot) -> Described:
    known = decode_configuration(snapshot.configuration).members if snapshot.configuration else ()
    return Described(
        revision=snapshot.revision,
        keys=len(snapshot.items),
        leases=len(snapshot.leases),
        db_size=sum(len(item.key.encode()) + len(item.value) for item in snapshot.items),
        file_size=len(data),
        index=snapshot.base.index,
        term=snapshot.base.term,
        members=[each.name for each in known],
    )


def _new_cluster(data: bytes, members: Mapping[str, str]) -> str:
    """An id that comes out the same wherever this file is restored for these members, and nowhere else."""
    return hashlib.sha256(data + json.dumps(sorted(members.items())).encode()).hexdigest()[:16]
