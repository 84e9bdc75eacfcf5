"""The key values of one member, over gRPC: bytes in, bytes out.

Handlers decode and encode by themselves, because that is cheaper than having gRPC do it, and because an event that
many watchers want is then encoded once. A watch sends its headers as soon as it stands: what is written after that
will be delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from orchestrator.store.call_stream import CallStream
from orchestrator.store.door_errors import STANDS, Context, refuse
from orchestrator.store.errors import StoreError, StoreRefused
from orchestrator.store.interface import Event, Store
from orchestrator.store.key_value_answers import READ_ONLY, REPLY_BYTES, answer_get, answer_range, answer_txn
from orchestrator.store.v1 import store_pb2 as pb

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["KeyValues"].full_name
Authorize = Callable[[Context], Awaitable[None]]
"""Aborts the call when whoever makes it may not."""
R = TypeVar("R", bound=Message)


def key_value_handler(
    store: Store, *, authorize: Authorize, read_only: bool = False
) -> grpc.GenericRpcHandler[bytes, bytes]:
    """The KeyValues service. `read_only`: nothing can be written: others keep the rules there."""

    async def get(request: pb.GetRequest) -> bytes:
        return (await answer_get(store, request)).SerializeToString()

    async def range_(request: pb.RangeRequest) -> bytes:
        return (await answer_range(store, request)).SerializeToString()

    async def txn(request: pb.TxnRequest) -> bytes:
        return (await answer_txn(store, request)).SerializeToString()

    async def compact(request: pb.CompactRequest) -> bytes:
        await store.compact(request.revision)
        return b""

    async def grant_lease(request: pb.GrantLeaseRequest) -> bytes:
        lease = await store.grant_lease(request.ttl)
        return pb.LeaseReply(lease=lease, ttl=request.ttl).SerializeToString()

    async def keep_lease(request: pb.KeepLeaseRequest) -> bytes:
        ttl = await store.keep_lease(request.lease)
        return pb.LeaseReply(lease=request.lease, ttl=ttl).SerializeToString()

    async def revoke_lease(request: pb.RevokeLeaseRequest) -> bytes:
        await store.revoke_lease(request.lease)
        return pb.LeaseReply(lease=request.lease).SerializeToString()

    async def watch(raw: bytes, context: Context) -> None:
        await authorize(context)
        try:
            request = pb.WatchRequest.FromString(raw)
            await _watch(store, request, context, encoder)
        except (StoreError, DecodeError) as error:
            await refuse(context, error)
        except grpc.aio.InternalError as error:
            # What is written to a client that has gone fails so; nobody is left to be told.
            log.debug("a watcher has gone: %s", error)

    async def refused(_: bytes, context: Context) -> bytes:
        await authorize(context)
        await refuse(context, StoreRefused(READ_ONLY))

    async def calls(_: object, context: Context) -> None:
        await authorize(context)
        try:
            await CallStream(store, context, read_only=read_only).run()
        except DecodeError as error:
            await refuse(context, error)

    encoder = EventEncoder()
    writing = {
        "Txn": _unary(txn, pb.TxnRequest, authorize),
        "Compact": _unary(compact, pb.CompactRequest, authorize),
        "GrantLease": _unary(grant_lease, pb.GrantLeaseRequest, authorize),
        "KeepLease": _unary(keep_lease, pb.KeepLeaseRequest, authorize),
        "RevokeLease": _unary(revoke_lease, pb.RevokeLeaseRequest, authorize),
    }
    if read_only:
        writing = dict.fromkeys(writing, refused)
    writing_handlers = {name: grpc.unary_unary_rpc_method_handler(handle) for name, handle in writing.items()}
    reading = {
        "Get": grpc.unary_unary_rpc_method_handler(_unary(get, pb.GetRequest, authorize)),
        "Range": grpc.unary_unary_rpc_method_handler(_unary(range_, pb.RangeRequest, authorize)),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
        "Calls": grpc.stream_stream_rpc_method_handler(calls),
    }
    return grpc.method_handlers_generic_handler(SERVICE, reading | writing_handlers)


def _unary(
    verb: Callable[[R], Awaitable[bytes]], kind: type[R], authorize: Authorize
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    parse = kind.FromString

    async def handle(raw: bytes, context: Context) -> bytes:
        await authorize(context)
        try:
            return await verb(parse(raw))
        except (StoreError, DecodeError) as error:
            await refuse(context, error)

    return handle


class EventEncoder:
    """Encodes events as parts of a WatchReply, and remembers the last: watchers want the same ones about together."""

    _REMEMBERED = 2048

    def __init__(self) -> None:
        self._parts: dict[tuple[int, str], bytes] = {}

    def part(self, event: Event) -> bytes:
        """The bytes of a reply that has only this event. Such parts in a row are a reply that has all of them."""
        name = (event.revision, event.key)
        part = self._parts.get(name)
        if part is None:
            one = pb.WatchEvent(key=event.key, revision=event.revision)
            if event.value is not None:
                one.value = event.value
            part = pb.WatchReply(events=(one,)).SerializeToString()
            if len(self._parts) >= self._REMEMBERED:
                self._parts.clear()
            self._parts[name] = part
        return part

    def replies(self, events: Sequence[Event]) -> list[bytes]:
        """Messages of a bearable size. Each says how far it goes: one that ends inside a revision promises less."""
        replies: list[bytes] = []
        parts: list[bytes] = []
        size = 0
        for event in events:
            if size >= REPLY_BYTES:
                replies.append(_joined(parts, event.revision - 1))
                parts, size = [], 0
            part = self.part(event)
            parts.append(part)
            size += len(part)
        if parts:
            replies.append(_joined(parts, events[-1].revision))
        return replies


def _joined(parts: Sequence[bytes], progress: int) -> bytes:
    return b"".join((*parts, pb.WatchReply(progress=progress).SerializeToString()))


async def _watch(store: Store, request: pb.WatchRequest, context: Context, encoder: EventEncoder) -> None:
    events = store.watch(request.prefix, after=request.after)
    try:
        await context.send_initial_metadata((STANDS,))
        async for batch in events:
            for reply in encoder.replies(batch):
                await context.write(reply)
    finally:
        events.close()
