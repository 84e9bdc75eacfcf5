"""The store from another process: what one does with a `Store`, asked of its members over gRPC.

It knows one member's address or several. A read that one member cannot answer is asked of the next; so is a write that
certainly was not done. A write whose fate nobody knows (the connection broke under it, the time was up) is not tried
again: it raises StoreUnavailable, as the store itself does, and the caller looks before doing it again. Everything else
raises what the store raised. When nobody can do it, what a member says (it has no leader) is told rather than that
others could not be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import google_crc32c
import grpc
import grpc.aio

from orchestrator.store.admin_messages import member_list
from orchestrator.store.door_errors import STANDS, NoConnection, NotReached, failed
from orchestrator.store.errors import NothingWritten, StoreError, StoreUnavailable
from orchestrator.store.interface import Compare, Event, KeyValue, Operation, RangeResult, TxnResult
from orchestrator.store.key_value_messages import decoded, decoded_event, txn_request, txn_result
from orchestrator.store.membership import MemberList
from orchestrator.store.shared_stream import SharedStream
from orchestrator.store.v1 import store_pb2 as pb
from orchestrator.store.v1.store_pb2_grpc import ClusterAdminStub, KeyValuesStub

if TYPE_CHECKING:
    from orchestrator.store.v1.store_pb2_grpc import ClusterAdminAsyncStub, KeyValuesAsyncStub

WatchCall: TypeAlias = "grpc.aio.UnaryStreamCall[pb.WatchRequest, pb.WatchReply]"

MESSAGE_LIMIT = 64 << 20
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a member's door is. `server_name`: what its certificate must be for, when that is not the address."""

    address: str
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """PEM: the cluster's authority, and the caller's certificate and key."""

    authority: bytes
    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class SavedPiece:
    """A piece of a snapshot, which has been checked. `size`: of the whole."""

    data: bytes
    offset: int
    size: int


class _Member:
    """A connection to one member."""

    def __init__(self, endpoint: Endpoint, credentials: ClientCredentials) -> None:
        self.address = endpoint.address
        tls = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
        options: list[tuple[str, int | str]] = [*_OPTIONS]
        if endpoint.server_name:
            options.append(("grpc.ssl_target_name_override", endpoint.server_name))
        self.channel = grpc.aio.secure_channel(endpoint.address, tls, options=options)
        self.keys: KeyValuesAsyncStub = KeyValuesStub(self.channel)
        self.admin: ClusterAdminAsyncStub = ClusterAdminStub(self.channel)
        self.calls = SharedStream(endpoint.address, self.keys.Calls)  # type: ignore[arg-type]  # it is written to later

    async def connected(self, seconds: float) -> bool:
        """Whether there is a connection, or comes to be one in this time."""
        try:
            async with asyncio.timeout(seconds):
                while (state := self.channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        return False
                    await self.channel.wait_for_state_change(state)
        except TimeoutError:
            return False
        return True


class StoreClient:
    """Belongs to one event loop; `close` it, or use it as a context."""

    def __init__(
        self, endpoints: Sequence[Endpoint | str], credentials: ClientCredentials, *, timeout: float = 10.0
    ) -> None:
        """`timeout`: seconds after which a call is given up, whoever was asked."""
        if not endpoints:
            raise ValueError("a client of the store needs the address of at least one member")
        self._members = [_Member(Endpoint(each) if isinstance(each, str) else each, credentials) for each in endpoints]
        self._first = 0
        self._closed = False
        self._timeout = timeout

    async def __aenter__(self) -> StoreClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*(member.calls.close() for member in self._members))
        await asyncio.gather(*(member.channel.close(None) for member in self._members))

    # Keys and values.

    async def get(self, key: str, *, revision: int = 0, serializable: bool = False) -> KeyValue | None:
        """As `Store.get`."""
        request = pb.GetRequest(key=key, revision=revision, serializable=serializable)
        reply = await self._read(
            lambda member, seconds: member.calls.ask(lambda call: call.get.CopyFrom(request), seconds)
        )
        return decoded(reply.get.item) if reply.get.HasField("item") else None

    async def range(
        self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0, serializable: bool = False
    ) -> RangeResult:
        """As `Store.range`, but without a limit there may still be `more`: as much comes as fits in a reply."""
        request = pb.RangeRequest(
            prefix=prefix, start_after=start_after, limit=limit, revision=revision, serializable=serializable
        )
        asked = await self._read(
            lambda member, seconds: member.calls.ask(lambda call: call.range.CopyFrom(request), seconds)
        )
        reply = asked.range
        return RangeResult([decoded(item) for item in reply.items], reply.revision, reply.more, reply.count)

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """As `Store.txn`."""
        request = txn_request(compares, operations)
        reply = await self._write(
            lambda member, seconds: member.calls.ask(lambda call: call.txn.CopyFrom(request), seconds)
        )
        return txn_result(reply.txn)

    async def compact(self, revision: int) -> None:
        """As `Store.compact`."""
        request = pb.CompactRequest(revision=revision)
        await self._write(lambda member, seconds: member.keys.Compact(request, timeout=seconds))

    async def grant_lease(self, ttl: float) -> int:
        """As `Store.grant_lease`."""
        request = pb.GrantLeaseRequest(ttl=ttl)
        return (await self._write(lambda member, seconds: member.keys.GrantLease(request, timeout=seconds))).lease

    async def keep_lease(self, lease: int) -> float:
        """As `Store.keep_lease`."""
        request = pb.KeepLeaseRequest(lease=lease)
        return (await self._write(lambda member, seconds: member.keys.KeepLease(request, timeout=seconds))).ttl

    async def revoke_lease(self, lease: int) -> None:
        """As `Store.revoke_lease`."""
        request = pb.RevokeLeaseRequest(lease=lease)
        await self._write(lambda member, seconds: member.keys.RevokeLease(request, timeout=seconds))

    def watch(self, prefix: str, *, after: int) -> ClientWatch:
        """As `Store.watch`, but errors come with the first batch, and events do not say what was there before.

        Goes on with another member when one is lost; raises StoreUnavailable when none can be had.
        """
        return ClientWatch(self, prefix, after)

    # The cluster.

    async def status(self) -> pb.StatusReply:
        """How the first member that answers does."""
        return await self._read(lambda member, seconds: member.admin.Status(pb.StatusRequest(), timeout=seconds))

    async def members(self, *, serializable: bool = False) -> MemberList:
        """As `ClusterStore.members`."""
        request = pb.ListMembersRequest(serializable=serializable)
        return member_list(await self._read(lambda member, seconds: member.admin.ListMembers(request, timeout=seconds)))

    async def add_member(self, name: str, address: str) -> MemberList:
        """As `ClusterStore.add_member`."""
        request = pb.AddMemberRequest(name=name, address=address)
        return member_list(await self._write(lambda member, seconds: member.admin.AddMember(request, timeout=seconds)))

    async def promote_member(self, name: str) -> MemberList:
        """As `ClusterStore.promote_member`."""
        request = pb.PromoteMemberRequest(name=name)
        return member_list(
            await self._write(lambda member, seconds: member.admin.PromoteMember(request, timeout=seconds))
        )

    async def remove_member(self, name: str) -> MemberList:
        """As `ClusterStore.remove_member`."""
        request = pb.RemoveMemberRequest(name=name)
        return member_list(
            await self._write(lambda member, seconds: member.admin.RemoveMember(request, timeout=seconds))
        )

    async def move_member(self, name: str, address: str) -> MemberList:
        """As `ClusterStore.move_member`."""
        request = pb.MoveMemberRequest(name=name, address=address)
        return member_list(await self._write(lambda member, seconds: member.admin.MoveMember(request, timeout=seconds)))

    async def transfer_leadership(self, name: str = "") -> MemberList:
        """As `ClusterStore.transfer_leadership`."""
        request = pb.TransferLeadershipRequest(name=name)
        return member_list(
            await self._write(lambda member, seconds: member.admin.TransferLeadership(request, timeout=seconds))
        )

    async def save_snapshot(self) -> AsyncGenerator[SavedPiece, None]:
        """A snapshot of everything, piece by piece, each checked. Raises StoreUnavailable when it breaks off."""
        failure: StoreError | None = None
        for member, _ in self._in_turn():
            begun = False
            try:
                async for piece in self._snapshot_of(member):
                    begun = True
                    yield piece
            except StoreUnavailable as error:
                if begun:
                    raise
                failure = _telling(failure, error)
                self._move_on(member)
            else:
                return
        raise failure or StoreUnavailable("")

    async def _snapshot_of(self, member: _Member) -> AsyncGenerator[SavedPiece, None]:
        call = member.admin.SaveSnapshot(pb.SaveSnapshotRequest())
        offset, size = 0, -1
        try:
            while isinstance(piece := await call.read(), pb.SnapshotPiece):
                if piece.offset != offset or piece.checksum != google_crc32c.value(piece.data):
                    raise StoreUnavailable(f"the snapshot of the member at {member.address} came altered")
                offset, size = offset + len(piece.data), piece.size
                yield SavedPiece(piece.data, piece.offset, piece.size)
        except grpc.aio.AioRpcError as error:
            raise failed(member.address, error) from error
        finally:
            call.cancel()
        if offset != size:
            raise StoreUnavailable(
                f"the snapshot of the member at {member.address} ended after {offset} of {size} bytes"
            )

    # Asking.

    async def _read(self, ask: Callable[[_Member, float], Awaitable[R]]) -> R:
        failure: StoreError | None = None
        for member, seconds in self._in_turn():
            try:
                return await ask(member, seconds)
            except StoreUnavailable as error:
                failure = _telling(failure, error)
            except grpc.aio.AioRpcError as error:
                found = failed(member.address, error)
                if not isinstance(found, StoreUnavailable):
                    raise found from error
                failure = _telling(failure, found)
            self._move_on(member)
        raise failure or StoreUnavailable("")

    async def _write(self, ask: Callable[[_Member, float], Awaitable[R]]) -> R:
        failure: StoreError | None = None
        for member, seconds in self._in_turn():
            # Only what is sent over a connection that stands can have been lost on it.
            if await member.connected(seconds):
                try:
                    return await ask(member, seconds)
                except NothingWritten as error:
                    failure = _telling(failure, error)
                except grpc.aio.AioRpcError as error:
                    found = failed(member.address, error)
                    if not isinstance(found, NothingWritten):
                        raise found from error
                    failure = _telling(failure, found)
            else:
                failure = _telling(failure, NotReached(f"the member at {member.address} cannot be reached"))
            self._move_on(member)
        raise failure or NothingWritten("")

    def _in_turn(self) -> Iterator[tuple[_Member, float]]:
        """Each member once, from the one that answered last, with its share of the time. Raises NothingWritten."""
        if self._closed:
            raise NothingWritten("the client is closed")
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._timeout
        first, count = self._first, len(self._members)
        for asked in range(count):
            left = max(give_up - loop.time(), 0.001)
            yield self._members[(first + asked) % count], left / (count - asked)

    def _move_on(self, member: _Member) -> None:
        """Ask another member first from now on, unless somebody has already seen to that."""
        if self._members[self._first] is member:
            self._first = (self._first + 1) % len(self._members)

    async def standing_watch(self, request: pb.WatchRequest) -> tuple[str, WatchCall]:
        """A watch that one of the members has begun, and that member's address."""
        failure: StoreError | None = None
        for member, seconds in self._in_turn():
            call = member.keys.Watch(request)
            try:
                async with asyncio.timeout(seconds):
                    if STANDS in tuple(await call.initial_metadata() or ()):
                        return member.address, call
                    found = await _ending(member.address, call)
                if not isinstance(found, StoreUnavailable):
                    raise found
                failure = _telling(failure, found)
            except TimeoutError:
                call.cancel()
                failure = _telling(failure, NoConnection(f"the member at {member.address} did not answer in time"))
            except asyncio.CancelledError:
                call.cancel()
                if _asked_to_end():
                    raise
                failure = _telling(failure, NoConnection(f"the connection to the member at {member.address} was lost"))
            self._move_on(member)
        raise failure or StoreUnavailable("")


class ClientWatch:
    """An asynchronous iterator over batches of events, in revision order."""

    def __init__(self, client: StoreClient, prefix: str, after: int) -> None:
        self._client, self._prefix = client, prefix
        self.progress = after
        """Every event of the prefix up to this revision has been delivered."""
        self._call: WatchCall | None = None
        self._address = ""
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def __aiter__(self) -> AsyncIterator[Sequence[Event]]:
        return self

    async def __anext__(self) -> Sequence[Event]:
        """Wait for the next batch. Raises what the store raises; ends after `close`."""
        while not self._closed:
            if self._call is None:
                request = pb.WatchRequest(prefix=self._prefix, after=self.progress)
                self._address, self._call = await self._client.standing_watch(request)
            try:
                reply: object = await self._call.read()
            except grpc.aio.AioRpcError as error:
                self._call = None
                failure = failed(self._address, error)
                if isinstance(failure, StoreUnavailable):
                    # Whether another member can go on is found out by asking.
                    continue
                raise failure from error
            except asyncio.CancelledError:
                if self.closed:
                    break
                if _asked_to_end():
                    raise
                # gRPC cancels the call of a connection that goes away: another member may go on.
                self._call = None
                continue
            if isinstance(reply, pb.WatchReply):
                self.progress = reply.progress
                if reply.events:
                    return [decoded_event(event) for event in reply.events]
            else:
                self._call = None
        raise StopAsyncIteration

    def close(self) -> None:
        """Stop; a waiting reader's iteration ends. Closing twice is fine."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()


def _asked_to_end() -> bool:
    """Whether it is this task that is cancelled, and not only the call it waits for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _telling(first: StoreError | None, other: StoreError) -> StoreError:
    """Of two members' failures the one that says more: the first, unless only the other comes from a member."""
    if first is None or (isinstance(first, NoConnection) and not isinstance(other, NoConnection)):
        return other
    return first


async def _ending(address: str, call: WatchCall) -> StoreError:
    """What a watch that never began has failed with."""
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return failed(address, error)
    return StoreUnavailable(f"the member at {address} ended the watch")
