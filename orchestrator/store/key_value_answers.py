"""What a store answers to the messages of `store.proto`, whichever way they come."""

from __future__ import annotations

from typing import Final

from orchestrator.store.interface import Compare, Store
from orchestrator.store.key_value_messages import encoded, operation, txn_reply
from orchestrator.store.v1 import store_pb2 as pb

REPLY_BYTES: Final = 4 << 20
"""About the most that one reply to a range, or one message of a stream, carries."""
READ_ONLY: Final = "keys are only read through this door: write through the API"
_PAGE = 1000
"""Keys a range without a limit of its own asks the store for at once."""


async def answer_get(store: Store, request: pb.GetRequest) -> pb.GetReply:
    found = await store.get(request.key, revision=request.revision, serializable=request.serializable)
    return pb.GetReply() if found is None else pb.GetReply(item=encoded(found))


async def answer_txn(store: Store, request: pb.TxnRequest) -> pb.TxnReply:
    compares = [Compare(each.key, each.mod_revision) for each in request.compares]
    return txn_reply(await store.txn(compares, [operation(change) for change in request.changes]))


async def answer_range(store: Store, request: pb.RangeRequest) -> pb.RangeReply:
    """As many of the keys as were asked for, all at one revision, and not many more bytes than fit in a reply."""
    reply = pb.RangeReply(revision=request.revision)
    after, size, more = request.start_after, 0, True
    while more and size < REPLY_BYTES and not 0 < request.limit <= len(reply.items):
        page = await store.range(
            request.prefix,
            start_after=after,
            limit=min(_PAGE, request.limit - len(reply.items) if request.limit else _PAGE),
            revision=reply.revision,
            # What comes after the first page is read at the revision that one had.
            serializable=request.serializable or bool(reply.items),
        )
        reply.revision = page.revision
        reply.count = max(reply.count, page.count)
        more = page.more
        for item in page.items:
            if size >= REPLY_BYTES:
                more = True
                break
            one = encoded(item)
            size += len(item.key) + len(item.value) + 32
            if request.keys_only:
                one.ClearField("value")
            reply.items.append(one)
            after = item.key
    reply.more = more
    return reply
