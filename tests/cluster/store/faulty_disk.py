"""The disk under a member process: real files, and faults when told so.

It can lose its power: what was not synced is gone, or partly there, or torn, names that were given or taken away since
the directory was synced are perhaps as before, and the process is killed before anybody can say anything more. It does
so at once, at the next sync (when everything is written and nothing is safe), in the middle of the next append, or
when the next name has been given or taken away.
Because contents are cut off while every operation waits, nothing that relied on them can have been said.

A sync can fail: then what it was to make safe is lost, as the kernel loses it, and a later sync would report success.

Copies of all removed segments are kept, for whoever compares logs afterwards.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn

from orchestrator.store.files import DiskFiles, File

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""
Moment = Literal["now", "sync", "append", "name"]


class FaultyDisk:
    """The `Files` of one member, in one directory."""

    def __init__(self, archive: Path) -> None:
        """`archive`: a directory on another file system than the member's, where removed segments are kept."""
        self._real = DiskFiles()
        self._archive = archive
        self._busy = threading.RLock()
        self._open: dict[Path, FaultyFile] = {}
        """Files with something that may not be synced, by their present name."""
        self._undo: list[Callable[[], None]] = []
        """How to take back the changes of names since the directory was synced, in order."""
        self._power_fails_at: Moment | None = None
        self._sync_fails = False
        self._chance = random.Random()
        self.sync_takes = 0.0
        """Seconds a sync takes longer than the real one."""

    # As the store sees it.

    def create(self, path: Path) -> File:
        with self._busy:
            self._open[path] = FaultyFile(self, path, self._real.create(path), 0)
            return self._open[path]

    def open_end(self, path: Path, size: int, allocated: int) -> File:
        with self._busy:
            self._open[path] = FaultyFile(self, path, self._real.open_end(path, size, allocated), size)
            return self._open[path]

    def read(self, path: Path) -> bytes:
        return self._real.read(path)

    def rename(self, old: Path, new: Path) -> None:
        with self._busy:
            replaced = self._real.read(new) if new.exists() else None
            self._real.rename(old, new)
            self._undo.append(partial(_rename_back, old, new, replaced))
            if old in self._open:
                self._open[new] = self._open.pop(old)
                self._open[new].path = new
            self._after_naming()

    def remove(self, path: Path) -> None:
        with self._busy:
            content = self._real.read(path)
            self._real.remove(path)
            if path.name.startswith("log-"):
                (self._archive / path.name).write_bytes(content)
            self._undo.append(partial(_write_back, path, content))
            self._open.pop(path, None)
            self._after_naming()

    def names(self, directory: Path) -> Sequence[str]:
        return self._real.names(directory)

    def sync_directory(self, directory: Path) -> None:
        with self._busy:
            self._real.sync_directory(directory)
            self._undo.clear()

    # Faults.

    def fail_power(self, moment: Moment, seed: int) -> None:
        """Kill the process, with what a disk may lose then; all chance is the seed's."""
        self._chance = random.Random(seed)
        self._power_fails_at = moment
        if moment == "now":
            self._die()

    def behave(self) -> None:
        """Take back what was to come."""
        self._power_fails_at = None
        self._sync_fails = False
        self.sync_takes = 0.0

    def fail_sync(self, seed: int) -> None:
        """Let the next sync fail."""
        self._chance = random.Random(seed)
        self._sync_fails = True

    def _die(self) -> NoReturn:
        # From here on nobody gets anything written or synced: the lock is never given back.
        self._busy.acquire()
        for opened in self._open.values():
            opened.lose(self._chance)
        # As with a journal: of the changes of names the first ones are there, and none behind the first that is not.
        for undo in reversed(self._undo[self._chance.randint(0, len(self._undo)) :]):
            undo()
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit("killed")

    def _after_naming(self) -> None:
        if self._power_fails_at == "name":
            self._die()

    def before_append(self, file: FaultyFile, data: bytes) -> None:
        if self._power_fails_at == "append":
            with self._busy:
                file.write_sectors(data, self._chance)
                self._die()

    def before_sync(self, file: FaultyFile) -> None:
        if self._power_fails_at == "sync":
            self._die()
        if self.sync_takes:
            time.sleep(self.sync_takes)
        if self._sync_fails:
            with self._busy:
                file.lose(self._chance)
            raise OSError(errno.EIO, "Input/output error (injected)")

    @property
    def busy(self) -> threading.RLock:
        return self._busy


class FaultyFile:
    def __init__(self, disk: FaultyDisk, path: Path, real: File, size: int) -> None:
        self._disk, self._real = disk, real
        self.path = path
        self._written = self._synced = self._touched = size

    def append(self, data: bytes) -> None:
        self._disk.before_append(self, data)
        with self._disk.busy:
            self.write(data)

    def write(self, data: bytes) -> None:
        self._touched = max(self._touched, self._written + len(data))
        self._real.append(data)
        self._written += len(data)

    def write_sectors(self, data: bytes, chance: random.Random) -> None:
        """As many whole sectors of it as chance will have."""
        end = chance.randint(self._written, self._written + len(data))
        self.write(data[: max(end - end % SECTOR - self._written, 0)])

    def allocate(self, size: int) -> None:
        with self._disk.busy:
            self._real.allocate(size)

    def cut(self) -> None:
        with self._disk.busy:
            self._real.cut()
            self._touched = self._synced = self._written

    def sync(self) -> None:
        with self._disk.busy:
            written = self._written
        self._disk.before_sync(self)
        self._real.sync()
        with self._disk.busy:
            self._synced = max(self._synced, written)

    def lose(self, chance: random.Random) -> None:
        """Of what is not synced a beginning is left, perhaps with sectors that were never written."""
        size = self.path.stat().st_size
        touched = min(self._touched, size)
        kept = chance.randint(self._synced, touched)
        with self.path.open("r+b") as file:
            begin = self._synced
            while begin < touched:
                end = min(begin - begin % SECTOR + SECTOR, touched)
                if begin >= kept or chance.random() < 0.2:
                    file.seek(begin)
                    file.write(bytes(end - begin))
                begin = end
            if chance.random() < 0.5:
                file.truncate(chance.randint(kept, size))

    def close(self) -> None:
        self._real.close()


def _rename_back(old: Path, new: Path, replaced: bytes | None) -> None:
    new.rename(old)
    if replaced is not None:
        new.write_bytes(replaced)


def _write_back(path: Path, content: bytes) -> None:
    path.write_bytes(content)
