"""Taking the leader's snapshot: what happens when the disk, or a program's mistake, comes in between."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import google_crc32c
import pytest

from orchestrator.store.files import DiskFiles
from orchestrator.store.installation import Installation
from orchestrator.store.log import NO_OP, Base, Log
from orchestrator.store.snapshot import Beside, Snapshot, SnapshotWriter, snapshot_name
from orchestrator.store.v1.raft_pb2 import SnapshotChunk


class _Incoming:
    """A member that is given a snapshot of entry 9 in one chunk."""

    def __init__(self, directory: Path) -> None:
        writer = SnapshotWriter(DiskFiles(), directory, Base(9, 1), 1, Beside())
        writer.finish()
        data = (directory / snapshot_name(9)).read_bytes()
        (directory / snapshot_name(9)).unlink()
        self.chunk = SnapshotChunk(
            last_index=9, last_term=1, data=data, checksum=google_crc32c.value(data), size=len(data)
        )
        self.log = Log.open(DiskFiles(), directory, Base())
        self.log.append(NO_OP, 1, 0)
        self.log.flush()
        self.installed: list[Snapshot | None] = []
        self.fails = False
        self.installation = Installation(DiskFiles(), directory, self.log, lambda: True, self._install)

    def _install(self, snapshot: Snapshot | None) -> None:
        if self.fails and snapshot is not None:
            raise RuntimeError("a mistake")
        self.installed.append(snapshot)

    async def take(self) -> None:
        assert self.installation.chunk(self.chunk) is None
        assert self.installation._task is not None
        await asyncio.wait([self.installation._task])


async def test_a_snapshot_whose_fsync_failed_comes_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = _Incoming(tmp_path)
    with monkeypatch.context() as broken:

        def sync(_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        broken.setattr("orchestrator.store.files.DiskFile.sync", sync)
        await member.take()
    assert member.installed == []
    assert not (tmp_path / "incoming.new").exists()
    await member.take()
    assert [snapshot is not None and snapshot.base for snapshot in member.installed] == [Base(9, 1)]
    member.log.close()


async def test_a_mistake_while_the_log_is_replaced_stops_the_member(tmp_path: Path) -> None:
    member = _Incoming(tmp_path)
    member.fails = True
    await member.take()
    assert member.installed == [None]
    member.log.close()
