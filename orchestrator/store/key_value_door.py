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
from orchestrator.store.interface import Batch, Store
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
            await _watch(store, request, context)
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


def _replies(batch: Batch) -> Sequence[bytes]:
    """The batch as messages of a bearable size, made once for all its watchers. A revision, which is one txn and so of
    a bearable size itself, is never divided: whoever breaks off and resumes has it whole or not at all."""
    if isinstance(batch.cached, tuple):
        return batch.cached
    replies: list[bytes] = []
    parts: list[bytes] = []
    size = revision = 0
    for event in batch:
        if size >= REPLY_BYTES and event.revision > revision:
            replies.append(_joined(parts, revision))
            parts, size = [], 0
        revision = event.revision
        one = pb.WatchEvent(key=event.key, revision=event.revision)
        if event.value is not None:
            one.value = event.value
        # Replies of one event in a row are a reply that has all of them.
        part = pb.WatchReply(events=(one,)).SerializeToString()
        parts.append(part)
        size += len(part)
    if parts:
        replies.append(_joined(parts, revision))
    batch.cached = tuple(replies)
    return replies


def _joined(parts: Sequence[bytes], progress: int) -> bytes:
    return b"".join((*parts, pb.WatchReply(progress=progress).SerializeToString()))


async def _watch(store: Store, request: pb.WatchRequest, context: Context) -> None:
    events = store.watch(request.prefix, after=request.after)
    try:
        await context.send_initial_metadata((STANDS,))
        async for batch in events:
            for reply in _replies(batch):
                await context.write(reply)
    finally:
        events.close()
