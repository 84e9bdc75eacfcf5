"""When this member takes a snapshot, and how: page by page beside the running store, then the log it covers goes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.store.files import Files
from orchestrator.store.log import Base, Log
from orchestrator.store.snapshot import Beside, SnapshotWriter
from orchestrator.store.state import State

log = logging.getLogger(__name__)

_PAGE = 1000
"""Keys a snapshot takes at once: about a millisecond of the event loop."""


class Snapshotter:
    def __init__(
        self, files: Files, directory: Path, durable: Log, base: Base, clock: Clock, *, grown: int, entries: int
    ) -> None:
        """A snapshot is due when the log has `grown` by so many bytes and by the size of the data, or by `entries`."""
        self._files, self._directory, self._log, self._clock = files, directory, durable, clock
        self._grown, self._entries = grown, entries
        self.base = base
        """The last entry the newest snapshot covers."""
        # Where the log was at the last attempt, whether it came to something or not.
        self._appended_then = 0
        self._applied_then = base.index
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def is_due(self, state: State, applied: int) -> bool:
        if self._task is not None or self._stopping:
            return False
        threshold = max(self._grown, state.size)
        return self._log.appended - self._appended_then >= threshold or applied - self._applied_then >= self._entries

    def take(self, state: State, applied: Base, beside: Beside) -> None:
        """Begin one of the state as it is now, after the entry `applied`, and of what is `beside` it."""
        self._appended_then, self._applied_then = self._log.appended, applied.index
        work = self._take(state, applied, beside)
        self._task = asyncio.get_running_loop().create_task(work, name="store-snapshot")

    def installed(self, base: Base) -> None:
        """Another member's snapshot has become this one's newest."""
        self.base = base
        self._appended_then, self._applied_then = self._log.appended, base.index

    async def stop(self) -> None:
        """Abandon a snapshot that is being written."""
        self._stopping = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _take(self, state: State, base: Base, beside: Beside) -> None:
        """Write the state as it is now while writes go on, then drop the part of the log that it covers."""
        revision = state.pin()
        started = self._clock.monotonic()
        try:
            if not await self._write(state, base, revision, beside):
                return
            if base.index < self.base.index:
                # A newer one came from the leader meanwhile; `finish` kept that.
                return
            self.base = base
            await asyncio.to_thread(self._log.remove_segments, base.index)
            log.info(
                "snapshot of entry %d at revision %d written in %.2f s",
                base.index,
                revision,
                self._clock.monotonic() - started,
            )
        except OSError as error:
            # The log still has everything; the next attempt comes when it has grown as much again.
            log.error("a snapshot could not be written: %s", error)
        finally:
            state.unpin(revision)
            self._task = None

    async def _write(self, state: State, base: Base, revision: int, beside: Beside) -> bool:
        """Whether it was finished; a closing store abandons it."""
        writer = await asyncio.to_thread(SnapshotWriter, self._files, self._directory, base, revision, beside)
        finished = False
        try:
            after = ""
            while not self._stopping and (page := state.page(after, _PAGE, revision)):
                after = page[-1].key
                await asyncio.to_thread(writer.add, page)
            if not self._stopping:
                await asyncio.to_thread(writer.finish)
                finished = True
        finally:
            if not finished:
                writer.abandon()
        return finished
