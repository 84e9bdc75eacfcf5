"""A client that means harm: what it sends gets an error that says why, changes nothing, and costs others nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.kinds import all_kinds
from orchestrator.api.v1 import (
    BatchReply,
    BatchRequest,
    ConfigMap,
    CreateRequest,
    DeleteRequest,
    GetRequest,
    ListReply,
    ListRequest,
    Namespace,
    Object,
    ObjectKey,
    Operation,
    PatchRequest,
    PatchType,
    Pod,
    Secret,
    Service,
    UpdateRequest,
    WatchRequest,
)
from orchestrator.client import Client
from orchestrator.paths import Paths
from orchestrator.server import grpc_door, turnstile
from tests.integration.running import RunningServer
from tests.integration.server.objects import NAMESPACE, config_map, pod, service
from tests.unit.api.schema_strategies import json_values, messages

OWN_FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
LONG = "x" * 100_000


@pytest.fixture
async def channel(api: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """As any gRPC client in the world would connect: default limits."""
    ours = api.connection()
    credentials = grpc.ssl_channel_credentials(ours.ca, ours.key, ours.certificate)
    async with grpc.aio.secure_channel(ours.address, credentials) as channel:
        yield channel


async def answer(channel: grpc.aio.Channel, method: str, request: Message | bytes) -> bytes | grpc.aio.AioRpcError:
    """The reply, or the error; a watch's first event."""
    raw = request if isinstance(request, bytes) else request.SerializeToString()
    path = f"/navarch.v1.Resources/{method}"
    try:
        if method == "Watch":
            call = channel.unary_stream(path, bytes, bytes)(raw, timeout=10)
            first = await call.read()
            call.cancel()
            return first if isinstance(first, bytes) else b""
        reply: bytes = await channel.unary_unary(path, bytes, bytes)(raw, timeout=10)
        return reply
    except grpc.aio.AioRpcError as error:
        return error


def key(name: str = "settings", resource: str = "configmaps", namespace: str = NAMESPACE) -> ObjectKey:
    return ObjectKey(resource=resource, namespace=namespace, name=name)


def continued(token: object) -> ListRequest:
    raw = token if isinstance(token, bytes) else json.dumps(token).encode()
    request = ListRequest(resource="pods")
    setattr(request, "continue", base64.urlsafe_b64encode(raw).decode())
    return request


def patch(body: object, patch_type: PatchType.ValueType = PatchType.MERGE) -> PatchRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return PatchRequest(key=key(), type=patch_type, patch=raw)


def many_faults() -> Pod:
    made = pod("many")
    for _ in range(20_000):
        made.spec.tolerations.add(key="=")
    return made


def many_controllers() -> ConfigMap:
    made = config_map("many")
    for _ in range(3_000):
        made.metadata.owner_references.add(name="x", uid="u", kind="K", api_version="v1", controller=True)
    return made


def endless_grace() -> Pod:
    made = pod("endless")
    made.spec.termination_grace_period_seconds = 2**62
    return made


REFUSED: dict[str, tuple[str, Message | bytes]] = {
    "no message": ("Create", b"\xff\xff\xff"),
    "nothing": ("Create", CreateRequest()),
    "nothing to update": ("Update", UpdateRequest(key=key())),
    "a long name": ("Get", GetRequest(key=key(LONG))),
    "a name of signs": ("Get", GetRequest(key=key("%\n\0日本" * 1000))),
    "a long resource": ("Get", GetRequest(key=key(resource=LONG))),
    "a long subresource": ("Get", GetRequest(key=key(), subresource=LONG)),
    "a path for a namespace": ("Create", CreateRequest(object=Object(config_map=config_map(namespace="../x")))),
    "a path for a name": ("Create", CreateRequest(object=Object(config_map=config_map("../x")))),
    "a long selector": ("List", ListRequest(resource="pods", label_selector="a=" + LONG)),
    "a selector of many": (
        "List",
        ListRequest(resource="pods", label_selector=",".join(map("a{}".format, range(500)))),
    ),
    "nested brackets": ("List", ListRequest(resource="pods", label_selector="a in (" * 5000)),
    "fields that are none": ("List", ListRequest(resource="pods", field_selector="a" * 50_000)),
    "a revision of 5000 digits": ("List", ListRequest(resource="pods", resource_version="9" * 5000)),
    "a watch from there": ("Watch", WatchRequest(resource="pods", resource_version="9" * 5000)),
    "a nested token": ("List", continued(b"[" * 2000)),
    "a long token": ("List", continued([2, LONG, 0])),
    "a token before everything": ("List", continued([2, "", -1])),
    "a token from the end of time": ("List", continued([10**30, "", 0])),
    "no JSON": ("Patch", patch(b"{")),
    "JSON in UTF-16": ("Patch", patch('{"data":{}}'.encode("utf-16"))),
    "nested JSON": ("Patch", patch(b'{"a":' * 100_000)),
    "half a character": ("Patch", patch(rb'{"\ud800":"a"}')),
    "half a character for a kind": ("Patch", patch(rb'{"kind":"\ud800"}')),
    "half a character for a directive": ("Patch", patch(rb'{"$patch":"\ud800"}', PatchType.STRATEGIC)),
    "half a character in a path": ("Patch", patch([{"op": "remove", "path": "\ud800"}], PatchType.JSON)),
    "doubling": (
        "Patch",
        patch([{"op": "copy", "from": "/data", "path": f"/data/{i}"} for i in range(40)], PatchType.JSON),
    ),
    "a number without end": ("Patch", patch(b'{"data":{"a":1e999}}')),
    "a grace without end": ("Create", CreateRequest(object=Object(pod=endless_grace()))),
    "thousands of faults": ("Create", CreateRequest(object=Object(pod=many_faults()))),
    "thousands of controllers": ("Create", CreateRequest(object=Object(config_map=many_controllers()))),
    "a batch of ten thousand": ("Batch", BatchRequest(operations=[Operation()] * 10_000)),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_is_refused_with_a_reason_and_nothing_changes(
    api: RunningServer, client: Client, channel: grpc.aio.Channel, case: str
) -> None:
    await client.create(config_map(a="1"))
    before = api.store.status().revision
    async with asyncio.timeout(5):
        got = await answer(channel, *REFUSED[case])
    assert isinstance(got, grpc.aio.AioRpcError), got
    assert got.code() not in OWN_FAULTS, got
    assert "removed" not in (got.details() or ""), "the error itself got through"
    assert grpc_door.DETAILS in str(got.trailing_metadata()), got
    assert api.store.status().revision == before


TEXT = st.text(max_size=6) | st.sampled_from(["", NAMESPACE, "settings", "..", "a/b", "\0", "é" * 300])
KEYS = st.builds(
    ObjectKey, resource=st.sampled_from([kind.resource for kind in all_kinds()]) | TEXT, namespace=TEXT, name=TEXT
)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
PATCHES = st.builds(
    PatchRequest,
    key=KEYS | st.just(key()),
    type=st.sampled_from([PatchType.MERGE, PatchType.STRATEGIC, PatchType.JSON]),
    patch=(
        st.dictionaries(st.sampled_from(["metadata", "data", "spec", "$patch"]) | TEXT, json_values)
        | st.lists(
            st.fixed_dictionaries(
                {
                    "op": st.sampled_from(["add", "remove", "copy", "test"]),
                    "path": TEXT,
                    "from": TEXT,
                    "value": json_values,
                }
            ),
            max_size=3,
        )
    ).map(lambda body: json.dumps(body).encode()),
    subresource=st.sampled_from(["", "", "status", "scale"]),
    dry_run=st.booleans(),
)


@st.composite
def objects(draw: st.DrawFn) -> Object:
    """Any object of any kind, most of them with a name under which it could be stored."""
    kind = draw(st.sampled_from(all_kinds()))
    obj = draw(messages(cast(type[Message], kind.message)))
    wrapped = Object()
    getattr(wrapped, kind.field).CopyFrom(obj)
    if draw(st.booleans()):
        meta = getattr(wrapped, kind.field).metadata
        meta.name, meta.namespace = "settings", NAMESPACE if kind.namespaced else ""
    return wrapped


SUBRESOURCES = st.sampled_from(["", "", "status", "scale", "binding", "finalize"])
REQUESTS: dict[str, st.SearchStrategy[Message]] = {
    "Create": st.builds(CreateRequest, object=objects(), subresource=SUBRESOURCES),
    "Update": st.builds(UpdateRequest, object=objects(), subresource=SUBRESOURCES),
    "Get": st.builds(GetRequest, key=KEYS, subresource=SUBRESOURCES | TEXT),
    "Patch": PATCHES,
    "Delete": st.builds(
        DeleteRequest, key=KEYS, grace_period_seconds=NUMBERS, propagation_policy=TEXT, dry_run=st.just(True)
    ),
    "List": st.builds(
        ListRequest,
        resource=KEYS.map(lambda key: key.resource),
        label_selector=TEXT,
        limit=NUMBERS,
        resource_version=TEXT,
    ),
    "Watch": st.builds(
        WatchRequest,
        resource=KEYS.map(lambda key: key.resource),
        field_selector=TEXT,
        resource_version=TEXT,
        timeout_seconds=st.integers(-(2**63), 0),
    ),
}


async def test_random_requests(api: RunningServer, client: Client, channel: grpc.aio.Channel) -> None:
    """Bytes of all sorts, and messages of the schema with fields of all sorts."""
    loop = asyncio.get_running_loop()
    await client.create(config_map("kept", a="1"))

    async def ask(method: str, raw: bytes) -> None:
        before = api.store.status().revision
        got = await answer(channel, method, raw)
        if isinstance(got, grpc.aio.AioRpcError):
            assert got.code() not in OWN_FAULTS, got
            assert api.store.status().revision == before

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(sorted(REQUESTS)))
        raw = data.draw(REQUESTS[method].map(lambda request: request.SerializeToString()) | st.binary(max_size=200))
        asyncio.run_coroutine_threadsafe(ask(method, raw), loop).result(30)

    await asyncio.to_thread(attack)
    assert (await client.get(ConfigMap, "kept", NAMESPACE)).data == {"a": "1"}


async def test_a_grace_period_without_end_ends_with_the_calendar(client: Client) -> None:
    await client.create(pod(node="n1"))
    marked = await client.delete(Pod, "web", namespace=NAMESPACE, grace_period_seconds=2**62)
    assert marked.metadata.deletion_grace_period_seconds == 2**31 - 1


@pytest.mark.parametrize("address", ["1.2.3.4 } ; flush ruleset", "1.2.3.4/8", "x"])
async def test_addresses_in_a_status_are_addresses(client: Client, address: str) -> None:
    made = await client.create(service())
    made.status.load_balancer.ingress.add(ip=address)
    with pytest.raises(errors.Invalid, match="must be a valid IP address"):
        await client.update(made, subresource="status")
    running = await client.create(pod())
    running.status.pod_ip = address
    with pytest.raises(errors.Invalid, match="must be a valid IP address"):
        await client.update(running, subresource="status")
    assert not (await client.get(Service, "web", NAMESPACE)).status.load_balancer.ingress


async def test_a_batch_of_small_patches_of_a_large_object(api: RunningServer, client: Client) -> None:
    await client.create(config_map(v="x" * 1_000_000))
    request = BatchRequest(operations=[Operation(patch=patch({})) for _ in range(200)])
    ours = api.connection()
    credentials = grpc.ssl_channel_credentials(ours.ca, ours.key, ours.certificate)
    unlimited = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.secure_channel(ours.address, credentials, options=unlimited) as channel:
        raw = await answer(channel, "Batch", request)
    assert isinstance(raw, bytes)
    assert len(raw) < 120 << 20
    results = BatchReply.FromString(raw).results
    assert len(results) == 200
    assert results[-1].error.reason == "RequestEntityTooLarge"


async def test_a_large_collection_comes_in_pages_that_a_client_takes(client: Client, channel: grpc.aio.Channel) -> None:
    for number in range(8):
        await client.create(config_map(f"large-{number}", v="x" * 900_000))
    first = await answer(channel, "List", ListRequest(resource="configmaps"))
    assert isinstance(first, bytes), first
    assert getattr(ListReply.FromString(first), "continue")
    listed = await client.list(ConfigMap, namespace=NAMESPACE)
    assert [each.metadata.name for each in listed.items] == [f"large-{number}" for number in range(8)]
    assert not listed.continue_token


async def test_a_large_object_is_judged_while_others_are_answered(client: Client, channel: grpc.aio.Channel) -> None:
    large = pod("large")
    for number in range(15_000):
        large.spec.volumes.add(name=f"v{number}")
        large.spec.containers[0].volume_mounts.add(name=f"v{number}", mount_path=f"/v{number}")
    loop = asyncio.get_running_loop()
    judged = asyncio.ensure_future(answer(channel, "Create", CreateRequest(object=Object(pod=large), dry_run=True)))
    waits = []
    while not judged.done():
        begun = loop.time()
        await client.get(Namespace, NAMESPACE)
        waits.append(loop.time() - begun)
    assert isinstance(judged.result(), bytes), judged.result()
    assert len(waits) > 3, "others were answered meanwhile"


async def test_one_caller_cannot_take_all_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "MAX_CALLS_OF_ONE", 5)
    server = RunningServer(Paths(tmp_path))
    await server.start()
    try:
        ours = server.connection()
        credentials = grpc.ssl_channel_credentials(ours.ca, ours.key, ours.certificate)
        async with server.connect("node") as other, grpc.aio.secure_channel(ours.address, credentials) as channel:
            watch = channel.unary_stream("/navarch.v1.Resources/Watch", bytes, bytes)
            open_calls = [watch(WatchRequest(resource="pods").SerializeToString()) for _ in range(5)]
            for call in open_calls:
                await call.initial_metadata()
            for method in ("/navarch.v1.Resources/Watch", "/grpc.health.v1.Health/Watch"):
                refused = channel.unary_stream(method, bytes, bytes)(b"")
                assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "has 5 calls open already" in (await refused.details() or "")
            assert await other.get(Namespace, NAMESPACE), "others are not concerned"
            open_calls[0].cancel()
            while isinstance(
                got := await answer(channel, "Get", GetRequest(key=key("default", "namespaces", ""))),
                grpc.aio.AioRpcError,
            ):
                assert got.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        await server.stop()


async def test_a_thousand_watches_come_and_go(api: RunningServer, client: Client) -> None:
    await client.get(Namespace, NAMESPACE)
    before = len(asyncio.all_tasks())
    ours = api.connection()
    credentials = grpc.ssl_channel_credentials(ours.ca, ours.key, ours.certificate)
    async with grpc.aio.secure_channel(ours.address, credentials) as channel:
        watch = channel.unary_stream("/navarch.v1.Resources/Watch", bytes, bytes)
        calls = [watch(WatchRequest(resource="pods").SerializeToString()) for _ in range(1000)]
        await asyncio.gather(*(call.initial_metadata() for call in calls))
        await client.create(pod())
        assert all(await asyncio.gather(*(call.read() for call in calls)))
        for call in calls:
            call.cancel()
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > before + 5:
            await client.get(Namespace, NAMESPACE)


async def test_lists_that_nobody_reads_hold_up_nobody_else(api: RunningServer, client: Client) -> None:
    for number in range(4):
        await client.create(config_map(f"large-{number}", v="x" * 900_000))
    ours = api.connection()
    credentials = grpc.ssl_channel_credentials(ours.ca, ours.key, ours.certificate)
    async with grpc.aio.secure_channel(ours.address, credentials) as channel, api.connect("node") as other:
        ask = channel.unary_unary("/navarch.v1.Resources/List", bytes, bytes)
        calls = [ask(ListRequest(resource="configmaps").SerializeToString()) for _ in range(100)]
        async with asyncio.timeout(10):
            assert (await other.list(ConfigMap)).items
        for call in calls:
            call.cancel()
        async with asyncio.timeout(10):
            assert (await client.list(ConfigMap)).items, "calls that were given up have left the queue"


async def test_the_log_says_nothing_of_secrets_and_keys_are_private(
    api: RunningServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = Secret(data={"password": b"hunter2hunter2"})
    secret.metadata.name, secret.metadata.namespace = "mine", NAMESPACE
    await client.create(secret)
    with pytest.raises(errors.Invalid):
        await client.patch(
            Secret, "mine", {"data": {"bad/key": base64.b64encode(b"hunter2").decode()}}, namespace=NAMESPACE
        )
    assert "hunter2" not in caplog.text
    assert base64.b64encode(b"hunter2").decode()[:8] not in caplog.text
    private = [*api.paths.pki.glob("*.key"), *api.paths.etc.glob("*.conf")]
    assert len(private) > 10
    for file in private:
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


async def test_connections_that_never_say_who_they_are_are_ended(api: RunningServer) -> None:
    assert dict(grpc_door.OPTIONS)["grpc.server_handshake_timeout_ms"] <= 10_000
    host, _, port = api.address.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(100)]
    try:
        async with api.connect() as client:
            assert await client.get(Namespace, NAMESPACE)
    finally:
        for each in silent:
            each.close()
