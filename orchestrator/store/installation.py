"""Receiving a snapshot from the leader, until it is a file of this member that checks.

The chunks go to a file that has no name yet. When it is whole, on the disk, and reads back as a snapshot of the entry
that was promised, it is named `received-N`: from then on a restart would take the state from it. The store then makes
the log begin behind it, and the file becomes this member's newest snapshot.

Where there is no room for it, what came is removed, and the leader's next attempts wait until there is some.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import google_crc32c

from orchestrator.store.errors import DiskFull, StoreCorrupt, StoreUnavailable
from orchestrator.store.files import File, Files, is_full
from orchestrator.store.log import Log
from orchestrator.store.snapshot import Snapshot, adopt_received, parse_snapshot, received_name
from orchestrator.store.v1.raft_pb2 import SnapshotChunk, SnapshotReceived

log = logging.getLogger(__name__)

_PAUSE = 0.001
"""Seconds between two looks whether the log is at rest."""


class Incoming:
    """The snapshot that is coming in; one at a time, the latest that was begun."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files, self._directory = files, directory
        self._index = 0
        self._file: File | None = None
        self._offset = 0

    def add(self, chunk: SnapshotChunk) -> int:
        """Take a chunk if it is the next one; how much of its snapshot is here then. Raises OSError."""
        if chunk.last_index != self._index or self._file is None:
            self.abandon()
            self._index = chunk.last_index
            self._file = self._files.create(self._fresh)
        if chunk.offset != self._offset:
            return self._offset
        if google_crc32c.value(chunk.data) != chunk.checksum:
            log.warning("a chunk of a snapshot at offset %d came altered: asking for it again", chunk.offset)
            return self._offset
        self._file.append(chunk.data)
        self._offset += len(chunk.data)
        return self._offset

    def finish(self, index: int) -> Snapshot:
        """All of it is here: make it durable, check it, and name it. Blocking. Raises StoreCorrupt, OSError."""
        assert self._file is not None
        self._file.sync()
        self._file.close()
        self._file = None
        self._offset = 0
        snapshot = parse_snapshot(self._files.read(self._fresh))
        if snapshot.base.index != index:
            raise StoreCorrupt(f"the leader sent a snapshot of entry {snapshot.base.index} instead of {index}")
        self._files.rename(self._fresh, self._directory / received_name(index))
        self._files.sync_directory(self._directory)
        return snapshot

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            with contextlib.suppress(OSError):
                self._files.remove(self._fresh)
        self._offset = 0

    @property
    def _fresh(self) -> Path:
        return self._directory / "incoming.new"


class Installation:
    """Takes chunks, and puts the snapshot in the place of the log and the state when it is whole."""

    def __init__(
        self,
        files: Files,
        directory: Path,
        durable: Log,
        quiet: Callable[[], bool],
        install: Callable[[Snapshot | None], None],
    ) -> None:
        """`quiet` has everybody leave the log alone, if it can be; `install` is called once the log is replaced."""
        self._files, self._directory, self._log = files, directory, durable
        self._incoming = Incoming(files, directory)
        self._quiet, self._install = quiet, install
        self._task: asyncio.Task[None] | None = None
        self.replacing = False
        """While the log is replaced no message may add to it: what it would promise would be gone."""

    def chunk(self, chunk: SnapshotChunk) -> SnapshotReceived | None:
        """What to tell the leader; None: nothing yet."""
        if self._task is not None:
            return None
        if self._have(chunk.last_index, chunk.last_term):
            return SnapshotReceived(last_index=chunk.last_index, offset=chunk.size)
        if self._log.full:
            return None
        try:
            offset = self._incoming.add(chunk)
        except OSError as error:
            log.error("the leader's snapshot cannot be written: %s", error)
            self._incoming.abandon()
            self._log.full |= is_full(error)
            return None
        if offset < chunk.size:
            return SnapshotReceived(last_index=chunk.last_index, offset=offset)
        work = self._replace(chunk.last_index, chunk.last_term)
        self._task = asyncio.get_running_loop().create_task(work, name="store-install")
        return None

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _have(self, index: int, term: int) -> bool:
        """Whether the log holds that entry, on the disk: then it holds or knows all before it."""
        first = self._log.entries[0][1]
        if index > self._log.durable_index:
            return False
        return index < first or self._log.term_of(index) == term

    async def _replace(self, index: int, term: int) -> None:
        try:
            snapshot = await asyncio.to_thread(self._incoming.finish, index)
            while not (arrived := self._have(index, term)) and not self._quiet():  # noqa: ASYNC110 - a flush is short
                await asyncio.sleep(_PAUSE)
            if arrived:
                self._files.remove(self._directory / received_name(index))
                return
            self.replacing = True
            await asyncio.to_thread(self._log.reset, snapshot.base)
            await asyncio.to_thread(adopt_received, self._files, self._directory, index)
            self._install(snapshot)
            log.info("this member goes on from the leader's snapshot of entry %d", index)
        except DiskFull as error:
            log.error("there is no room to begin anew behind the leader's snapshot: %s", error)
            with contextlib.suppress(OSError):
                self._files.remove(self._directory / received_name(index))
            self._install(None)
        except (OSError, StoreCorrupt) as error:
            log.error("the leader's snapshot could not be taken: %s", error)
            # Not even a file whose fsync has failed is tried again: it comes anew.
            self._incoming.abandon()
            self._log.full |= isinstance(error, OSError) and is_full(error)
            if self.replacing:
                self._install(None)
        except StoreUnavailable:
            self._install(None)
        except Exception:
            # Nobody waits for this task: the member would stand still, and nobody would know why.
            log.exception("the leader's snapshot could not be taken")
            if self.replacing:
                self._install(None)
        finally:
            self.replacing = False
            self._task = None
