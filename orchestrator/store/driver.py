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
import contextlib
import logging
import random
from dataclasses import replace
from functools import partial
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.store.administration import Administration
from orchestrator.store.catch_up import CatchUp
from orchestrator.store.command import SenselessCommand, decode_group, encode_compact
from orchestrator.store.configurations import decode_configuration, encode_configuration
from orchestrator.store.errors import DiskFull, NothingWritten, StoreCorrupt, StoreUnavailable
from orchestrator.store.files import Files
from orchestrator.store.flusher import Flush, Flusher
from orchestrator.store.greeting import Greeter
from orchestrator.store.identity import Identity, save_identity
from orchestrator.store.installation import Installation
from orchestrator.store.lease_keeper import LeaseKeeper
from orchestrator.store.lock import DirectoryLock
from orchestrator.store.log import Base, Log
from orchestrator.store.membership import Configuration, Members
from orchestrator.store.perform import Result, perform
from orchestrator.store.plausible import LARGEST, Scrutiny
from orchestrator.store.raft import Raft
from orchestrator.store.reads import Reads
from orchestrator.store.replication import Peer, Replication
from orchestrator.store.retention import Retention
from orchestrator.store.room import Room
from orchestrator.store.sessions import Sessions
from orchestrator.store.settings import Settings
from orchestrator.store.slow import SlowOperations
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
_BYTES_ALONE = 1 << 20
"""Of applied entries kept in memory by a member that is alone."""
_GROUPS_TOGETHER = 4
"""Groups on their way to the others; with more of them, fewer writers would share one."""
_INCARNATIONS = 1 << 62
_LONGEST_WAIT = 3600.0
"""Seconds: a learner has nothing to do by itself, but not every event loop can wait for ever."""
_LITTLE = 4 << 10
"""Bytes of a write or two: with more of them on their way, the event loop has better things to do than to wait."""


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
        identity: Identity,
        configuration: Configuration,
        wire: Wire,
        chance: random.Random,
        flush: Flush | None = None,
    ) -> None:
        """`configuration`: the one behind which the log begins."""
        self._lock, self._clock = lock, clock
        self._files, self._directory, self._identity = files, directory, identity
        self._settings = settings
        self._alone = False
        self._timing = members.timing
        self._state, self._sessions = state, sessions
        self._hub = Hub(state.history, revision=state.revision, floor=state.compacted, backlog=settings.backlog)
        self._log = durable
        self._metrics = durable.metrics
        self._room = Room(directory, durable, self._metrics, self._seek_room)
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._retention = Retention(settings.kept)
        limits = WriteLimits(
            settings.pending_writes, settings.pending_bytes, settings.group_writes, settings.group_bytes
        )
        slow = SlowOperations(self._metrics, settings.slow_operation)
        self._writes = Writes(
            members.name, chance.randrange(_INCARNATIONS), limits, members.timing.patience, self._metrics, slow
        )
        self._flushing = False
        self._turn_scheduled = False
        self._ticked = True
        """With the last turn, unless the disk was at work."""
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._led_at = clock.monotonic()
        self._led_by: tuple[str, int] | None = None
        self._term = durable.term
        self._give_up_at = 0.0
        self._compacting: asyncio.Future[Result] | None = None
        self._snapshotter = Snapshotter(
            files,
            directory,
            durable,
            base,
            clock,
            grown=settings.snapshot_bytes,
            entries=settings.snapshot_entries,
            needed=lambda: self._catch_up.needed(),
        )
        self._lease_keeper = LeaseKeeper(state.leases, clock, submit=self._submit, wake=self._wake)
        self._forgot_at = durable.appended
        self._age_task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._failure: str | None = "the store is not open yet"
        self._failed = asyncio.Event()
        self._scrutiny = Scrutiny(clock.monotonic)
        self._raft = Raft(
            members,
            durable,
            base,
            self._apply,
            wire=wire,
            clock=clock,
            chance=chance,
            fresh=self._fresh,
            host=self,
            configuration=configuration,
            since=identity.since,
            new=identity.fresh,
        )
        self._catch_up = CatchUp(
            files, directory, durable, clock, newest=lambda: self._snapshotter.base, again=members.timing.election
        )
        self._installation = Installation(files, directory, durable, self._quiet, self._install)
        self._reads = Reads(self._raft.read_index, members.timing.patience, chance.randrange(_INCARNATIONS))
        self._administration = Administration(
            self._raft,
            members.timing,
            now=clock.monotonic,
            wake=self._wake,
            connected=wire.connected,
            fresh=lambda: self._reads.join(clock.monotonic()),
            cluster=lambda: self._identity.cluster,
            first_id=chance.randrange(_INCARNATIONS),
        )
        self._greeter = Greeter(
            lambda: self._identity,
            lambda: self._raft.configuration,
            lambda: self._raft.configurations.at(self._raft.commit),
            self._learn_cluster,
        )
        flush = flush or partial(Flusher, confirm=durable.confirm, in_place=self._flushes_in_place)
        self._flusher = flush(durable.flush, self._flushed, self._loop)
        self.reconfigured()

    async def start(self) -> None:
        """Where this member decides by itself, become leader and apply what the log holds; talk to the others.

        Raises StoreCorrupt, StoreUnavailable.
        """
        if self._raft.is_sole_voter:
            while not self._raft.settled():
                self._raft.tick()
                with contextlib.suppress(DiskFull):
                    self._log.flush()
                await asyncio.sleep(0 if self._raft.settled() else 0.001)
        self._failure = None
        self._room.look()
        self._wire.start(self._receive, self._wake, self._greeter)
        self._wake()
        self._age_task = self._loop.create_task(self._watch_age(), name="store-age")
        self._look_after_size()

    def _fresh(self, id: int, index: int) -> None:
        self._reads.answered(id, index)
        self._reads.applied(self._raft.applied_index)
        self._wake()

    def _submit(self, command: bytes, *, frees: bool = False) -> asyncio.Future[Result]:
        """`frees`: the command takes less than it gives back, so that it is let through where the disk is full."""
        try:
            self._check_led()
            if not (frees and self._alone):
                self._room.check()
            done = self._writes.submit(command, self._clock.monotonic())
        except NothingWritten:
            self._metrics.writes_refused += 1
            raise
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
        if self._log.full:
            self._make_do()
        try:
            self._advance()
        except Exception as error:
            # Whatever it is, the state may be half-way; only a restart from the log is sure to be right.
            log.exception("the store stops: applying the log failed")
            self._fail(f"the store stopped: {error}")
            return
        if self._raft.removed and self._leaving is None:
            # Not at once: who is to take over has still to be told.
            self._leaving = self._loop.call_later(self._timing.heartbeat, self._fail, self._raft.removed)
        if self._log.full:
            self._make_do()
        if self._log.dirty and not self._flushing:
            self._flushing = True
            self._flusher.request()
        if not self._writes:
            self._drained.set()
        elif self._alone and self._raft.leads and not self._flushing:
            self._wake()
        if self._administration or self._reads or not (self._alone and self._raft.leads):
            self._set_timer()
        self._look_after_size()

    def _advance(self) -> None:
        now = self._clock.monotonic()
        if self._log.term != self._term:
            self._term = self._log.term
            self._metrics.elections += self._log.voted_for == self._raft.member
        self._look_for_leader(now)
        # What a follower has just been given goes to the disk first: its leader waits for that. But not for ever first.
        flush_first = self._log.dirty and not self._raft.leads and self._ticked
        ticks = not self._flushing and not flush_first
        self._ticked = ticks or self._flushing
        if ticks:
            self._raft.tick()
        else:
            self._raft.send()
        self._reads.applied(self._raft.applied_index)
        self._administration.turn(ticked=ticks)
        if now >= self._give_up_at and not self._alone:
            self._give_up_at = now + self._timing.heartbeat
            why = f"there was no answer from a majority within {self._timing.patience:g} s"
            self._writes.give_up(now, why)
            self._reads.give_up(now, why)

    def _look_for_leader(self, now: float) -> None:
        """Propose and ask what waits, where there is somebody to take it."""
        leader = self._raft.leader
        if leader is None or self._raft.transferring:
            return
        self._led_at = now
        whom = (leader, self._log.term)
        if whom != self._led_by:
            self._led_by = whom
            self._metrics.leaders += 1
        again_after = float("inf") if self._raft.leads else self._timing.election
        if not (self._flushing and self._raft.leads):
            most = _GROUPS_ALONE if self._alone else _GROUPS_TOGETHER
            for entry in self._writes.proposals(whom, now, again_after, most):
                self._raft.propose(entry)
        if self._reads or not self._alone:
            self._reads.inquire(whom, now, again_after)

    def _flushes_in_place(self) -> bool:
        """Whether the event loop had better wait for the disk itself: where little is to be written, and nobody else.

        A leader's followers are at work meanwhile; what it has for them must not wait.
        """
        return (self._alone or not self._raft.leads) and self._log.collected_at_most(_LITTLE)

    def _flushed(self, error: StoreUnavailable | None) -> None:
        self._flushing = False
        if isinstance(error, DiskFull):
            self._turn()
        elif error is not None:
            log.error("the store stops: %s", error)
            self._fail(str(error))
        elif self._failure is None:
            if self._room.look():
                self._snapshotter.hurry()
            self._raft.flushed()
            if self._raft.leads:
                self._turn()
            else:
                # The answer to the leader goes first.
                self._wake()

    # A full disk.

    def _make_do(self) -> None:
        """There is no room for what was to be written: go on without it."""
        if self._failure is not None:
            return
        if self._log.gave_up:
            self._log.give_up()
            self._raft.disk_full()
            # What others may have got already, somebody else may yet commit: also the leader who leaves it to this one.
            certain = self._alone and self._raft.leads
            self._writes.turn_away(DiskFull("the disk is full; nothing was written"), proposed=certain)
            self._snapshotter.hurry()
        self._room.look()

    def _seek_room(self) -> None:
        if self._failure is not None or self._closed:
            return
        # The log's past may be what takes the room.
        self._snapshotter.hurry()
        self._look_after_size()
        if self._flushing:
            self._room.look()
        else:
            self._flushing = True
            self._flusher.request()

    def _receive(self, member: str, message: Message) -> None:
        if self._failure is not None or self._installation.replacing:
            return
        leads = self._raft.leads and message.term == self._log.term
        if not self._scrutiny.passes(member, message, self._raft.last_index if leads else LARGEST):
            return
        try:
            match message.WhichOneof("body"):
                case "member_request":
                    self._administration.requested(
                        message.member_request, lambda reply: self._raft.say(member, Message(member_reply=reply))
                    )
                case "member_reply":
                    self._administration.replied(message.member_reply)
                case _:
                    self._raft.receive(member, message)
        except StoreCorrupt as error:
            # It contradicts what is committed here, which stays as it is.
            self._scrutiny.refuse(member, str(error))
        except Exception as error:
            log.exception("the store stops: a message of %s could not be dealt with", member)
            self._fail(f"the store stopped: {error}")
            return
        # The answers of those who are not the majority's last change nothing.
        if message.WhichOneof("body") != "appended" or self._reads or not self._raft.is_settled():
            self._wake()

    def _set_timer(self) -> None:
        """Have a turn when the engine wants one, or to look after those who wait."""
        wait = self._raft.deadline - self._clock.monotonic()
        if self._writes or self._reads or self._administration:
            wait = min(wait, self._timing.heartbeat)
        at = self._loop.time() + min(max(wait, 0.001), _LONGEST_WAIT)
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

    # What the engine says of the members.

    def reconfigured(self) -> None:
        """Other members than before are in force."""
        alone = self._raft.is_alone
        if self._alone and not alone:
            self._led_at = self._clock.monotonic()
        self._alone = alone
        patience = float("inf") if alone else self._timing.patience
        self._writes.patience = self._reads.patience = patience
        self._wake()

    def began(self) -> None:
        self._remember(replace(self._identity, fresh=False))

    def joined(self, since: int) -> None:
        self._remember(replace(self._identity, since=since))

    def _learn_cluster(self, cluster: str) -> None:
        self._remember(replace(self._identity, cluster=cluster))

    def _remember(self, identity: Identity) -> None:
        """Write down who this member is. Raises StoreUnavailable."""
        try:
            save_identity(self._files, self._directory, identity)
        except OSError as error:
            raise StoreUnavailable(f"who this member is cannot be written to {self._directory}: {error}") from error
        self._identity = identity

    def _quiet(self) -> bool:
        """Have the log left alone, from now on until `_install`; False: it cannot be just now.

        Raises StoreUnavailable when the store has failed.
        """
        if self._failure is not None:
            raise StoreUnavailable(self._failure)
        if self._flushing or self._log.dirty:
            return False
        self._flushing = True
        return True

    def _install(self, snapshot: Snapshot | None) -> None:
        """Go on from another member's snapshot, behind which the log begins now; None: it could not be put there."""
        self._flushing = False
        if self._failure is not None:
            return
        if snapshot is None and self._log.full and self._log.failure is None:
            # As if none had come.
            self._wake()
            return
        if snapshot is None:
            self._fail(self._log.failure or "a snapshot of the leader could not be put in the log's place")
            return
        self._state = snapshot.state()
        self._lease_keeper.replace(self._state.leases)
        self._sessions = Sessions(snapshot.sessions)
        configuration = decode_configuration(snapshot.configuration) if snapshot.configuration else None
        self._raft.install(snapshot.base, configuration)
        self._snapshotter.installed(snapshot.base)
        self._hub.reset(self._state.history, snapshot.revision)
        author = self._writes
        self._writes.skipped(lambda number: self._sessions.has_applied(author.member, author.incarnation, number))
        self._wake()

    def _apply(self, command: bytes) -> None:
        """One committed entry: called by the engine, in log order, also for what the log held at the start."""
        began = self._clock.monotonic()
        try:
            group = decode_group(command)
        except SenselessCommand as error:
            # The log's checksum holds, so this is what its author sent; it does nothing, on every member alike.
            log.error("an entry was passed over: %s", error)
            return
        if group.origin is not None and not self._sessions.admit(group.origin):
            return
        results: list[Result] = []
        for command_of_group in group.commands:
            performed = perform(command_of_group, self._state)
            if performed.events:
                self._hub.publish(self._state.revision, performed.events)
            results.append(performed.result)
        self._hub.trim(self._state.compacted)
        if group.origin is not None and group.origin.incarnation == self._writes.incarnation:
            now = self._clock.monotonic()
            self._metrics.apply.observe(now - began)
            self._writes.applied(group.origin.number, results, began, now)

    # Housekeeping.

    async def _watch_age(self) -> None:
        while True:
            self._retention.sample(self._clock.monotonic(), self._state.revision)
            self._compact_if_due()
            await self._clock.sleep(_AGE_CHECK)

    def _look_after_size(self) -> None:
        if self._closed or self._failure is not None:
            return
        many = len(self._log.entries) > 2 * self._settings.entries_in_memory
        # Where nobody else is, nobody needs them.
        most = _BYTES_ALONE if self._alone else self._settings.bytes_in_memory
        if many or self._log.appended - self._forgot_at > most:
            self._forget_entries(most)
        self._compact_if_due()
        if self._snapshotter.is_due(self._state, self._raft.applied_index):
            self._take_snapshot()
        self._lease_keeper.look(leads=self._raft.leads)

    def _take_snapshot(self) -> None:
        leases = self._state.leases
        applied = self._raft.applied()
        configuration = encode_configuration(self._raft.configurations.at(applied.index))
        beside = Beside(self._sessions.dump(), configuration, leases.dump(), leases.granted)
        self._snapshotter.take(self._state, applied, beside)

    def _forget_entries(self, most: int) -> None:
        """Let applied entries go from memory, but for the last few that followers may still need."""
        self._forgot_at = self._log.appended
        kept = size = 0
        for command, _, _ in reversed(self._log.entries):
            size += len(command)
            if kept == self._settings.entries_in_memory or size > most:
                break
            kept += 1
        # The last applied one stays: its term is asked for.
        self._log.forget_entries(min(self._raft.applied_index, self._log.next_index - kept))

    def _compact_if_due(self) -> None:
        if not self._raft.leads or self._compacting is not None:
            return
        if target := self._retention.due(self._clock.monotonic(), self._state):
            try:
                self._compacting = self._submit(encode_compact(target), frees=True)
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
        self._administration.fail(reason)
        self._hub.fail(StoreUnavailable(reason))
        self._lease_keeper.stop()
        for timer in (self._timer, self._leaving):
            if timer is not None:
                timer.cancel()
        self._room.stop()
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
        self._wake()
        give_up = self._clock.monotonic() + self._timing.election
        while self._raft.transferring and self._failure is None and self._clock.monotonic() < give_up:
            await self._clock.sleep(self._timing.heartbeat / 10)

    def halt(self, reason: str) -> None:
        """Stop here and now, as a crash would: nothing more is written or said."""
        self._closed = True
        if self._failure is None:
            self._fail(reason)
        if self._age_task is not None:
            self._age_task.cancel()
