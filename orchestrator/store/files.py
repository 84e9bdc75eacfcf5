"""The few things the store asks of a file system, in one place.

Everything durable goes through a `Files`, so that a test can make an fsync fail, tear a write or fill the disk, and see
what the store does about it.

Space is reserved ahead of the writes: then a write changes no metadata, which makes an fdatasync a quarter faster, and
a full disk is met before anything of a write is on it. Reserved space reads as zeros. Where the file system cannot
reserve, nothing is, and the disk turns out to be full while writing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class File(Protocol):
    """A file that is only ever appended to."""

    def append(self, data: bytes) -> None:
        """Write all of `data` behind what was appended before. Raises OSError; part of it may then be written, which
        counts for nothing: `cut` removes it."""

    def allocate(self, size: int) -> None:
        """Have `size` bytes of the file reserved; those that nothing was appended to read as zeros.

        Raises OSError when there is no room (`is_full`); the file is then as it was.
        """

    def cut(self) -> None:
        """Drop, durably, what is behind the bytes that were appended: reserved space, or part of a failed append."""

    def sync(self) -> None:
        """Return when everything appended is on the disk. After an OSError nothing about the file can be trusted."""

    def close(self) -> None:
        """Closing twice is fine."""


class Files(Protocol):
    """A directory of append-only files."""

    def create(self, path: Path) -> File:
        """A new, empty file; an old one of that name is gone."""

    def open_end(self, path: Path, size: int, allocated: int) -> File:
        """An existing file, to be continued after its first `size` bytes.

        From there to `allocated` it is zeros, which are kept as reserved; what is behind that is cut off, durably.
        """

    def read(self, path: Path) -> bytes: ...

    def rename(self, old: Path, new: Path) -> None: ...

    def remove(self, path: Path) -> None: ...

    def names(self, directory: Path) -> Sequence[str]:
        """The names in the directory, sorted."""

    def sync_directory(self, directory: Path) -> None:
        """Return when the directory's names (created, renamed, removed) are on the disk."""


def is_full(error: OSError) -> bool:
    """Whether an operation failed because there is no room, on the disk or in a quota."""
    return error.errno in _FULL


_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_CANNOT_RESERVE = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))


class DiskFile:
    """A file of the operating system."""

    def __init__(self, descriptor: int, end: int = 0) -> None:
        self._descriptor = descriptor
        self._end = end

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        end = self._end
        while rest:
            written = os.pwrite(self._descriptor, rest, end)
            rest, end = rest[written:], end + written
        self._end = end

    def allocate(self, size: int) -> None:
        before = os.fstat(self._descriptor).st_size
        if size <= before:
            return
        try:
            os.posix_fallocate(self._descriptor, before, size - before)
        except OSError as error:
            if error.errno in _CANNOT_RESERVE:
                return
            os.ftruncate(self._descriptor, before)
            raise

    def cut(self) -> None:
        os.ftruncate(self._descriptor, self._end)
        os.fsync(self._descriptor)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DiskFiles:
    """The operating system's file system. Files are for the owner's eyes: Secrets are in them."""

    def create(self, path: Path) -> File:
        return DiskFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))

    def open_end(self, path: Path, size: int, allocated: int) -> File:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size != allocated:
                os.ftruncate(descriptor, allocated)
                os.fsync(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return DiskFile(descriptor, size)

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
