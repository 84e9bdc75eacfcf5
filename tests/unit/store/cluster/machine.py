"""A simulated machine's disk, in memory: what was not synced is lost, or torn, when its power fails."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from pathlib import Path

from orchestrator.store.files import File


class Disk:
    """The files of one machine. Names count as synced at once; what matters here are the contents."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._contents: dict[Path, bytearray] = {}
        self._synced: dict[Path, int] = {}
        self.power = 1
        """Counts up with every power failure: a file opened before it is dead."""
        self.full = False
        self.fail_at_sync = False
        """The machine stops at its next sync: what was to be synced is written, and is not safe."""

    def fail_power(self) -> None:
        """Keep what was synced, and of the rest a beginning, perhaps with a hole in it."""
        self.power += 1
        self.fail_at_sync = False
        for path, content in self._contents.items():
            synced = self._synced[path]
            kept = self._chance.randint(synced, len(content))
            del content[kept:]
            if kept > synced and self._chance.random() < 0.3:
                content[self._chance.randrange(synced, kept)] ^= 0xFF
            self._synced[path] = kept

    def create(self, path: Path) -> File:
        self._contents[path] = bytearray()
        self._synced[path] = 0
        return _OpenFile(self, path)

    def open_end(self, path: Path, size: int) -> File:
        del self._contents[path][size:]
        self._synced[path] = size
        return _OpenFile(self, path)

    def read(self, path: Path) -> bytes:
        if path not in self._contents:
            raise FileNotFoundError(path)
        return bytes(self._contents[path])

    def rename(self, old: Path, new: Path) -> None:
        self._contents[new] = self._contents.pop(old)
        self._synced[new] = self._synced.pop(old)

    def remove(self, path: Path) -> None:
        del self._contents[path]
        del self._synced[path]

    def names(self, directory: Path) -> Sequence[str]:
        return sorted(path.name for path in self._contents if path.parent == directory)

    def sync_directory(self, directory: Path) -> None:
        """See the class."""

    def append(self, path: Path, data: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._contents[path] += data

    def sync(self, path: Path) -> None:
        if self.fail_at_sync:
            raise OSError(errno.EIO, "Input/output error")
        self._synced[path] = len(self._contents[path])


class _OpenFile:
    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._content = disk._contents[path]
        self._power = disk.power

    def append(self, data: bytes) -> None:
        if self._power == self._disk.power:
            self._disk.append(self._path(), data)

    def sync(self) -> None:
        if self._power == self._disk.power:
            self._disk.sync(self._path())

    def close(self) -> None:
        """Nothing is kept open."""

    def _path(self) -> Path:
        # By identity: the file may have been given another name since it was opened.
        return next(path for path, content in self._disk._contents.items() if content is self._content)
