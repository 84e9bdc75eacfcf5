"""The gRPC door: who calls, bytes in, bytes out, errors as statuses with details.

Handlers take decoded requests and give back serialized replies: the bytes of stored objects go through as they are. TLS
is always mutual; a client without a certificate of this cluster's authority does not get past the handshake. Limits
are part of the door: the size of a request, the number of calls at once, pings on idle connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from orchestrator.api import errors
from orchestrator.api.schema import service
from orchestrator.api.status import to_rpc
from orchestrator.api.v1 import (
    BatchRequest,
    CreateRequest,
    DeleteCollectionRequest,
    DeleteRequest,
    GetRequest,
    ListRequest,
    PatchRequest,
    UpdateRequest,
    WatchRequest,
)
from orchestrator.logs import fields
from orchestrator.pki import MASTERS
from orchestrator.server.batch import carry_out
from orchestrator.server.caller import Caller, authenticate
from orchestrator.server.collection_deletion import CollectionDeletion
from orchestrator.server.encoding import object_reply
from orchestrator.server.listing import LISTS_OF_ONE, Collections, list_reply
from orchestrator.server.queues import Queues
from orchestrator.server.registry import Answer, Registry

log = logging.getLogger("grpc")

MAX_REQUEST_BYTES = 3 << 20
MAX_CALLS = 10_000

OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not a silent partner
    ("grpc.server_handshake_timeout_ms", 10_000),  # a connection that never says who it is
    # A client that vanished without a word is noticed; one that pings its quiet watch every 10 s is welcome.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]

SERVICE = service("Resources").full_name
DETAILS = "grpc-status-details-bin"

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

R = TypeVar("R")
Context = grpc.aio.ServicerContext[bytes, bytes]


def resources_handler(registry: Registry, collections: Collections) -> grpc.GenericRpcHandler[bytes, bytes]:
    """The Resources service."""

    async def create(caller: Caller, request: CreateRequest) -> bytes:
        return _reply(await registry.create(caller, request))

    async def get(caller: Caller, request: GetRequest) -> bytes:
        return object_reply(await registry.get(caller, request))

    async def update(caller: Caller, request: UpdateRequest) -> bytes:
        return _reply(await registry.update(caller, request))

    async def patch(caller: Caller, request: PatchRequest) -> bytes:
        return _reply(await registry.patch(caller, request))

    async def delete(caller: Caller, request: DeleteRequest) -> bytes:
        return object_reply(await registry.delete(caller, request))

    async def batch(caller: Caller, request: BatchRequest) -> bytes:
        return await carry_out(registry, caller, request)

    async def list_(raw: bytes, context: Context) -> bytes:
        async with failures_reported(context, "List"):
            caller = caller_of(context)
            request = decoded(raw, ListRequest.FromString)
            await queues.turn(caller.identity.name, context)
            return await collections.list(caller, request)

    async def delete_collection(caller: Caller, request: DeleteCollectionRequest) -> bytes:
        return list_reply(await deletion.delete(caller, request.list, request.options))

    deletion = CollectionDeletion(registry, collections)
    queues = Queues(LISTS_OF_ONE)

    async def watch(raw: bytes, context: Context) -> None:
        async with failures_reported(context, "Watch"):
            caller = caller_of(context)
            request = decoded(raw, WatchRequest.FromString)
            limit = request.timeout_seconds if request.HasField("timeout_seconds") else None
            await _pump(collections.watch(caller, request), context, limit)

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Create": _unary("Create", create, CreateRequest.FromString),
            "Get": _unary("Get", get, GetRequest.FromString),
            "List": grpc.unary_unary_rpc_method_handler(list_),
            "Update": _unary("Update", update, UpdateRequest.FromString),
            "Patch": _unary("Patch", patch, PatchRequest.FromString),
            "Delete": _unary("Delete", delete, DeleteRequest.FromString),
            "DeleteCollection": _unary("DeleteCollection", delete_collection, DeleteCollectionRequest.FromString),
            "Batch": _unary("Batch", batch, BatchRequest.FromString),
            "Watch": grpc.unary_stream_rpc_method_handler(watch),
        },
    )


def caller_of(context: Context) -> Caller:
    """Who makes this call, by the certificate that the handshake has verified. Raises Unauthorized."""
    certificates = context.auth_context().get("x509_pem_cert")
    for certificate in certificates or ():
        return Caller(authenticate(certificate), context.peer())
    raise errors.Unauthorized("Unauthorized: the connection shows no client certificate")


async def masters_only(context: Context) -> None:
    """End the call unless whoever makes it may do everything: below the API no rule holds."""
    try:
        caller = caller_of(context)
        if MASTERS not in caller.identity.groups:
            raise errors.Forbidden(f'"{caller.identity.name}" may not ask the store itself: that takes {MASTERS}')
    except errors.ApiError as error:
        await abort(context, error)


@asynccontextmanager
async def failures_reported(context: Context, method: str) -> AsyncGenerator[None, None]:
    """Whatever goes wrong inside becomes the call's status. What nobody foresaw is logged with its trace."""
    try:
        yield
    except errors.ApiError as error:
        await abort(context, error)
    except grpc.aio.AbortError:
        raise
    except grpc.aio.InternalError as error:
        # What is written to a client that has gone fails so; nobody is left to be told.
        log.debug("the client has gone", extra=fields(method=method, peer=context.peer(), error=error))
    except Exception as error:  # the outermost edge of a request
        log.exception("request failed", extra=fields(method=method, peer=context.peer()))
        await abort(context, errors.InternalError.of(error))


async def abort(context: Context, error: errors.ApiError) -> NoReturn:
    """End the call with this error, its details included."""
    status = to_rpc(error)
    await context.abort(_CODES[error.grpc], status.message, ((DETAILS, status.SerializeToString()),))


def decoded(raw: bytes, parse: Callable[[bytes], R]) -> R:
    """The request in these bytes. Raises BadRequest."""
    try:
        return parse(raw)
    except DecodeError as error:
        raise errors.BadRequest(f"the request can't be decoded: {error}") from error


def _unary(
    method: str, verb: Callable[[Caller, R], Awaitable[bytes]], parse: Callable[[bytes], R]
) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def handle(raw: bytes, context: Context) -> bytes:
        async with failures_reported(context, method):
            caller = caller_of(context)
            return await verb(caller, decoded(raw, parse))

    return grpc.unary_unary_rpc_method_handler(handle)


async def _pump(events: AsyncGenerator[bytes, None], context: Context, limit: int | None) -> None:
    """Send events until the stream fails, the client goes, or `limit` seconds have passed, which ends it well."""
    # The headers go out first: the client of a quiet watch sees that it stands.
    await context.send_initial_metadata(())
    try:
        async with asyncio.timeout(limit) as deadline, aclosing(events):
            async for event in events:
                await context.write(event)
    except TimeoutError:
        if not deadline.expired():
            raise


def _reply(answer: Answer) -> bytes:
    return object_reply(answer.stored, answer.warnings)
