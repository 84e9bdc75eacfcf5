"""The client against a servicer of a few lines on a real gRPC connection: what it asks, and what it makes of
answers."""
# ruff: noqa: N802 - the schema names the methods

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import kind_of, wrap
from orchestrator.api.status import to_rpc, to_status
from orchestrator.api.v1 import (
    BatchReply,
    BatchRequest,
    ConfigMap,
    ExecReply,
    ExecRequest,
    GetRequest,
    ListReply,
    ListRequest,
    LogsChunk,
    LogsRequest,
    ObjectMeta,
    ObjectReply,
    Pod,
    WatchEvent,
    WatchRequest,
    resources_pb2_grpc,
    streams_pb2_grpc,
)
from orchestrator.client import Channel, Client, Create, Delete, Patch, PatchType, Update
from orchestrator.client.channel import api_error, unreachable
from orchestrator.client.operations import MAX_BATCH_BYTES, Bind, chunks

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]


def config(name: str, size: int = 0) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="default", name=name), data={"x": "x" * size})


class Server(resources_pb2_grpc.ResourcesServicer, streams_pb2_grpc.PodStreamsServicer):
    def __init__(self) -> None:
        self.lists: list[ListRequest] = []
        self.batches: list[int] = []
        self.cancelled = asyncio.Event()
        self.typed: list[str] = []

    async def Get(self, request: GetRequest, context: Context) -> ObjectReply:
        match request.key.name:
            case "slow":
                await asyncio.Event().wait()
            case "wrong":
                return ObjectReply(object=wrap(Pod()))
            case "odd":
                return ObjectReply(object=wrap(config("odd")), warnings=["this is odd"])
        error = errors.NotFound.of(request.key.resource, request.key.name)
        context.set_trailing_metadata([("grpc-status-details-bin", to_rpc(error).SerializeToString())])
        await context.abort(grpc.StatusCode.NOT_FOUND, error.message)
        raise AssertionError

    async def List(self, request: ListRequest, context: Context) -> ListReply:
        self.lists.append(request)
        reply = ListReply(items=[wrap(config("a"))], resource_version="7", remaining_item_count=3)
        setattr(reply, "continue", "more")
        return reply

    async def Batch(self, request: BatchRequest, context: Context) -> BatchReply:
        self.batches.append(len(request.operations))
        if len(self.batches) == 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no leader")
        results = []
        for operation in request.operations:
            metadata = operation.create.object.config_map.metadata
            if metadata.name == "taken":
                error = to_status(errors.AlreadyExists.of("configmaps", "taken"))
                results.append(BatchReply.Result(error=error))
            else:
                results.append(BatchReply.Result(object=operation.create.object))
        return BatchReply(results=results)

    async def Watch(self, request: WatchRequest, context: Context) -> AsyncIterator[WatchEvent]:
        try:
            yield WatchEvent(type=WatchEvent.ADDED, object=wrap(config("a")))
            yield WatchEvent(type=WatchEvent.BOOKMARK, object=wrap(ConfigMap()))
            if request.resource_version == "1":
                error = errors.Expired("too old resource version: 1 (5)")
                context.set_trailing_metadata([("grpc-status-details-bin", to_rpc(error).SerializeToString())])
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, error.message)
            if request.timeout_seconds:
                return
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def Logs(self, request: LogsRequest, context: Context) -> AsyncIterator[LogsChunk]:
        yield LogsChunk(data=b"one\n")
        yield LogsChunk(data=f"tail {request.tail_lines}\n".encode())

    async def Exec(self, requests: AsyncIterator[ExecRequest], context: Context) -> AsyncIterator[ExecReply]:
        async for request in requests:
            match request.WhichOneof("message"):
                case "start":
                    self.typed.append(" ".join(request.start.command))
                    yield ExecReply(stderr=b"started")
                    if request.start.command[0] == "cut":
                        return
                case "stdin":
                    yield ExecReply(stdout=request.stdin)
                case "resize":
                    self.typed.append(f"{request.resize.width}x{request.resize.height}")
                case "close_stdin":
                    yield ExecReply(exit_code=3)
                    return


@asynccontextmanager
async def connected(
    *, timeout: float = 30.0, warnings: list[str] | None = None
) -> AsyncIterator[tuple[Server, Client]]:
    servicer, server = Server(), grpc.aio.server()  # type: ignore[abstract]
    resources_pb2_grpc.add_ResourcesServicer_to_server(servicer, server)
    streams_pb2_grpc.add_PodStreamsServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    on_warning = warnings.append if warnings is not None else None
    try:
        async with Client(channel, f"127.0.0.1:{port}", timeout=timeout, on_warning=on_warning) as client:
            yield servicer, client
    finally:
        await server.stop(None)


async def test_errors_and_warnings_arrive() -> None:
    warnings: list[str] = []
    async with connected(warnings=warnings) as (_, client):
        with pytest.raises(errors.NotFound) as raised:
            await client.get(ConfigMap, "none", "default")
        assert raised.value.details.name == "none"
        assert (await client.get(ConfigMap, "odd", "default")).metadata.name == "odd"
        assert warnings == ["this is odd"]
        with pytest.raises(errors.InternalError, match="sent a Pod where a ConfigMap belongs"):
            await client.get(ConfigMap, "wrong", "default")


async def test_no_answer_in_time() -> None:
    async with connected(timeout=0.05) as (_, client):
        with pytest.raises(errors.Timeout, match="may have taken effect"):
            await client.get(ConfigMap, "slow", "default")


async def test_closing_ends_calls_without_pretending_a_cancellation() -> None:
    async with connected() as (_, client):
        call = asyncio.ensure_future(client.get(ConfigMap, "slow", "default"))
        await client.connected()
        await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(errors.ServiceUnavailable, match="closed"):
            await call
        with pytest.raises(errors.ServiceUnavailable, match="closed"):
            await client.connected()


async def test_a_cancelled_task_is_cancelled() -> None:
    async with connected() as (_, client):
        call = asyncio.ensure_future(client.get(ConfigMap, "slow", "default"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_nothing_listens() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(errors.ServiceUnavailable, match=r'127\.0\.0\.1:1 can\'t be reached .*"navctl up"'):
            await Client(channel, "127.0.0.1:1").list(ConfigMap)


async def test_lists() -> None:
    async with connected() as (server, client):
        page = await client.list(ConfigMap, label_selector="a=b", limit=1, continue_token="here")
        assert (page.items, page.resource_version, page.continue_token) == ([config("a")], "7", "more")
        assert page.remaining == 3
        (request,) = server.lists
        assert (request.resource, request.label_selector, request.limit) == ("configmaps", "a=b", 1)
        assert getattr(request, "continue") == "here"


async def test_batches_are_cut_to_size_and_results_stay_in_order() -> None:
    async with connected() as (server, client):
        results = await client.batch([Create(config(name)) for name in ["a"] * 255 + ["taken"] + ["b"] * 44])
        assert server.batches == [256, 44]
        assert [type(each) for each in results] == [ConfigMap] * 255 + [errors.AlreadyExists] + [ConfigMap] * 44
        # The third request gets no answer: as the first of its batch it is raised, otherwise it is the result.
        with pytest.raises(errors.ServiceUnavailable):
            await client.batch([Create(config("a"))])
        server.batches = [0]
        results = await client.batch([Create(config("a"))] * 600)
        assert [type(each) for each in results] == [ConfigMap] * 256 + [errors.ServiceUnavailable] * 344
        assert await client.batch([]) == []


def test_chunks_respect_bytes() -> None:
    sizes = [MAX_BATCH_BYTES // 2 - 1000] * 3 + [MAX_BATCH_BYTES + 1, 10]
    cut = list(chunks(Create(config("a", size)).to_wire() for size in sizes))
    assert [len(chunk) for chunk in cut] == [2, 1, 1, 1]


async def test_watches_end_fail_and_are_left() -> None:
    async with connected() as (server, client):
        seen = [change.type async for change in client.watch(ConfigMap, timeout_seconds=1)]
        assert seen == ["ADDED", "BOOKMARK"]
        with pytest.raises(errors.Expired, match="too old"):
            async for _ in client.watch(ConfigMap, resource_version="1"):
                pass
        server.cancelled.clear()
        async with aclosing(client.watch(ConfigMap)) as changes:
            async for change in changes:
                assert change.object == config("a")
                break
        async with asyncio.timeout(5):
            await server.cancelled.wait()


async def test_logs() -> None:
    async with connected() as (_, client):
        assert [data async for data in client.logs("p", "default", tail_lines=5)] == [b"one\n", b"tail 5\n"]


async def test_exec() -> None:
    async with connected() as (server, client):
        async with client.exec("p", "default", ["cat", "-"], stdin=True) as session:
            big = b"y" * 100_000

            async def type_it() -> None:
                await session.resize(80, 24)
                await session.send(big)
                await session.close_stdin()

            typing = asyncio.ensure_future(type_it())
            output: dict[Channel, bytes] = {Channel.STDOUT: b"", Channel.STDERR: b""}
            async for channel, data in session:
                output[channel] += data
            await typing
            assert output == {Channel.STDOUT: big, Channel.STDERR: b"started"}
            assert session.exit_code == 3
            # The command has ended: what is typed now goes nowhere, and harms nobody.
            await session.send(b"late")
        assert server.typed == ["cat -", "80x24"]


async def test_exec_that_is_cut_off_says_so() -> None:
    async with connected() as (_, client):
        async with client.exec("p", "default", ["cut"]) as session:
            with pytest.raises(errors.ServiceUnavailable, match="may still be running"):
                async for _ in session:
                    pass


def test_operations_on_the_wire() -> None:
    patch = Patch(Pod, "p", [{"op": "remove", "path": "/x"}], "default", PatchType.JSON, "status").to_wire().patch
    assert (patch.key.resource, patch.key.name, patch.key.namespace) == ("pods", "p", "default")
    assert (patch.type, patch.patch, patch.subresource) == (2, b'[{"op":"remove","path":"/x"}]', "status")
    delete = Delete(Pod, "p", "default", grace_period_seconds=0, uid="u").to_wire().delete
    assert delete.HasField("grace_period_seconds") and not delete.HasField("propagation_policy")
    update = Update(config("a"), "status").to_wire(dry_run=True).update
    assert update.dry_run and update.subresource == "status"
    pod = Pod(metadata=ObjectMeta(name="p", namespace="default", uid="u"))
    bind = Bind(pod, "n1").to_wire().create
    assert bind.subresource == "binding" and bind.object.binding.target.name == "n1"
    assert bind.object.binding.metadata.uid == "u" and kind_of(pod).resource == "pods"


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        ("Failed to connect to remote host: connect: Connection refused (111)", "navctl up"),
        ("Ssl handshake failed: SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED", "belong to this cluster"),
        ("DNS resolution failed for nowhere:7443", "the name is not known"),
        ("Socket closed", "does not accept the certificate"),
        ("No route to host", "check that the server runs"),
    ],
)
def test_every_failure_has_a_next_step(cause: str, advice: str) -> None:
    told = unreachable(
        "10.0.0.1:7443", f"failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:7443: {cause}"
    )
    assert "10.0.0.1:7443" in told and advice in told and f"reached ({cause})" in told


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (5 vs. 4)", errors.RequestEntityTooLarge),
        (grpc.StatusCode.CANCELLED, "", errors.ServiceUnavailable),
        (grpc.StatusCode.UNIMPLEMENTED, "no such method", errors.MethodNotAllowed),
        (grpc.StatusCode.UNKNOWN, "?", errors.InternalError),
    ],
)
def test_failures_on_the_way(code: grpc.StatusCode, message: str, expected: type[errors.ApiError]) -> None:
    error = grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=message, debug_error_string=None
    )
    assert type(api_error(error, "here")) is expected
