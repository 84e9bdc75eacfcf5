"""What drives a member: state machine, watch hub, log and engine, and the order in which they act.

One write goes like this. `txn` encodes it and puts it among the pending. A turn of the driver makes one log entry of
all that are pending and proposes it, to the engine where this member leads, to the leader elsewhere; the leader's tick
appends it and sends it to the followers; the flusher puts it on the disk meanwhile; when a majority has it there, a
tick commits it; each member applies it to its state and publishes its events; the member that it came from resolves
the writers' futures with their results. While the disk is busy the next group gathers, so the tick that commits one
group appends the next: throughput grows with load.

The engine ticks only while the log is flushed. That one rule gives the order everything relies on: on the disk, then
committed, then applied and visible, then acknowledged.

A member that is alone waits on no timer but the history's age; several keep each other awake with a sign of life now
and then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.store.catch_up import CatchUp
from orchestrator.store.command import decode_group, encode_compact
from orchestrator.store.errors import NothingWritten, StoreUnavailable
from orchestrator.store.files import Files
from orchestrator.store.flusher import Flush, Flusher
from orchestrator.store.installation import Installation
from orchestrator.store.lease_keeper import LeaseKeeper
from orchestrator.store.lock import DirectoryLock
from orchestrator.store.log import Base, Log
from orchestrator.store.membership import Members
from orchestrator.store.perform import Result, perform
from orchestrator.store.raft import Raft
from orchestrator.store.reads import Reads
from orchestrator.store.replication import Peer, Replication
from orchestrator.store.retention import Retention
from orchestrator.store.sessions import Sessions
from orchestrator.store.settings import Settings
from orchestrator.store.snapshot import Beside, Snapshot
from orchestrator.store.snapshotter import Snapshotter
from orchestrator.store.state import State
from orchestrator.store.v1.raft_pb2 import Message, SnapshotChunk, SnapshotReceived
from orchestrator.store.watch import Hub
from orchestrator.store.wire import Wire
from orchestrator.store.writes import WriteLimits, Writes

log = logging.getLogger(__name__)

_AGE_CHECK = 30.0
"""Seconds between two looks at the history's age."""
_GROUPS_ALONE = 2
"""One that is being committed and one that is being appended."""
_GROUPS_TOGETHER = 4
"""Groups on their way to the others; with more of them, fewer writers would share one."""
_INCARNATIONS = 1 << 62


class Driver:
    """One member at work; what callers see of it is `ReplicatedStore`."""

    def __init__(
        self,
        directory: Path,
        lock: DirectoryLock,
        state: State,
        sessions: Sessions,
        base: Base,
        durable: Log,
        *,
        files: Files,
        clock: Clock,
        settings: Settings,
        members: Members,
        wire: Wire,
        chance: random.Random,
        flush: Flush = Flusher,
    ) -> None:
        self._lock, self._clock = lock, clock
        self._settings = settings
        self._alone = not members.others
        self._timing = members.timing
        self._state, self._sessions = state, sessions
        self._hub = Hub(state.history, revision=state.revision, floor=state.compacted, backlog=settings.backlog)
        self._log = durable
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._retention = Retention(settings.kept)
        limits = WriteLimits(
            settings.pending_writes, settings.pending_bytes, settings.group_writes, settings.group_bytes
        )
        patience = float("inf") if self._alone else members.timing.patience
        self._writes = Writes(members.name, chance.randrange(_INCARNATIONS), limits, patience)
        self._flushing = False
        self._turn_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._led_at = clock.monotonic()
        self._give_up_at = 0.0
        self._compacting: asyncio.Future[Result] | None = None
        self._snapshotter = Snapshotter(
            files, directory, durable, base, clock, grown=settings.snapshot_bytes, entries=settings.snapshot_entries
        )
        self._lease_keeper = LeaseKeeper(state.leases, clock, submit=self._submit, wake=self._wake)
        self._age_task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._failure: str | None = "the store is not open yet"
        self._failed = asyncio.Event()
        self._raft = Raft(
            members,
            durable,
            base,
            self._apply,
            wire=wire,
            clock=clock,
            chance=chance,
            fresh=self._fresh,
            supplier=self,
        )
        self._catch_up = CatchUp(
            files, directory, durable, clock, newest=lambda: self._snapshotter.base, again=members.timing.election
        )
        self._installation = Installation(files, directory, durable, self._quiet, self._install)
        self._reads = Reads(self._raft.read_index, patience)
        self._flusher = flush(durable.flush, self._flushed, self._loop)

    async def start(self) -> None:
        """Alone: become leader and apply what the log holds. Else: begin to talk to the others.

        Raises StoreCorrupt, StoreUnavailable.
        """
        if self._alone:
            while not self._raft.settled():
                self._raft.tick()
                self._log.flush()
                await asyncio.sleep(0 if self._raft.settled() else 0.001)
        self._failure = None
        if not self._alone:
            self._wire.start(self._receive, self._wake)
            self._wake()
        self._age_task = self._loop.create_task(self._watch_age(), name="store-age")
        self._look_after_size()

    def _fresh(self, id: int, index: int) -> None:
        self._reads.answered(id, index)
        self._reads.applied(self._raft.applied_index)
        self._wake()

    def _submit(self, command: bytes) -> asyncio.Future[Result]:
        self._check_led()
        done = self._writes.submit(command, self._clock.monotonic())
        self._drained.clear()
        self._wake()
        return done

    # The driver.

    def _wake(self) -> None:
        """Have a turn soon: after the tasks that are ready now, which may have more to write."""
        if not self._turn_scheduled and not (self._flushing and self._alone):
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        if self._failure is not None:
            return
        try:
            self._advance()
        except Exception as error:
            # Whatever it is, the state may be half-way; only a restart from the log is sure to be right.
            log.exception("the store stops: applying the log failed")
            self._fail(f"the store stopped: {error}")
            return
        if self._log.dirty and not self._flushing:
            self._flushing = True
            self._flusher.request()
        if not self._writes:
            self._drained.set()
        elif self._alone and not self._flushing:
            self._wake()
        if not self._alone:
            self._set_timer()
        self._look_after_size()

    def _advance(self) -> None:
        now = self._clock.monotonic()
        self._look_for_leader(now)
        if self._flushing:
            self._raft.send()
        else:
            self._raft.tick()
        self._reads.applied(self._raft.applied_index)
        if now >= self._give_up_at and not self._alone:
            self._give_up_at = now + self._timing.heartbeat
            why = f"there was no answer from a majority within {self._timing.patience:g} s"
            self._writes.give_up(now, why)
            self._reads.give_up(now, why)

    def _look_for_leader(self, now: float) -> None:
        """Propose and ask what waits, where there is somebody to take it."""
        leader = self._raft.leader
        if leader is None:
            return
        self._led_at = now
        whom = (leader, self._log.term)
        again_after = float("inf") if self._raft.leads else self._timing.election
        if not (self._flushing and self._raft.leads):
            most = _GROUPS_ALONE if self._alone else _GROUPS_TOGETHER
            for entry in self._writes.proposals(whom, now, again_after, most):
                self._raft.propose(entry)
        if not self._alone:
            self._reads.inquire(whom, now, again_after)

    def _flushed(self, error: StoreUnavailable | None) -> None:
        self._flushing = False
        if error is not None:
            log.error("the store stops: %s", error)
            self._fail(str(error))
        elif self._failure is None:
            self._raft.flushed()
            self._turn()

    def _receive(self, member: str, message: Message) -> None:
        if self._failure is not None or self._installation.replacing:
            return
        try:
            self._raft.receive(member, message)
        except Exception as error:
            log.exception("the store stops: a message of %s could not be dealt with", member)
            self._fail(f"the store stopped: {error}")
            return
        self._wake()

    def _set_timer(self) -> None:
        """Have a turn when the engine wants one, or to look after those who wait."""
        wait = self._raft.deadline - self._clock.monotonic()
        if self._writes or self._reads:
            wait = min(wait, self._timing.heartbeat)
        at = self._loop.time() + max(wait, 0.001)
        if self._timer is not None:
            if self._timer.when() <= at and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._timer_went)

    def _timer_went(self) -> None:
        self._timer = None
        self._wake()

    # What the engine hands on: followers that are far behind, and being one.

    def lagging(self, replication: Replication, peer: Peer) -> None:
        self._catch_up.help(self._raft, replication, peer)

    def received(self, member: str, answer: SnapshotReceived) -> None:
        self._catch_up.received(member, answer)

    def chunk(self, leader: str, chunk: SnapshotChunk) -> None:
        answer = self._installation.chunk(chunk)
        if answer is not None:
            self._raft.say(leader, Message(snapshot_received=answer))

    def _quiet(self) -> bool:
        """Have the log left alone, from now on until `_install`; False: it cannot be just now."""
        if self._flushing or self._log.dirty or self._failure is not None:
            return False
        self._flushing = True
        return True

    def _install(self, snapshot: Snapshot | None) -> None:
        """Go on from another member's snapshot, behind which the log begins now; None: it could not be put there."""
        self._flushing = False
        if snapshot is None:
            self._fail(self._log.failure or "a snapshot of the leader could not be put in the log's place")
            return
        self._state = snapshot.state()
        self._lease_keeper.replace(self._state.leases)
        self._sessions = Sessions(snapshot.sessions)
        self._raft.install(snapshot.base)
        self._snapshotter.installed(snapshot.base)
        self._hub.reset(self._state.history, snapshot.revision)
        author = self._writes
        self._writes.skipped(lambda number: self._sessions.has_applied(author.member, author.incarnation, number))
        self._wake()

    def _apply(self, command: bytes) -> None:
        """One committed entry: called by the engine, in log order, also for what the log held at the start."""
        group = decode_group(command)
        if group.origin is not None and not self._sessions.admit(group.origin):
            return
        results: list[Result] = []
        for each in group.commands:
            performed = perform(each, self._state)
            if performed.events:
                self._hub.publish(self._state.revision, performed.events)
            results.append(performed.result)
        self._hub.trim(self._state.compacted)
        if group.origin is not None and group.origin.incarnation == self._writes.incarnation:
            self._writes.applied(group.origin.number, results)

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
            self._log.forget_entries(self._raft.applied_index - self._settings.entries_in_memory)
        self._compact_if_due()
        if self._snapshotter.is_due(self._state, self._raft.applied_index):
            leases = self._state.leases
            beside = Beside(self._sessions.dump(), b"", leases.dump(), leases.granted)
            self._snapshotter.take(self._state, self._raft.applied(), beside)
        self._lease_keeper.look(leads=self._raft.leads)

    def _compact_if_due(self) -> None:
        if not self._raft.leads or self._compacting is not None:
            return
        if target := self._retention.due(self._clock.monotonic(), self._state):
            try:
                self._compacting = self._submit(encode_compact(target))
            except NothingWritten:
                return
            self._compacting.add_done_callback(self._compacted)

    def _compacted(self, done: asyncio.Future[Result]) -> None:
        self._compacting = None
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning("automatic compaction failed: %s", error)

    # The beginning and the end.

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._failure is not None:
            raise StoreUnavailable(self._failure)

    def _check_led(self) -> None:
        """Nobody waits for a majority that has long been away."""
        away = 0.0 if self._alone else self._clock.monotonic() - self._led_at
        if away > self._timing.patience:
            raise NothingWritten(f"this member has had no leader for {away:.0f} s: it reaches no majority")

    def _fail(self, reason: str) -> None:
        """Stop for good: writers in flight learn that their fate is unknown, watchers are cut."""
        self._failure = reason
        self._writes.fail(reason)
        self._reads.fail(reason)
        self._hub.fail(StoreUnavailable(reason))
        self._lease_keeper.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._failed.set()
        self._drained.set()

    async def close(self) -> None:
        if self._closing is None:
            self._closed = True
            self._closing = self._loop.create_task(self._close(), name="store-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._failure is None:
            await self._drained.wait()
            await self._hand_over()
        self.halt("the store is closed")
        if self._age_task is not None:
            await asyncio.wait([self._age_task])
        await self._catch_up.stop()
        await self._installation.stop()
        await self._snapshotter.stop()
        self._flusher.stop()
        await self._wire.close()
        self._raft.destroy()
        self._log.close()
        self._lock.release()

    async def _hand_over(self) -> None:
        """A leader that goes has somebody else lead at once, rather than be missed."""
        self._raft.hand_over()
        give_up = self._clock.monotonic() + self._timing.election
        while not self._alone and self._raft.leads and self._clock.monotonic() < give_up:
            await self._clock.sleep(self._timing.heartbeat / 10)

    def halt(self, reason: str) -> None:
        """Stop here and now, as a crash would: nothing more is written or said."""
        self._closed = True
        if self._failure is None:
            self._fail(reason)
        if self._age_task is not None:
            self._age_task.cancel()
