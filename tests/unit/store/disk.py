"""A disk that can be told to fail, to be slow, and to lose its power, under the store's files."""

from __future__ import annotations

import asyncio
import errno
import random
import threading
from collections.abc import Sequence
from pathlib import Path

from orchestrator.store.files import DiskFiles, File, Files
from orchestrator.store.tail import SECTOR


class FaultyFiles:
    """The real files, with every sync counted, held back or failing when told so.

    It also knows what a power cut would leave: of each file what was synced and of the rest any of its sectors, and
    names that were given after the last sync of the directory perhaps not.
    """

    def __init__(self) -> None:
        self._real: Files = DiskFiles()
        self.fail_syncs = False
        self.fail_writes = False
        """Writes fail with EIO."""
        self.free: int | None = None
        """Bytes that can still be reserved or written, over all files; None: as many as the real disk has."""
        self.tear_next = False
        """The next write finds the disk full half-way."""
        self.syncs = 0
        self.events: list[str] = []
        self._open = threading.Event()
        self._open.set()
        self._waiting = threading.Event()
        self.changing = threading.Lock()
        self.synced: dict[Path, int] = {}
        self.sizes: dict[Path, int] = {}
        self._unsettled_names: dict[Path, Path] = {}

    def create(self, path: Path) -> File:
        with self.changing:
            self.synced[path] = 0
            self.take(path, 0)
            return FaultyFile(self, self._real.create(path), path)

    def open_end(self, path: Path, size: int, allocated: int) -> File:
        with self.changing:
            self.synced[path] = size
            self.take(path, allocated)
            return FaultyFile(self, self._real.open_end(path, size, allocated), path)

    def read(self, path: Path) -> bytes:
        return self._real.read(path)

    def rename(self, old: Path, new: Path) -> None:
        with self.changing:
            self._real.rename(old, new)
            self.synced[new] = self.synced.pop(old)
            self.sizes[new] = self.sizes.pop(old)
            self._unsettled_names[new] = old

    def remove(self, path: Path) -> None:
        with self.changing:
            self._real.remove(path)
            self.synced.pop(path, None)
            self.take(path, 0)

    def names(self, directory: Path) -> Sequence[str]:
        return self._real.names(directory)

    def sync_directory(self, directory: Path) -> None:
        with self.changing:
            self._real.sync_directory(directory)
            self._unsettled_names.clear()

    def named(self, created: Path) -> Path:
        """The present name of a file that was created as `created`."""
        return created if created in self.synced else created.with_suffix("")

    # Full.

    def take(self, path: Path, size: int) -> None:
        """A file is to be this large. Raises OSError when there is not so much room."""
        grows = size - self.sizes.get(path, 0)
        if self.free is not None:
            if grows > self.free:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.free -= grows
        self.sizes[path] = size

    # Slow.

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

    # Without power.

    def cut_power(self, directory: Path, target: Path, chance: random.Random) -> None:
        """Write to `target` what the disk could hold of `directory` if the power failed now."""
        with self.changing:
            target.mkdir()
            for path in directory.iterdir():
                if path.name == "lock":
                    continue
                data = bytearray(path.read_bytes())
                synced = self.synced.get(path, len(data))
                begin = synced
                while begin < len(data):
                    end = min(len(data), (begin // SECTOR + 1) * SECTOR)
                    if chance.random() < 0.5:
                        data[begin:end] = bytes(end - begin)
                    begin = end
                kept = chance.choice((len(data), chance.randint(synced, len(data))))
                name = path.name
                if path in self._unsettled_names and chance.random() < 0.5:
                    name = self._unsettled_names[path].name
                (target / name).write_bytes(data[:kept])


class FaultyFile:
    def __init__(self, disk: FaultyFiles, real: File, path: Path) -> None:
        self._disk = disk
        self._real = real
        self._path = path
        self._written = disk.synced[path]

    def append(self, data: bytes) -> None:
        if self._disk.fail_writes:
            raise OSError(errno.EIO, "Input/output error")
        with self._disk.changing:
            path = self._name()
            if self._disk.tear_next:
                self._disk.tear_next = False
                with path.open("r+b") as torn:
                    torn.seek(self._written)
                    torn.write(data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            self._disk.take(path, max(self._disk.sizes[path], self._written + len(data)))
            self._real.append(data)
            self._written += len(data)
        self._disk.events.append("append")

    def allocate(self, size: int) -> None:
        with self._disk.changing:
            path = self._name()
            self._disk.take(path, max(self._disk.sizes[path], size))
            self._real.allocate(size)

    def cut(self) -> None:
        with self._disk.changing:
            self._real.cut()
            self._disk.take(self._name(), self._written)

    def _name(self) -> Path:
        return self._disk.named(self._path)

    def sync(self) -> None:
        written = self._written
        self._disk.pass_gate()
        if self._disk.fail_syncs:
            raise OSError(errno.EIO, "Input/output error")
        self._real.sync()
        with self._disk.changing:
            self._disk.synced[self._name()] = written
        self._disk.syncs += 1
        self._disk.events.append("sync")

    def close(self) -> None:
        self._real.close()
