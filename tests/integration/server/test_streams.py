"""Logs and exec through the server to a node: the right node, both directions, every way it can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from orchestrator.api import errors
from orchestrator.api.status import to_rpc
from orchestrator.api.v1 import ExecReply, ExecRequest, LogsChunk, LogsRequest, Pod, streams_pb2_grpc
from orchestrator.client import Channel, Client
from orchestrator.pki import identity_of
from orchestrator.server import streams
from tests.integration.running import RunningServer
from tests.integration.server.objects import NAMESPACE, node, pod


class FakeNode(streams_pb2_grpc.PodStreamsServicer):
    """Answers like a node's agent: logs tell what was asked, exec echoes."""

    def __init__(self) -> None:
        self.callers: list[str] = []
        self.ended = asyncio.Event()

    async def Logs(  # noqa: N802
        self, request: LogsRequest, context: grpc.aio.ServicerContext[LogsRequest, LogsChunk]
    ) -> AsyncIterator[LogsChunk]:
        for certificate in context.auth_context()["x509_pem_cert"]:
            self.callers.append(identity_of(certificate).name)
        if request.previous:
            error = errors.BadRequest(f'previous terminated container "{request.container}" in pod "web" not found')
            details = (("grpc-status-details-bin", to_rpc(error).SerializeToString()),)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message, details)
        yield LogsChunk(data=f"{request.pod}/{request.container} tail {request.tail_lines}\n".encode())
        if request.follow:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()

    async def Exec(  # noqa: N802
        self,
        request_iterator: AsyncIterator[ExecRequest],
        context: grpc.aio.ServicerContext[ExecRequest, ExecReply],
    ) -> AsyncIterator[ExecReply]:
        start = (await anext(request_iterator)).start
        yield ExecReply(stderr=" ".join(start.command).encode())
        async for request in request_iterator:
            match request.WhichOneof("message"):
                case "stdin":
                    yield ExecReply(stdout=request.stdin.upper())
                case "resize":
                    yield ExecReply(stdout=f"{request.resize.width}x{request.resize.height}".encode())
                case "close_stdin":
                    break
        yield ExecReply(exit_code=3)


@pytest.fixture
async def agent(api: RunningServer, client: Client) -> AsyncIterator[FakeNode]:
    """Node n1 with an agent behind it, running the pod web."""
    serving = FakeNode()
    server, port = await serve(api, serving)
    await client.create(node("n1", address="127.0.0.1", port=port))
    await client.create(pod(node="n1"))
    yield serving
    await server.stop(None)


async def serve(api: RunningServer, servicer: FakeNode) -> tuple[grpc.aio.Server, int]:
    pki = api.paths.pki
    credentials = grpc.ssl_server_credentials(
        [((pki / "node.key").read_bytes(), (pki / "node.crt").read_bytes())],
        root_certificates=(pki / "ca.crt").read_bytes(),
        require_client_auth=True,
    )
    server = grpc.aio.server()
    streams_pb2_grpc.add_PodStreamsServicer_to_server(servicer, server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    return server, port


async def read_logs(client: Client, name: str = "web", **options: object) -> bytes:
    return b"".join([chunk async for chunk in client.logs(name, NAMESPACE, **options)])  # type: ignore[arg-type]


async def test_logs_come_from_the_node(client: Client, agent: FakeNode) -> None:
    assert await read_logs(client, container="main", tail_lines=7) == b"web/main tail 7\n"
    assert await read_logs(client) == b"web/ tail 0\n"
    assert set(agent.callers) == {"kube-apiserver"}


async def test_a_reader_who_leaves_ends_the_stream_at_the_node(client: Client, agent: FakeNode) -> None:
    stream = client.logs("web", NAMESPACE, follow=True)
    assert await anext(stream) == b"web/ tail 0\n"
    await stream.aclose()
    await asyncio.wait_for(agent.ended.wait(), 20)


async def test_a_stopping_server_ends_streams_at_once(api: RunningServer, client: Client, agent: FakeNode) -> None:
    stream = client.logs("web", NAMESPACE, follow=True)
    await anext(stream)
    stopping = asyncio.create_task(api.stop())
    with pytest.raises(errors.ServiceUnavailable):
        await asyncio.wait_for(anext(stream), 4)
    await asyncio.wait_for(stopping, 4)
    await asyncio.wait_for(agent.ended.wait(), 20)


async def test_exec_goes_both_ways(client: Client, agent: FakeNode) -> None:
    async with client.exec("web", NAMESPACE, ["sh", "-c", "cat"], stdin=True) as session:
        received: list[tuple[Channel, bytes]] = []
        await session.send(b"hello")
        await session.resize(80, 24)
        await session.close_stdin()
        async for channel, data in session:
            received.append((channel, data))
        assert received == [
            (Channel.STDERR, b"sh -c cat"),
            (Channel.STDOUT, b"HELLO"),
            (Channel.STDOUT, b"80x24"),
        ]
        assert session.exit_code == 3


async def test_the_nodes_own_errors_arrive_as_they_are(client: Client, agent: FakeNode) -> None:
    with pytest.raises(errors.BadRequest, match='previous terminated container "main" in pod "web" not found'):
        await read_logs(client, container="main", previous=True)


@pytest.mark.parametrize(
    ("name", "container", "error", "message"),
    [
        ("absent", "", errors.NotFound, 'pods "absent" not found'),
        ("web", "sidecar", errors.BadRequest, "container sidecar is not valid for pod web"),
        ("waiting", "", errors.BadRequest, "pod waiting does not have a host assigned"),
        ("lost", "", errors.ServiceUnavailable, 'node "n9" of pod lost is not registered'),
        ("homeless", "", errors.ServiceUnavailable, 'node "n8" has no address yet'),
        ("two", "", errors.BadRequest, "a container name must be specified for pod two, choose one of: [main other]"),
    ],
)
async def test_streams_that_lead_nowhere(
    client: Client, agent: FakeNode, name: str, container: str, error: type[errors.ApiError], message: str
) -> None:
    await client.create(pod("waiting"))
    await client.create(pod("lost", node="n9"))
    await client.create(node("n8"))
    await client.create(pod("homeless", node="n8"))
    two: Pod = pod("two", node="n1")
    two.spec.containers.add(name="other", image="registry.test/web:v1")
    await client.create(two)
    with pytest.raises(error) as caught:
        await read_logs(client, name, container=container)
    assert message in caught.value.message
    with pytest.raises(error) as caught:
        async with client.exec(name, NAMESPACE, ["true"], container=container) as session:
            async for _ in session:
                pass
    assert message in caught.value.message


async def test_an_exec_without_a_command(client: Client, agent: FakeNode) -> None:
    with pytest.raises(errors.BadRequest, match="you must specify at least one command"):
        async with client.exec("web", NAMESPACE, []) as session:
            async for _ in session:
                pass


async def test_a_node_that_is_away(client: Client) -> None:
    await client.create(node("n1", address="127.0.0.1", port=1))
    await client.create(pod(node="n1"))
    with pytest.raises(errors.ServiceUnavailable, match=r'node "n1" can\'t be reached at 127\.0\.0\.1:1'):
        await read_logs(client)


async def test_a_node_that_shows_another_nodes_certificate(client: Client, api: RunningServer) -> None:
    server, port = await serve(api, FakeNode())
    await client.create(node("n2", address="127.0.0.1", port=port))
    await client.create(pod(node="n2"))
    with pytest.raises(errors.ServiceUnavailable, match='node "n2" can\'t be reached'):
        await read_logs(client)
    await server.stop(None)


async def test_a_stranger_gets_no_streams(api: RunningServer) -> None:
    credentials = grpc.ssl_channel_credentials(api.connection().ca)
    async with grpc.aio.secure_channel(api.address, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/navarch.v1.PodStreams/Logs", bytes, bytes)(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_connections_to_nodes_that_are_not_used_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IDLE_CONNECTIONS", 2)
    connections = streams.NodeConnections(grpc.ssl_channel_credentials())
    addresses = [streams.NodeAddress(f"n{number}", f"127.0.0.1:{number + 1}") for number in range(5)]
    async with connections.channel(addresses[0]) as used:
        channels = {}
        for address in addresses[1:]:
            async with connections.channel(address) as channel:
                channels[address] = channel
        async with connections.channel(addresses[0]) as again:
            assert again is used, "one with a stream stays"
    async with connections.channel(addresses[4]) as latest, connections.channel(addresses[1]) as earliest:
        assert latest is channels[addresses[4]]
        assert earliest is not channels[addresses[1]]
    await connections.close()
