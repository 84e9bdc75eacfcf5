"""One process per directory: two writers would destroy each other's log."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from orchestrator.store.errors import StoreLocked

LOCK_NAME = "lock"
"""The one file that says nothing about a store."""


class DirectoryLock:
    """Held from construction until `release`, or until the process ends, however it ends. Raises StoreLocked."""

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise StoreLocked(
                f"the store in {directory} is in use by process {holder or 'unknown'}: stop it first"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Releasing twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
