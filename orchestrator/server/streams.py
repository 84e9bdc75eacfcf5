"""Logs and exec: the server finds the pod's node and passes bytes on, in both directions, without looking into them.

Only the first message is read, to find the pod. Every node serves the same PodStreams service as this one; the
connection to it is made with the server's own certificate and accepts only a certificate that names that very node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import grpc
import grpc.aio

from orchestrator.api import errors
from orchestrator.api.kinds import kind_of
from orchestrator.api.schema import service
from orchestrator.api.status import from_rpc
from orchestrator.api.v1 import ExecRequest, ExecStart, LogsRequest, Node, Pod
from orchestrator.server.caller import Caller, authorize
from orchestrator.server.encoding import decode
from orchestrator.server.grpc_door import DETAILS, Context, caller_of, decoded, failures_reported
from orchestrator.server.keys import Key, object_key
from orchestrator.server.store_errors import store_errors_mapped
from orchestrator.store import Store

log = logging.getLogger("streams")

SERVICE = service("PodStreams").full_name
DEFAULT_NODE_PORT = 7450
START_SECONDS = 30.0
IDLE_CONNECTIONS = 32

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A followed log may be silent for long: without this, pings would stop after two.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # also how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node's agent listens, and the name its certificate must show."""

    node: str
    target: str


@dataclass(slots=True)
class _Connection:
    address: NodeAddress
    channel: grpc.aio.Channel
    streams: int = 0


class NodeConnections:
    """One connection to each node that streams go to, shared by all of them. Of those without streams, few are kept."""

    def __init__(self, credentials: grpc.ChannelCredentials) -> None:
        self._credentials = credentials
        self._connections: dict[str, _Connection] = {}  # the latest used last

    @asynccontextmanager
    async def channel(self, address: NodeAddress) -> AsyncIterator[grpc.aio.Channel]:
        """A channel to the node, for one stream; a new one when its address has changed."""
        known = self._connections.pop(address.node, None)
        outdated = known if known is not None and known.address != address else None
        if known is None or outdated is not None:
            options = [*_OPTIONS, ("grpc.ssl_target_name_override", address.node)]
            known = _Connection(address, grpc.aio.secure_channel(address.target, self._credentials, options=options))
        self._connections[address.node] = known
        known.streams += 1
        try:
            if outdated is not None:
                await outdated.channel.close(None)
            yield known.channel
        finally:
            known.streams -= 1
            await self._close_idle()

    async def _close_idle(self) -> None:
        idle = [each for each in self._connections.values() if not each.streams]
        surplus = idle[: max(0, len(idle) - IDLE_CONNECTIONS)]
        for each in surplus:
            del self._connections[each.address.node]
        for each in surplus:
            await each.channel.close(None)

    async def close(self) -> None:
        """End all streams."""
        connections = list(self._connections.values())
        self._connections.clear()
        for each in connections:
            await each.channel.close(None)


class PodStreams:
    """The relay. One instance a server."""

    def __init__(self, store: Store, connections: NodeConnections) -> None:
        self._store = store
        self._connections = connections

    def handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """The PodStreams service, on raw bytes."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Logs": grpc.unary_stream_rpc_method_handler(self._logs),
                "Exec": grpc.stream_stream_rpc_method_handler(self._exec),
            },
        )

    async def logs(self, caller: Caller, request: LogsRequest) -> AsyncGenerator[bytes, None]:
        """Serialized LogsChunks, as the pod's node sends them. Raises NotFound, BadRequest, ServiceUnavailable."""
        address = await self._locate(caller, "log", request.namespace, request.pod, request.container)
        async with self._connections.channel(address) as channel:
            call = channel.unary_stream(f"/{SERVICE}/Logs", bytes, bytes)(request.SerializeToString())
            async with aclosing(_relayed(call, address)) as messages:
                async for message in messages:
                    yield message

    async def exec(
        self, caller: Caller, start: ExecStart, messages: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """Serialized ExecReplies to the serialized ExecRequests that follow `start`. Raises as `logs` does."""
        address = await self.exec_address(caller, start)
        first = ExecRequest(start=start).SerializeToString()
        async with self._connections.channel(address) as channel:
            call = channel.stream_stream(f"/{SERVICE}/Exec", bytes, bytes)(_again(first, messages))
            async with aclosing(_relayed(call, address)) as replies:
                async for reply in replies:
                    yield reply

    async def exec_address(self, caller: Caller, start: ExecStart) -> NodeAddress:
        """Where the command would run: all that can be refused without asking the node. Raises as `logs` does."""
        if not start.command:
            raise errors.BadRequest("you must specify at least one command for the container")
        return await self._locate(caller, "exec", start.namespace, start.pod, start.container)

    async def _logs(self, raw: bytes, context: Context) -> None:
        async with failures_reported(context, "Logs"):
            await _send(self.logs(caller_of(context), decoded(raw, LogsRequest.FromString)), context)

    async def _exec(self, messages: AsyncIterator[bytes], context: Context) -> None:
        async with failures_reported(context, "Exec"):
            caller = caller_of(context)
            first = decoded(await _first_of(messages), ExecRequest.FromString)
            if not first.HasField("start"):
                raise errors.BadRequest("the first message of an exec must be `start`")
            await _send(self.exec(caller, first.start, messages), context)

    async def _locate(self, caller: Caller, verb: str, namespace: str, name: str, container: str) -> NodeAddress:
        """The node that runs a pod's container. Raises NotFound, BadRequest, ServiceUnavailable."""
        key = object_key(kind_of(Pod), namespace, name)
        authorize(caller, f"get/{verb}", key.kind.resource, namespace, name)
        pod = await self._object(key)
        if not isinstance(pod, Pod):
            raise key.not_found()
        check_container(pod, container)
        if not pod.spec.node_name:
            raise errors.BadRequest(f"pod {name} does not have a host assigned")
        node = await self._object(Key(kind_of(Node), "", pod.spec.node_name))
        if not isinstance(node, Node):
            raise errors.ServiceUnavailable(f'node "{pod.spec.node_name}" of pod {name} is not registered')
        return address_of(node)

    async def _object(self, key: Key) -> object | None:
        with store_errors_mapped():
            found = await self._store.get(key.path)
        return decode(key.kind, found.value) if found is not None else None


def check_container(pod: Pod, container: str) -> None:
    """Raise BadRequest unless the name means one container of the pod; without a name there must be only one."""
    name = pod.metadata.name
    main = [each.name for each in pod.spec.containers]
    others = [each.name for each in pod.spec.init_containers] + [each.name for each in pod.spec.ephemeral_containers]
    if container and container not in main + others:
        raise errors.BadRequest(f"container {container} is not valid for pod {name}")
    if not container and len(main) > 1:
        choices = " ".join(main)
        raise errors.BadRequest(f"a container name must be specified for pod {name}, choose one of: [{choices}]")


def address_of(node: Node) -> NodeAddress:
    """Where the node says that its agent listens. Raises ServiceUnavailable."""
    name = node.metadata.name
    by_type: dict[str, str] = {}
    for each in node.status.addresses:
        by_type.setdefault(each.type, each.address)
    host = by_type.get("InternalIP") or by_type.get("Hostname")
    if not host:
        raise errors.ServiceUnavailable(f'node "{name}" has no address yet')
    port = node.status.daemon_endpoints.kubelet_endpoint.port or DEFAULT_NODE_PORT
    return NodeAddress(name, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


async def _first_of(messages: AsyncIterator[bytes]) -> bytes:
    """What the call begins with; empty when nothing comes. Raises Timeout: a call that says nothing is not kept."""
    try:
        async with asyncio.timeout(START_SECONDS):
            return await anext(messages, b"")
    except TimeoutError as error:
        raise errors.Timeout(f"the exec did not say within {START_SECONDS:.0f} s what to start") from error


async def _again(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for message in rest:
        yield message


async def _send(messages: AsyncGenerator[bytes, None], context: Context) -> None:
    async with aclosing(messages):
        async for message in messages:
            await context.write(message)


async def _relayed(
    call: grpc.aio.UnaryStreamCall[bytes, bytes] | grpc.aio.StreamStreamCall[bytes, bytes], address: NodeAddress
) -> AsyncGenerator[bytes, None]:
    """The node's messages, and its error if it ends with one."""
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as error:
        raise _from_node(error, address) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Not the caller has gone but the connection to the node was closed under the call.
        raise errors.ServiceUnavailable("the server is shutting down", retry_after=1) from error
    finally:
        call.cancel()


def _from_node(error: grpc.aio.AioRpcError, address: NodeAddress) -> errors.ApiError:
    details = _details(error)
    message = error.details() or ""
    if details is None and error.code() is grpc.StatusCode.UNAVAILABLE:
        log.info("node unreachable: %s", message)
        return errors.ServiceUnavailable(f'node "{address.node}" can\'t be reached at {address.target}: {message}')
    return from_rpc(error.code().value[0], message, details)


def _details(error: grpc.aio.AioRpcError) -> bytes | None:
    trailer = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    for key, value in trailer:
        if key == DETAILS:
            return value if isinstance(value, bytes) else value.encode("latin-1")
    return None
