"""When this member takes a snapshot, and how: page by page beside the running store, then the log it covers goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.store.errors import StoreUnavailable
from orchestrator.store.files import Files
from orchestrator.store.interface import KeyValue
from orchestrator.store.log import Base, Log
from orchestrator.store.memory import give_back
from orchestrator.store.snapshot import Beside, SnapshotWriter, snapshot_name
from orchestrator.store.state import State

log = logging.getLogger(__name__)

_PAGE = 500
"""Keys a snapshot takes at once: less than a millisecond of the event loop."""
_PIECE_BYTES = 1 << 18
"""Values are encoded and written in pieces of about this size, however large a page is: so the memory a snapshot needs
does not depend on what it holds, and the thread that writes it soon lets the event loop have its turn."""


class Snapshotter:
    def __init__(
        self,
        files: Files,
        directory: Path,
        durable: Log,
        base: Base,
        clock: Clock,
        *,
        grown: int,
        entries: int,
        needed: Callable[[], int],
    ) -> None:
        """A snapshot is due when the log has `grown` by so many bytes and by the size of the data, or by `entries`.

        `needed`: the entries behind this one stay in the log, although a snapshot has them.
        """
        self._files, self._directory, self._log, self._clock = files, directory, durable, clock
        self._grown, self._entries, self._needed = grown, entries, needed
        self.base = base
        """The last entry the newest snapshot covers."""
        self._taken_at = clock.monotonic()
        # Where the log was at the last attempt, whether it came to something or not.
        self._appended_then = 0
        self._applied_then = base.index
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._hurried = False

    @property
    def age(self) -> float:
        """Seconds since the last snapshot was taken, or found at the start; 0: there is none."""
        return self._clock.monotonic() - self._taken_at if self.base.index else 0.0

    def is_due(self, state: State, applied: int) -> bool:
        if self._task is not None or self._stopping:
            return False
        if self._hurried and self._log.size > 2 * state.size and applied > self.base.index:
            return True
        threshold = max(self._grown, state.size)
        return self._log.appended - self._appended_then >= threshold or applied - self._applied_then >= self._entries

    def take(self, state: State, applied: Base, beside: Beside) -> None:
        """Begin one of the state as it is now, after the entry `applied`, and of what is `beside` it."""
        self._hurried = False
        self._appended_then, self._applied_then = self._log.appended, applied.index
        work = self._take(state, applied, beside)
        self._task = asyncio.get_running_loop().create_task(work, name="store-snapshot")

    def installed(self, base: Base) -> None:
        """Another member's snapshot has become this one's newest."""
        self.base = base
        self._taken_at = self._clock.monotonic()
        self._appended_then, self._applied_then = self._log.appended, base.index

    def hurry(self) -> None:
        """Take one soon, if that gives space back."""
        self._hurried = True

    @property
    def busy(self) -> bool:
        return self._task is not None

    async def wait(self) -> None:
        """Return when the one that is being written is finished, or has failed."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def newest(self) -> bytes:
        """The newest one's file. Raises OSError."""
        while True:
            try:
                return await asyncio.to_thread(self._files.read, self._directory / snapshot_name(self.base.index))
            except FileNotFoundError:
                if not self.busy:
                    raise
                # A newer one is about to take its place.
                await self.wait()

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
            self._taken_at = self._clock.monotonic()
            self._log.metrics.snapshot.observe(self._taken_at - started)
            await asyncio.to_thread(self._log.remove_segments, min(base.index, self._needed()))
            await asyncio.to_thread(give_back)
            log.info(
                "snapshot of entry %d at revision %d written in %.2f s",
                base.index,
                revision,
                self._taken_at - started,
            )
        except (OSError, StoreUnavailable) as error:
            # The log still has everything; the next attempt comes when it has grown as much again.
            self._log.metrics.snapshots_failed += 1
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
                for piece in _pieces(page):
                    await asyncio.to_thread(writer.add, piece)
            if not self._stopping:
                await asyncio.to_thread(writer.finish)
                finished = True
        finally:
            if not finished:
                writer.abandon()
        return finished


def _pieces(page: Sequence[KeyValue]) -> Iterator[Sequence[KeyValue]]:
    begin, size = 0, 0
    for position, item in enumerate(page):
        size += len(item.value)
        if size >= _PIECE_BYTES:
            yield page[begin : position + 1]
            begin, size = position + 1, 0
    if begin < len(page):
        yield page[begin:]
