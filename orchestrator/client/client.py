"""The typed client: every verb over every kind, in terms of messages and errors of `orchestrator.api`.

One `Client` is one connection and serves any number of tasks. A call either returns the object as the server has it
or raises what the server raised (`NotFound`, `Conflict`, ...); when there is no answer it raises `ServiceUnavailable`
or `Timeout`, and for a write that means it may or may not have happened. Nothing is retried here: what a retry means
only the caller knows, and the informer and the reconciler, which do know, are built on this.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import grpc
import grpc.aio

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, as_view, kind_of, unwrap, wrap
from orchestrator.api.status import from_status
from orchestrator.api.v1 import (
    BatchReply,
    BatchRequest,
    GetRequest,
    ListReply,
    ListRequest,
    LogsRequest,
    Object,
    ObjectReply,
    Pod,
    Scale,
    UpdateRequest,
    WatchEvent,
    WatchRequest,
    resources_pb2_grpc,
    streams_pb2_grpc,
)
from orchestrator.client.channel import api_error, closed_here, open_channel, wait_connected
from orchestrator.client.exec import ExecSession
from orchestrator.client.operations import (
    AnyOperation,
    Bind,
    Create,
    Delete,
    Patch,
    PatchBody,
    PatchType,
    Update,
    chunks,
    object_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.kubeconfig import Connection

log = logging.getLogger("client")

K = TypeVar("K", bound=KubeObject)
T = TypeVar("T")

CALL_TIMEOUT_SECONDS = 30.0
# After these a write may or may not have happened.
UNANSWERED = (errors.ServiceUnavailable, errors.ServerTimeout, errors.Timeout)


class ChangeType(StrEnum):
    """What happened to an object. A bookmark tells only that nothing else happened up to its revision."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


_CHANGE_TYPES = {WatchEvent.Type.Value(each.value): each for each in ChangeType}


@dataclass(frozen=True, slots=True)
class Change(Generic[K]):
    """One event of a watch. Of a deleted object: its last state, with the revision of the deletion."""

    type: ChangeType
    object: K


@dataclass(frozen=True, slots=True)
class Listing(Generic[K]):
    """One page of a list, all of it as of `resource_version`."""

    items: list[K]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


class Client:
    """A connection to the API server under one identity."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        address: str,
        *,
        namespace: str = "",
        timeout: float = CALL_TIMEOUT_SECONDS,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self._channel = channel
        self._resources = resources_pb2_grpc.ResourcesStub(channel)
        self._streams = streams_pb2_grpc.PodStreamsStub(channel)
        self._timeout = timeout
        self._on_warning = on_warning or log.debug
        self.address = address
        self.namespace = namespace

    @classmethod
    def connect(
        cls,
        connection: Connection,
        *,
        timeout: float = CALL_TIMEOUT_SECONDS,
        on_warning: Callable[[str], None] | None = None,
    ) -> Client:
        """A client for what a kubeconfig names. Returns at once; the first call makes the connection."""
        channel = open_channel(connection)
        return cls(channel, connection.address, namespace=connection.namespace, timeout=timeout, on_warning=on_warning)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; calls still running fail."""
        await self._channel.close(None)

    async def connected(self) -> None:
        """Wait, as long as it takes, until there is a connection."""
        await wait_connected(self._channel)

    async def create(self, obj: K, *, dry_run: bool = False) -> K:
        request = Create(obj).to_wire(dry_run=dry_run).create
        return self._object(await self._call(self._resources.Create(request, timeout=self._timeout)), type(obj))

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        request = GetRequest(key=object_key(kind, name, namespace))
        return self._object(await self._call(self._resources.Get(request, timeout=self._timeout)), kind)

    async def list(
        self,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> Listing[K]:
        """All objects of a kind (in one namespace, or in all), or with `limit` a page, from `continue_token` on.

        All of them may be more than the server gives in one reply: then it is asked until it has given all.
        """
        request = ListRequest(
            resource=kind_of(kind).resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            resource_version=resource_version,
        )
        setattr(request, "continue", continue_token)
        reply: ListReply = await self._call(self._resources.List(request, timeout=self._timeout))
        items = [_typed(item, kind) for item in reply.items]
        request.ClearField("resource_version")
        while not limit and getattr(reply, "continue"):
            setattr(request, "continue", getattr(reply, "continue"))
            reply = await self._call(self._resources.List(request, timeout=self._timeout))
            items.extend(_typed(item, kind) for item in reply.items)
        return Listing(
            items=items,
            resource_version=reply.resource_version,
            continue_token=getattr(reply, "continue"),
            remaining=reply.remaining_item_count if reply.HasField("remaining_item_count") else None,
        )

    async def update(self, obj: K, *, subresource: str = "", dry_run: bool = False) -> K:
        request = Update(obj, subresource).to_wire(dry_run=dry_run).update
        return self._object(await self._call(self._resources.Update(request, timeout=self._timeout)), type(obj))

    async def patch(
        self,
        kind: type[K],
        name: str,
        patch: PatchBody,
        *,
        namespace: str = "",
        type: PatchType = PatchType.MERGE,
        subresource: str = "",
        dry_run: bool = False,
    ) -> K:
        request = Patch(kind, name, patch, namespace, type, subresource).to_wire(dry_run=dry_run).patch
        return self._object(await self._call(self._resources.Patch(request, timeout=self._timeout)), kind)

    async def delete(
        self,
        kind: type[K],
        name: str,
        *,
        namespace: str = "",
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> K:
        """Ask for an object to be removed. Returns what is left of it, or its last state when it is gone."""
        operation = Delete(kind, name, namespace, grace_period_seconds, propagation_policy, uid, resource_version)
        request = operation.to_wire(dry_run=dry_run).delete
        return self._object(await self._call(self._resources.Delete(request, timeout=self._timeout)), kind)

    async def bind(self, pod: Pod, node_name: str) -> None:
        """Put a pod on a node: a Conflict when it has one already."""
        await self._call(self._resources.Create(Bind(pod, node_name).to_wire().create, timeout=self._timeout))

    async def get_scale(self, kind: type[KubeObject], name: str, namespace: str = "") -> Scale:
        request = GetRequest(key=object_key(kind, name, namespace), subresource="scale")
        return self._object(await self._call(self._resources.Get(request, timeout=self._timeout)), Scale)

    async def update_scale(self, kind: type[KubeObject], scale: Scale) -> Scale:
        """Set the number of replicas of the object that `scale` is named after."""
        key = object_key(kind, scale.metadata.name, scale.metadata.namespace)
        request = UpdateRequest(object=wrap(scale), subresource="scale", key=key)
        return self._object(await self._call(self._resources.Update(request, timeout=self._timeout)), Scale)

    async def batch(self, operations: Sequence[AnyOperation]) -> builtins.list[KubeObject | errors.ApiError]:
        """Carry out independent operations; a result for each, in order.

        Goes in as few requests as fit. When a request gets no answer, its operations and all later ones have that
        error as their result, unless it is the first: then it is raised.
        """
        results: list[KubeObject | errors.ApiError] = []
        for chunk in chunks(operation.to_wire() for operation in operations):
            try:
                request = BatchRequest(operations=chunk)
                reply: BatchReply = await self._call(self._resources.Batch(request, timeout=self._timeout))
            except UNANSWERED as error:
                if not results:
                    raise
                return results + [error] * (len(operations) - len(results))
            except errors.ApiError as error:
                results += [error] * len(chunk)
                continue
            if len(reply.results) != len(chunk):
                raise errors.InternalError(f"{len(reply.results)} results for {len(chunk)} operations")
            results += [_result(each) for each in reply.results]
        return results

    async def watch(
        self,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        bookmarks: bool = True,
        timeout_seconds: int | None = None,
    ) -> AsyncGenerator[Change[K], None]:
        """Every change after a revision, or with none first everything there is. Ends when the server ends it.

        Close it when it is left early (`contextlib.aclosing`), or the stream stays open until it is collected.
        """
        request = WatchRequest(
            resource=kind_of(kind).resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            allow_bookmarks=bookmarks,
            timeout_seconds=timeout_seconds,
        )
        call = self._resources.Watch(request)
        try:
            with self._translated():
                async for event in call:
                    yield Change(_CHANGE_TYPES[event.type], _typed(event.object, kind))
        finally:
            call.cancel()

    async def logs(
        self,
        name: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        timestamps: bool = False,
        since_seconds: int | None = None,
        since_time: datetime | None = None,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """What a container has written, in pieces of whole lines. Close it when it is left early."""
        request = LogsRequest(
            namespace=namespace,
            pod=name,
            container=container,
            follow=follow,
            previous=previous,
            timestamps=timestamps,
            since_seconds=since_seconds,
            tail_lines=tail_lines,
            limit_bytes=limit_bytes,
        )
        if since_time is not None:
            request.since_time.FromDatetime(since_time)
        call = self._streams.Logs(request)
        try:
            with self._translated():
                async for chunk in call:
                    yield chunk.data
        finally:
            call.cancel()

    def exec(
        self,
        name: str,
        namespace: str,
        command: Iterable[str],
        *,
        container: str = "",
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
    ) -> ExecSession:
        """Run a command in a container: `async with client.exec(...) as session`, then iterate over its output."""
        start = ExecSession.start(
            name, namespace, command, container=container, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty
        )
        return ExecSession(lambda: self._streams.Exec(None), start, self._translated)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns gRPC's failures inside into this package's errors."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise api_error(error, self.address) from error
        except asyncio.CancelledError as error:
            if closed_here(error):
                raise errors.ServiceUnavailable(f"the connection to {self.address} was closed") from error
            raise

    async def _call(self, call: Awaitable[T]) -> T:
        with self._translated():
            return await call

    def _object(self, reply: ObjectReply, kind: type[K]) -> K:
        for warning in reply.warnings:
            self._on_warning(warning)
        return _typed(reply.object, kind)


def _typed(wire: Object, kind: type[K]) -> K:
    obj = as_view(kind_of(kind), unwrap(wire))
    if not isinstance(obj, kind):
        raise errors.InternalError(f"the server sent a {type(obj).__name__} where a {kind.__name__} belongs")
    return obj


def _result(result: BatchReply.Result) -> KubeObject | errors.ApiError:
    if result.HasField("error"):
        return from_status(result.error)
    return unwrap(result.object)
