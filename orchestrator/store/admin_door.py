"""The administration of a store, over gRPC: how a member does, who the members are, everything as one file."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import google_crc32c
import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from orchestrator.store.admin_messages import list_reply, status_reply
from orchestrator.store.door_errors import Context, refuse
from orchestrator.store.errors import StoreError
from orchestrator.store.interface import ClusterStore
from orchestrator.store.key_value_door import Authorize
from orchestrator.store.membership import MemberList
from orchestrator.store.v1 import store_pb2 as pb

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["ClusterAdmin"].full_name
PIECE_BYTES = 1 << 20

R = TypeVar("R", bound=Message)


def admin_handler(store: ClusterStore, *, authorize: Authorize) -> grpc.GenericRpcHandler[bytes, bytes]:
    """The ClusterAdmin service."""

    async def status(raw: bytes, context: Context) -> bytes:
        await authorize(context)
        # Also a member that has stopped says how it does.
        try:
            members = await store.members(serializable=True)
        except StoreError:
            members = MemberList("", ())
        return status_reply(store.status(), members).SerializeToString()

    async def snapshot(raw: bytes, context: Context) -> None:
        await authorize(context)
        try:
            data = await store.save_snapshot()
        except StoreError as error:
            await refuse(context, error)
        try:
            for offset in range(0, len(data), PIECE_BYTES):
                piece = data[offset : offset + PIECE_BYTES]
                message = pb.SnapshotPiece(
                    data=piece, checksum=google_crc32c.value(piece), offset=offset, size=len(data)
                )
                await context.write(message.SerializeToString())
        except grpc.aio.InternalError as error:
            # What is written to a client that has gone fails so; nobody is left to be told.
            log.debug("nobody takes the snapshot any more: %s", error)

    def change(kind: type[R], make: Callable[[R], Awaitable[MemberList]]) -> grpc.RpcMethodHandler[bytes, bytes]:
        parse = kind.FromString

        async def handle(raw: bytes, context: Context) -> bytes:
            await authorize(context)
            try:
                return list_reply(await make(parse(raw))).SerializeToString()
            except (StoreError, DecodeError) as error:
                await refuse(context, error)

        return grpc.unary_unary_rpc_method_handler(handle)

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Status": grpc.unary_unary_rpc_method_handler(status),
            "ListMembers": change(pb.ListMembersRequest, lambda ask: store.members(serializable=ask.serializable)),
            "AddMember": change(pb.AddMemberRequest, lambda ask: store.add_member(ask.name, ask.address)),
            "PromoteMember": change(pb.PromoteMemberRequest, lambda ask: store.promote_member(ask.name)),
            "RemoveMember": change(pb.RemoveMemberRequest, lambda ask: store.remove_member(ask.name)),
            "MoveMember": change(pb.MoveMemberRequest, lambda ask: store.move_member(ask.name, ask.address)),
            "TransferLeadership": change(pb.TransferLeadershipRequest, lambda ask: store.transfer_leadership(ask.name)),
            "SaveSnapshot": grpc.unary_stream_rpc_method_handler(snapshot),
        },
    )
