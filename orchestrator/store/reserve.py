"""Space kept back for the day the disk is full: a file of that size, removed when somebody needs the room.

With it a full disk leaves room for what helps: deletions, compactions, a new snapshot after which old segments go. It
is made again as soon as there is space, and only then does the disk count as having room.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from orchestrator.store.files import Files

NAME = "reserve"


class Reserve:
    def __init__(self, files: Files, directory: Path, size: int) -> None:
        """`size` in bytes; 0: nothing is kept back."""
        self._files = files
        self._directory = directory
        self._path = directory / NAME
        self._size = size
        self._there = NAME in files.names(directory)

    def keep(self) -> None:
        """Have the space kept back. Raises OSError; then nothing is."""
        if self._there or not self._size:
            return
        file = self._files.create(self._path)
        try:
            file.allocate(self._size)
            file.sync()
        except OSError:
            file.close()
            with contextlib.suppress(FileNotFoundError):
                self._files.remove(self._path)
            raise
        file.close()
        self._there = True

    def release(self) -> bool:
        """Give the space up; whether there was any. Raises OSError."""
        if not self._there:
            return False
        self._there = False
        self._files.remove(self._path)
        self._files.sync_directory(self._directory)
        return True
