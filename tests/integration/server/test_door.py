"""The door: who is let in, how much at once, and what every gRPC tool expects to find."""

from __future__ import annotations

from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, DeleteRequest, GetRequest, Namespace, ObjectKey
from orchestrator.client import Client
from orchestrator.kubeconfig import Connection
from orchestrator.paths import Paths
from orchestrator.pki import ensure_pki
from orchestrator.server.caller import Caller, authenticate
from orchestrator.server.service import ApiServer
from tests.integration.running import RunningServer
from tests.integration.server.objects import NAMESPACE, config_map, pod


def secure_channel(connection: Connection) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(connection.ca, connection.key, connection.certificate)
    return grpc.aio.secure_channel(connection.address, credentials)


async def test_the_first_start_makes_a_cluster(api: RunningServer, client: Client) -> None:
    names = [each.metadata.name for each in (await client.list(Namespace)).items]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    for name in ("admin", "scheduler", "controllers", "node", "proxy", "network"):
        async with api.connect(name) as other:
            assert (await other.get(Namespace, "default")).metadata.name == "default"


async def test_the_caller_is_who_the_certificate_names(api: RunningServer) -> None:
    identity = authenticate(api.connection("node").certificate)
    assert Caller(identity, "").identity.name == "system:node:n1"
    assert identity.groups == ("system:nodes",)


async def test_a_foreign_certificate_is_refused(api: RunningServer, tmp_path: Path) -> None:
    other = Paths(tmp_path / "elsewhere")
    ensure_pki(other, node_name="n1", addresses=[])
    ours = api.connection()
    foreign = Connection(
        address=ours.address,
        ca=ours.ca,
        certificate=(other.pki / "admin.crt").read_bytes(),
        key=(other.pki / "admin.key").read_bytes(),
        namespace="default",
    )
    async with Client.connect(foreign, timeout=10) as client:
        with pytest.raises(errors.ServiceUnavailable):
            await client.get(Namespace, "default")


async def test_no_certificate_is_refused(api: RunningServer) -> None:
    credentials = grpc.ssl_channel_credentials(api.connection().ca)
    async with grpc.aio.secure_channel(api.address, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/navarch.v1.Resources/Get", bytes, bytes)(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_that_is_not_ours_is_not_trusted(api: RunningServer, tmp_path: Path) -> None:
    other = Paths(tmp_path / "elsewhere")
    ensure_pki(other, node_name="n1", addresses=[])
    ours = api.connection()
    misled = Connection(ours.address, (other.pki / "ca.crt").read_bytes(), ours.certificate, ours.key, "default")
    async with Client.connect(misled, timeout=10) as client:
        with pytest.raises(errors.ServiceUnavailable):
            await client.get(Namespace, "default")


async def test_a_request_over_the_limit_is_refused_and_nothing_else(api: RunningServer, client: Client) -> None:
    with pytest.raises(errors.RequestEntityTooLarge):
        await client.create(config_map("large", v="x" * (3 << 20)))
    long = pod("long")
    long.spec.containers[0].command.append("x" * (5 << 19))
    with pytest.raises(errors.RequestEntityTooLarge, match="the limit is"):
        await client.create(long)
    # The same connection goes on.
    await client.create(config_map("small"))
    assert [each.metadata.name for each in (await client.list(ConfigMap)).items] == ["small"]


async def test_garbage_is_refused(api: RunningServer) -> None:
    async with secure_channel(api.connection()) as channel:
        for method in ("Create", "Get", "List", "Watch", "Batch"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/navarch.v1.Resources/{method}", bytes, bytes)(b"\xff\xff\xff", timeout=10)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/navarch.v1.Resources/Drop", bytes, bytes)(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "message"),
    [
        ("gizmos", "default", "x", 'the server doesn\'t have a resource type "gizmos"'),
        ("", "default", "x", "the server doesn't have a resource type"),
        ("pods", "", "x", "an empty namespace may not be set for pods"),
        ("pods", "default", "", "resource name may not be empty"),
        ("nodes", "default", "x", "nodes have no namespace"),
        ("pods", "default", "../../nodes//n1", "may not contain '/'"),
        ("pods", "default/x", "y", "may not contain '/'"),
    ],
)
async def test_names_that_make_no_sense(client: Client, resource: str, namespace: str, name: str, message: str) -> None:
    key = ObjectKey(resource=resource, namespace=namespace, name=name)
    for call in (client._resources.Get(GetRequest(key=key)), client._resources.Delete(DeleteRequest(key=key))):
        with pytest.raises(errors.BadRequest) as caught:
            await client._call(call)
        assert message in caught.value.message


async def test_health(api: RunningServer) -> None:
    async with secure_channel(api.connection()) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "navarch.v1.Resources", "navarch.v1.PodStreams"):
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection(api: RunningServer) -> None:
    async with secure_channel(api.connection()) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="navarch.v1.Deployment"),
        ]
        listed, described = [reply async for reply in stub.ServerReflectionInfo(iter(requests), timeout=10)]
    names = {each.name for each in listed.list_services_response.service}
    assert {"navarch.v1.Resources", "navarch.v1.PodStreams", "grpc.health.v1.Health"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


async def test_a_port_that_is_taken(api: RunningServer, tmp_path: Path) -> None:
    second = ApiServer(Paths(tmp_path / "second"), listen=api.address, node_name="n2")
    with pytest.raises(OSError, match=f"can't listen on {api.address}"):
        await second.run(lambda: None)


async def test_what_was_written_is_there_after_a_restart(api: RunningServer) -> None:
    async with api.connect() as client:
        made = await client.create(config_map(a="1"))
        await api.restart()
        await client.connected()
        assert await client.get(ConfigMap, "settings", NAMESPACE) == made
        with pytest.raises(errors.AlreadyExists):
            await client.create(config_map())
