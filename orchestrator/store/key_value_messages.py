"""Keys, values and what is done with them, as the messages of `store.proto` and back."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.store.errors import InvalidTxn
from orchestrator.store.interface import Compare, Delete, Event, KeyValue, Operation, Put, TxnResult
from orchestrator.store.v1 import store_pb2 as pb


def encoded(item: KeyValue) -> pb.KeyValue:
    return pb.KeyValue(
        key=item.key,
        value=item.value,
        create_revision=item.create_revision,
        mod_revision=item.mod_revision,
        lease=item.lease,
    )


def decoded(item: pb.KeyValue) -> KeyValue:
    return KeyValue(item.key, item.value, item.create_revision, item.mod_revision, item.lease)


def txn_request(compares: Sequence[Compare], operations: Sequence[Operation]) -> pb.TxnRequest:
    return pb.TxnRequest(
        compares=[pb.Comparison(key=each.key, mod_revision=each.mod_revision) for each in compares],
        changes=[
            pb.Change(key=each.key, value=each.value, lease=each.lease)
            if isinstance(each, Put)
            else pb.Change(key=each.key)
            for each in operations
        ],
    )


def operation(change: pb.Change) -> Operation:
    """Raises InvalidTxn."""
    if change.HasField("value"):
        return Put(change.key, change.value, change.lease)
    if change.lease:
        raise InvalidTxn(f"the deletion of {change.key!r} has a lease: only what is put has one")
    return Delete(change.key)


def txn_reply(result: TxnResult) -> pb.TxnReply:
    reply = pb.TxnReply(succeeded=result.succeeded, revision=result.revision)
    for there in result.conflicts:
        reply.conflicts.append(pb.GetReply() if there is None else pb.GetReply(item=encoded(there)))
    return reply


def txn_result(reply: pb.TxnReply) -> TxnResult:
    conflicts = tuple(decoded(each.item) if each.HasField("item") else None for each in reply.conflicts)
    return TxnResult(reply.succeeded, reply.revision, conflicts)


def decoded_event(event: pb.WatchEvent) -> Event:
    """What was there before is not told to other processes."""
    return Event(event.key, event.value if event.HasField("value") else None, event.revision, None)
