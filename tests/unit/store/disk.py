"""A disk that can be told to fail, under the store's log."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Sequence
from pathlib import Path

from orchestrator.store.files import DiskFiles, File, Files


class FaultyFiles:
    """The real files, with every sync counted, held back or failing when told so."""

    def __init__(self) -> None:
        self._real: Files = DiskFiles()
        self.fail_syncs = False
        self.fail_writes = False
        self.syncs = 0
        self.events: list[str] = []
        self._open = threading.Event()
        self._open.set()
        self._waiting = threading.Event()

    def hold_syncs(self) -> None:
        """Let no sync finish until `release_syncs`."""
        self._waiting.clear()
        self._open.clear()

    def release_syncs(self) -> None:
        self._open.set()

    async def sync_begun(self) -> None:
        """Wait until a sync is being held."""
        assert await asyncio.to_thread(self._waiting.wait, 30), "nobody synced"

    def pass_gate(self) -> None:
        if not self._open.is_set():
            self._waiting.set()
            assert self._open.wait(30), "the sync was never released"

    def create(self, path: Path) -> File:
        return FaultyFile(self, self._real.create(path), path)

    def open_end(self, path: Path, size: int) -> File:
        return FaultyFile(self, self._real.open_end(path, size), path)

    def read(self, path: Path) -> bytes:
        return self._real.read(path)

    def rename(self, old: Path, new: Path) -> None:
        self._real.rename(old, new)

    def remove(self, path: Path) -> None:
        self._real.remove(path)

    def names(self, directory: Path) -> Sequence[str]:
        return self._real.names(directory)

    def sync_directory(self, directory: Path) -> None:
        self._real.sync_directory(directory)


class FaultyFile:
    def __init__(self, disk: FaultyFiles, real: File, path: Path) -> None:
        self._disk = disk
        self._real = real
        self._path = path

    def append(self, data: bytes) -> None:
        if self._disk.fail_writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._real.append(data)
        self._disk.events.append("append")

    def sync(self) -> None:
        self._disk.pass_gate()
        if self._disk.fail_syncs:
            raise OSError(errno.EIO, "Input/output error")
        self._real.sync()
        self._disk.syncs += 1
        self._disk.events.append("sync")

    def close(self) -> None:
        self._real.close()
