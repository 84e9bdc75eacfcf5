"""The few things the store asks of a file system, in one place.

Everything durable goes through a `Files`, so that a test can make an fsync fail, tear a write or fill the disk, and see
what the store does about it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class File(Protocol):
    """A file that is only ever appended to."""

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end. Raises OSError; part of it may then be written."""

    def sync(self) -> None:
        """Return when everything appended is on the disk. After an OSError nothing about the file can be trusted."""

    def close(self) -> None:
        """Closing twice is fine."""


class Files(Protocol):
    """A directory of append-only files."""

    def create(self, path: Path) -> File:
        """A new, empty file; an old one of that name is gone."""

    def open_end(self, path: Path, size: int) -> File:
        """An existing file, to be continued after its first `size` bytes; what is behind them is cut off, durably."""

    def read(self, path: Path) -> bytes: ...

    def rename(self, old: Path, new: Path) -> None: ...

    def remove(self, path: Path) -> None: ...

    def names(self, directory: Path) -> Sequence[str]:
        """The names in the directory, sorted."""

    def sync_directory(self, directory: Path) -> None:
        """Return when the directory's names (created, renamed, removed) are on the disk."""


class DiskFile:
    """A file of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DiskFiles:
    """The operating system's file system. Files are for the owner's eyes: Secrets are in them."""

    def create(self, path: Path) -> File:
        return DiskFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600))

    def open_end(self, path: Path, size: int) -> File:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size != size:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return DiskFile(descriptor)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def remove(self, path: Path) -> None:
        path.unlink()

    def names(self, directory: Path) -> Sequence[str]:
        return sorted(entry.name for entry in directory.iterdir())

    def sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
