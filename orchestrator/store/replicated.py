"""The store itself: state machine, watch hub, log and engine, and the order in which they act.

One write goes like this. `txn` encodes it and puts it among the pending. A turn of the driver makes one log entry of
all that are pending and proposes it; the engine's tick appends it; the flusher puts it on the disk; the next turn's
tick commits it, applies it to the state, publishes its events, and resolves the writers' futures with their results.
While the disk is busy the next group gathers, so the tick that commits one group appends the next: throughput grows
with load.

The engine ticks only while the log is flushed. That one rule gives the order everything relies on: on the disk, then
committed, then applied and visible, then acknowledged.

Nothing here waits on a timer but the history's age; an idle store does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.store.command import Compact, Limits, decode_group, encode_compact, encode_group, encode_txn
from orchestrator.store.errors import StoreBusy, StoreUnavailable
from orchestrator.store.files import Files
from orchestrator.store.flusher import Flusher
from orchestrator.store.interface import Compare, Delete, KeyValue, Put, RangeResult, StoreStatus, TxnResult
from orchestrator.store.lock import DirectoryLock
from orchestrator.store.log import Base, Log
from orchestrator.store.raft import Raft, Results, failure_text
from orchestrator.store.retention import Kept, Retention
from orchestrator.store.snapshot import SnapshotWriter
from orchestrator.store.state import State
from orchestrator.store.watch import Hub, HubWatch

log = logging.getLogger(__name__)

_PAGE = 1000
"""Keys a snapshot takes at once: about a millisecond of the event loop."""
_AGE_CHECK = 30.0
"""Seconds between two looks at the history's age."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about a store that can be tuned."""

    member: str = "local"
    limits: Limits = field(default_factory=Limits)
    kept: Kept = field(default_factory=Kept)
    backlog: int = 10_000
    """Events a watcher may be behind."""
    pending_writes: int = 16_384
    pending_bytes: int = 64 << 20
    group_writes: int = 1024
    group_bytes: int = 4 << 20
    segment_size: int = 16 << 20
    entries_in_memory: int = 256
    """Applied entries kept in memory; a lone member needs only the last."""
    snapshot_bytes: int = 32 << 20
    """A snapshot is taken when the log has grown by this much, and by the size of the data, since the last."""
    snapshot_entries: int = 50_000
    """Or by this many entries: they are replayed at the start, which takes about 20 microseconds each."""


@dataclass(slots=True)
class _Pending:
    """A write that waits for its group."""

    command: bytes
    done: asyncio.Future[TxnResult | None]


class ReplicatedStore:
    """The `Store` on this member. Made by `open_store`; belongs to one event loop."""

    def __init__(
        self, directory: Path, lock: DirectoryLock, state: State, base: Base, durable: Log, *,
        files: Files, clock: Clock, settings: Settings,
    ) -> None:  # fmt: skip
        self._directory, self._lock, self._files, self._clock = directory, lock, files, clock
        self._settings = settings
        self._state = state
        self._hub = Hub(revision=state.revision, floor=state.compacted, backlog=settings.backlog)
        self._log = durable
        self._loop = asyncio.get_running_loop()
        self._retention = Retention(settings.kept)
        self._pending: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._in_flight: deque[Sequence[_Pending]] = deque()
        self._flushing = False
        self._turn_scheduled = False
        self._compacting: asyncio.Future[TxnResult | None] | None = None
        self._snapshot_base = base
        # Where the log was at the last attempt, whether it came to something or not.
        self._snapshot_appended = 0
        self._snapshot_applied = base.index
        self._snapshot_task: asyncio.Task[None] | None = None
        self._age_task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._failure: str | None = "the store is not open yet"
        self._failed = asyncio.Event()
        self._raft = Raft(settings.member, durable, base, self._apply)
        self._flusher = Flusher(durable.flush, self._flushed, self._loop)

    async def start(self) -> None:
        """Become leader and apply what the log holds. Raises StoreCorrupt, StoreUnavailable."""
        while not self._raft.settled():
            self._raft.tick()
            self._log.flush()
            await asyncio.sleep(0 if self._raft.settled() else 0.001)
        self._failure = None
        self._age_task = self._loop.create_task(self._watch_age(), name="store-age")
        self._look_after_size()

    # Reading. The leader of one is always up to date: what was acknowledged has been applied.

    async def get(self, key: str, *, revision: int = 0, serializable: bool = False) -> KeyValue | None:
        self._check()
        return self._state.get(key, revision)

    async def range(
        self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0, serializable: bool = False
    ) -> RangeResult:
        self._check()
        return self._state.range(prefix, start_after=start_after, limit=limit, revision=revision)

    def watch(self, prefix: str, *, after: int) -> HubWatch:
        self._check()
        return self._hub.watch(prefix, after)

    # Writing.

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> TxnResult:
        self._check()
        result = await self._submit(encode_txn(compares, operations, self._settings.limits))
        assert result is not None
        return result

    async def compact(self, revision: int) -> None:
        self._check()
        await self._submit(encode_compact(min(max(revision, 0), self._state.revision)))

    def _submit(self, command: bytes) -> asyncio.Future[TxnResult | None]:
        settings = self._settings
        if len(self._pending) >= settings.pending_writes or self._pending_bytes >= settings.pending_bytes:
            raise StoreBusy(f"{len(self._pending)} writes wait for the disk already: try again")
        pending = _Pending(command, self._loop.create_future())
        self._pending.append(pending)
        self._drained.clear()
        self._pending_bytes += len(command)
        self._wake()
        return pending.done

    # The driver.

    def _wake(self) -> None:
        """Have a turn soon: after the tasks that are ready now, which may have more to write."""
        if not self._turn_scheduled and not self._flushing:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        if self._failure is not None:
            return
        try:
            self._propose()
            self._raft.tick()
        except Exception as error:
            # Whatever it is, the state may be half-way; only a restart from the log is sure to be right.
            log.exception("the store stops: applying the log failed")
            self._fail(f"the store stopped: {error}")
            return
        if self._log.dirty:
            self._flushing = True
            self._flusher.request()
        elif self._in_flight or self._pending:
            self._wake()
        else:
            self._drained.set()
        self._look_after_size()

    def _flushed(self, error: StoreUnavailable | None) -> None:
        self._flushing = False
        if error is not None:
            log.error("the store stops: %s", error)
            self._fail(str(error))
        else:
            self._turn()

    def _propose(self) -> None:
        """Make one entry of what is pending."""
        if not self._pending:
            return
        group: list[_Pending] = []
        size = 0
        while self._pending and len(group) < self._settings.group_writes and size < self._settings.group_bytes:
            pending = self._pending.popleft()
            group.append(pending)
            size += len(pending.command)
        self._pending_bytes -= size
        self._in_flight.append(group)

        def done(results: Results | None, reason: int) -> None:
            self._in_flight.remove(group)
            for position, pending in enumerate(group):
                if pending.done.done():
                    continue
                if results is None:
                    error = StoreUnavailable(f"the write was not committed: {failure_text(reason)}")
                    pending.done.set_exception(error)
                else:
                    pending.done.set_result(results[position])

        self._raft.propose(encode_group([pending.command for pending in group]), done)

    def _apply(self, command: bytes) -> Results:
        """One committed entry: called by the engine, in log order, also for what the log held at the start."""
        results: list[TxnResult | None] = []
        for each in decode_group(command):
            if isinstance(each, Compact):
                self._state.compact(each.revision)
                self._hub.trim(self._state.compacted)
                results.append(None)
            else:
                outcome = self._state.apply(each.compares, each.operations)
                if outcome.events:
                    self._hub.publish(outcome.result.revision, outcome.events)
                results.append(outcome.result)
        return results

    # Housekeeping.

    async def _watch_age(self) -> None:
        while True:
            self._retention.sample(self._clock.monotonic(), self._state.revision)
            self._compact_if_due()
            await self._clock.sleep(_AGE_CHECK)

    def _look_after_size(self) -> None:
        if self._closed or self._failure is not None:
            return
        if len(self._log.entries) > 2 * self._settings.entries_in_memory:
            self._log.forget_entries(self._raft.raftLastApplied - self._settings.entries_in_memory)
        self._compact_if_due()
        if self._snapshot_task is None and self._snapshot_due():
            self._snapshot_appended = self._log.appended
            self._snapshot_applied = self._raft.raftLastApplied
            self._snapshot_task = self._loop.create_task(self._snapshot(), name="store-snapshot")

    def _compact_if_due(self) -> None:
        if self._compacting is None and (target := self._retention.due(self._clock.monotonic(), self._state)):
            try:
                self._compacting = self._submit(encode_compact(target))
            except StoreBusy:
                return
            self._compacting.add_done_callback(self._compacted)

    def _compacted(self, done: asyncio.Future[TxnResult | None]) -> None:
        self._compacting = None
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning("automatic compaction failed: %s", error)

    def _snapshot_due(self) -> bool:
        grown = self._log.appended - self._snapshot_appended
        entries = self._raft.raftLastApplied - self._snapshot_applied
        threshold = max(self._settings.snapshot_bytes, self._state.size)
        return grown >= threshold or entries >= self._settings.snapshot_entries

    async def _snapshot(self) -> None:
        """Write the state as it is now while writes go on, then drop the part of the log that it covers."""
        base = self._raft.applied()
        revision = self._state.pin()
        started = self._clock.monotonic()
        try:
            if not await self._write_snapshot(base, revision):
                return
            self._snapshot_base = base
            await asyncio.to_thread(self._log.remove_segments, base.index)
            log.info(
                "snapshot of entry %d at revision %d written in %.2f s",
                base.index, revision, self._clock.monotonic() - started,
            )  # fmt: skip
        except OSError as error:
            # The log still has everything; the next attempt comes when it has grown as much again.
            log.error("a snapshot could not be written: %s", error)
        finally:
            self._state.unpin(revision)
            self._snapshot_task = None

    async def _write_snapshot(self, base: Base, revision: int) -> bool:
        """Whether it was finished; a closing store abandons it."""
        writer = await asyncio.to_thread(SnapshotWriter, self._files, self._directory, base, revision)
        finished = False
        try:
            after = ""
            while not self._closed and (page := self._state.page(after, _PAGE, revision)):
                after = page[-1].key
                await asyncio.to_thread(writer.add, page)
            if not self._closed:
                await asyncio.to_thread(writer.finish)
                finished = True
        finally:
            if not finished:
                writer.abandon()
        return finished

    # The beginning and the end.

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._failure is not None:
            raise StoreUnavailable(self._failure)

    def _fail(self, reason: str) -> None:
        """Stop for good: writers in flight learn that their fate is unknown, watchers are cut."""
        self._failure = reason
        waiting = [*(pending for group in self._in_flight for pending in group), *self._pending]
        self._in_flight.clear()
        self._pending.clear()
        for pending in waiting:
            if not pending.done.done():
                pending.done.set_exception(StoreUnavailable(f"{reason}; whether the write survives is unknown"))
        self._hub.fail(StoreUnavailable(reason))
        self._failed.set()
        self._drained.set()

    async def wait_ready(self) -> None:
        self._check()

    async def wait_failed(self) -> str:
        await self._failed.wait()
        return self._failure or ""

    def status(self) -> StoreStatus:
        leads = self._failure is None and not self._closed
        return StoreStatus(
            member=self._settings.member,
            leader=self._settings.member if leads else None,
            is_leader=leads,
            term=self._log.term,
            revision=self._state.revision,
            compacted_revision=self._state.compacted,
            keys=len(self._state),
            db_size=self._state.size,
            history_size=self._state.past_size,
            log_size=self._log.size,
            log_first_index=self._snapshot_base.index + 1,
            log_last_index=self._log.next_index - 1,
            commit_index=self._log.commit,
            applied_index=self._raft.raftLastApplied,
            snapshot_index=self._snapshot_base.index,
            watchers=len(self._hub),
            fsyncs=self._log.fsyncs,
            fsync_seconds=self._log.fsync_seconds,
            pending_writes=len(self._pending) + sum(len(group) for group in self._in_flight),
            failure=self._failure,
        )

    async def close(self) -> None:
        if self._closing is None:
            self._closed = True
            self._closing = self._loop.create_task(self._close(), name="store-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._failure is None:
            await self._drained.wait()
        if self._age_task is not None:
            self._age_task.cancel()
            await asyncio.wait([self._age_task])
        if self._snapshot_task is not None:
            await asyncio.wait([self._snapshot_task])
        self._flusher.stop()
        self._raft.destroy()
        self._log.close()
        self._hub.fail(StoreUnavailable("the store is closed"))
        self._lock.release()
