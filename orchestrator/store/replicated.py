"""The store as callers see it, on one of its members.

Reads are fresh unless they ask not to be. Everything that is not answered from memory at once goes through the
`driver`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from orchestrator.store.administration import Kind
from orchestrator.store.command import encode_compact, encode_grant, encode_keep, encode_revoke, encode_txn
from orchestrator.store.driver import Driver
from orchestrator.store.errors import FutureRevision, StoreUnavailable, TooManyLeases
from orchestrator.store.future_watch import FutureWatch
from orchestrator.store.interface import Compare, Delete, KeyValue, Put, RangeResult, StoreStatus, TxnResult, Watch
from orchestrator.store.membership import MemberList
from orchestrator.store.metrics import Metrics
from orchestrator.store.v1.raft_pb2 import MemberRequest

log = logging.getLogger(__name__)


class ReplicatedStore(Driver):
    """The `Store` on this member. Made by `open_store`; belongs to one event loop."""

    # Reading.

    async def get(self, key: str, *, revision: int = 0, serializable: bool = False) -> KeyValue | None:
        await self._can_read(revision, serializable)
        return self._state.get(key, revision)

    async def range(
        self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0, serializable: bool = False
    ) -> RangeResult:
        await self._can_read(revision, serializable)
        return self._state.range(prefix, start_after=start_after, limit=limit, revision=revision)

    def watch(self, prefix: str, *, after: int) -> Watch:
        self._check()
        if after > self._state.revision:
            return FutureWatch(after, self.reach, lambda: self._hub.watch(prefix, after))
        return self._hub.watch(prefix, after)

    async def reach(self, revision: int) -> None:
        self._check()
        if revision > self._state.revision and not self._raft.may_read():
            # Whoever has heard of it heard it from a member that had applied it: then the leader has committed it.
            await self._be_fresh()
        if revision > self._state.revision:
            raise FutureRevision(revision, self._state.revision)

    async def _can_read(self, revision: int, serializable: bool) -> None:
        """What stood at a revision stays, so only the present has to be fresh."""
        if revision:
            await self.reach(revision)
            return
        self._check()
        # Being alone is not enough: a member that others have just left to itself has yet to commit what they did.
        if not (serializable or self._raft.may_read()):
            await self._be_fresh()

    async def _be_fresh(self) -> None:
        """Return when this member has applied everything that was acknowledged anywhere before the call."""
        self._check_led()
        done = self._reads.join(self._clock.monotonic())
        self._wake()
        await done
        self._check()

    # Writing.

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> TxnResult:
        self._check()
        frees = all(isinstance(operation, Delete) for operation in operations)
        result = await self._submit(encode_txn(compares, operations, self._settings.limits), frees=frees)
        assert isinstance(result, TxnResult)
        return result

    async def compact(self, revision: int) -> None:
        self._check()
        await self._submit(encode_compact(min(max(revision, 0), self._state.revision)), frees=True)

    async def grant_lease(self, ttl: float) -> int:
        self._check()
        limit = self._settings.limits.leases
        if len(self._state.leases) >= limit:
            raise TooManyLeases(limit)
        id = await self._submit(encode_grant(ttl))
        assert isinstance(id, int)
        return id

    async def keep_lease(self, lease: int) -> float:
        self._check()
        ttl = await self._submit(encode_keep(lease))
        assert isinstance(ttl, int)
        return ttl / 1000

    async def revoke_lease(self, lease: int) -> None:
        self._check()
        await self._submit(encode_revoke(lease))

    async def save_snapshot(self) -> bytes:
        await self._can_read(0, False)
        applied = self._raft.applied_index
        await self._snapshotter.wait()
        try:
            if self._snapshotter.base.index < applied:
                self._check()
                self._take_snapshot()
                await self._snapshotter.wait()
            if self._snapshotter.base.index < applied:
                raise StoreUnavailable("a snapshot could not be written; the member's log says why")
            return await self._snapshotter.newest()
        except OSError as error:
            raise StoreUnavailable(f"the snapshot cannot be read: {error}") from error

    # Members.

    async def members(self, *, serializable: bool = False) -> MemberList:
        self._check()
        if serializable:
            return self._administration.listing()
        return await self._administration.ask(MemberRequest.LIST)

    async def add_member(self, name: str, address: str) -> MemberList:
        return await self._change_members(MemberRequest.ADD, name, address)

    async def promote_member(self, name: str) -> MemberList:
        return await self._change_members(MemberRequest.PROMOTE, name)

    async def remove_member(self, name: str) -> MemberList:
        return await self._change_members(MemberRequest.REMOVE, name)

    async def move_member(self, name: str, address: str) -> MemberList:
        return await self._change_members(MemberRequest.MOVE, name, address)

    async def transfer_leadership(self, name: str = "") -> MemberList:
        return await self._change_members(MemberRequest.TRANSFER, name)

    async def _change_members(self, kind: Kind, name: str, address: str = "") -> MemberList:
        self._check()
        self._check_led()
        return await self._administration.ask(kind, name, address)

    async def wait_ready(self) -> None:
        self._check()
        ready = self._alone
        while not ready:
            try:
                await self._be_fresh()
                ready = True
            except StoreUnavailable as error:
                self._check()
                log.warning("not ready: %s", error)
                await self._clock.sleep(self._timing.election)

    async def wait_failed(self) -> str:
        await self._failed.wait()
        return self._failure or ""

    def status(self) -> StoreStatus:
        works = self._failure is None and not self._closed
        return StoreStatus(
            member=self._raft.member,
            leader=self._raft.leader if works else None,
            is_leader=works and self._raft.leads,
            term=self._log.term,
            revision=self._state.revision,
            compacted_revision=self._state.compacted,
            keys=len(self._state),
            db_size=self._state.size,
            history_size=self._state.past_size,
            history_events=len(self._state.history),
            leases=len(self._state.leases),
            log_size=self._log.size,
            log_first_index=self._snapshotter.base.index + 1,
            log_last_index=self._log.next_index - 1,
            commit_index=self._log.commit,
            applied_index=self._raft.applied_index,
            snapshot_index=self._snapshotter.base.index,
            watchers=len(self._hub),
            fsyncs=self._metrics.fsync.count,
            fsync_seconds=self._metrics.fsync.sum,
            pending_writes=len(self._writes),
            failure=self._failure,
            alarms=self._room.alarms,
            snapshot_age=self._snapshotter.age,
        )

    def metrics(self) -> Metrics:
        """What this member has counted and timed since it was opened; it goes on counting in it."""
        return self._metrics
