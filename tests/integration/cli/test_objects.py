"""`navctl describe`, `scale`, `cordon`, `api-resources`, `version`: smaller commands."""

from __future__ import annotations

import json

import pytest

from orchestrator.api.kinds import KubeObject
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Deployment, Event, Node, ObjectMeta, ObjectReference, Scale
from orchestrator.client import Client
from orchestrator.clock import SystemClock
from tests.integration.cli.commands import Navctl
from tests.integration.server.objects import config_map, deployment, node, pod, service


@pytest.fixture
async def objects(client: Client) -> None:
    await client.create(deployment("web"))
    await client.create(pod("web-a", labels={"app": "web"}))
    await client.create(pod("web-b", labels={"app": "web"}))
    await client.create(service("web"))
    await client.create(node("n1"))
    await client.create(node("n2"))


@pytest.mark.usefixtures("objects")
async def test_scale(navctl: Navctl, client: Client) -> None:
    assert await navctl.ok("scale", "deploy", "web", "--replicas=5") == "deployment.apps/web scaled\n"
    assert (await client.get(Deployment, "web", "default")).spec.replicas == 5
    error = await navctl.fails("scale", "deploy/web", "--replicas=0", "--current-replicas=3")
    assert error == "error: Expected replicas to be 3, was 5"
    assert await navctl.ok("scale", "deploy/web", "--replicas=0", "--current-replicas=5") == (
        "deployment.apps/web scaled\n"
    )
    result = await navctl("scale", "--replicas=1", "deploy/nope", "deploy/web")
    assert (result.code, result.out) == (1, "deployment.apps/web scaled\n")
    assert result.err == 'Error from server (NotFound): deployments.apps "nope" not found\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("deploy/web",), "error: Missing option '--replicas'."),
        (("svc/web", "--replicas=1"), "error: services can't be scaled"),
        (("deploy", "--replicas=1"), "error: resource name may not be empty"),
        (("deploy/web", "--replicas=-1"), "error: Invalid value for '--replicas'"),
        (("deploy/web", "--replicas=99999999999"), "error: Invalid value for '--replicas'"),
    ],
)
async def test_scaling_nonsense(navctl: Navctl, words: tuple[str, ...], said: str) -> None:
    assert (await navctl.fails("scale", *words)).startswith(said)


@pytest.mark.usefixtures("objects")
async def test_cordon(navctl: Navctl, client: Client) -> None:
    assert await navctl.ok("cordon", "n1", "node/n2") == "node/n1 cordoned\nnode/n2 cordoned\n"
    assert await navctl.ok("cordon", "n1") == "node/n1 already cordoned\n"
    assert "SchedulingDisabled" in await navctl.ok("get", "nodes")
    assert await navctl.ok("uncordon", "n1") == "node/n1 uncordoned\n"
    assert await navctl.ok("uncordon", "n1") == "node/n1 already uncordoned\n"
    assert not (await client.get(Node, "n1")).spec.unschedulable
    result = await navctl("cordon", "nope", "n1")
    assert (result.code, result.out) == (1, "node/n1 cordoned\n")
    assert result.err == 'Error from server (NotFound): nodes "nope" not found\n'


@pytest.mark.usefixtures("objects")
async def test_describe_a_pod_with_its_events(navctl: Navctl, client: Client) -> None:
    found = await client.get(type(pod()), "web-a", "default")
    now = to_timestamp(SystemClock().now().replace(microsecond=0))
    about = ObjectReference(kind="Pod", name="web-a", namespace="default", uid=found.metadata.uid)
    for name, uid, message in (("e1", found.metadata.uid, "0/1 nodes are available"), ("e2", "other", "not about it")):
        about.uid = uid
        await client.create(
            Event(
                metadata=ObjectMeta(name=name, namespace="default"),
                involved_object=about,
                type="Warning",
                reason="FailedScheduling",
                message=message,
                first_timestamp=now,
                last_timestamp=now,
                count=1,
            )
        )
    out = await navctl.ok("describe", "pod", "web-a")
    lines = out.splitlines()
    assert lines[0].split() == ["Name:", "web-a"]
    assert ["Namespace:", "default"] in [line.split() for line in lines]
    assert ["Status:", "Pending"] in [line.split() for line in lines]
    assert "0/1 nodes are available" in out
    assert "not about it" not in out
    assert "Events:" not in await navctl.ok("describe", "pod", "web-a", "--show-events=false")


@pytest.mark.usefixtures("objects")
async def test_describe_several(navctl: Navctl) -> None:
    for words in (("pods",), ("pod", "web-a", "web-b"), ("po", "-l", "app=web"), ("pod", "web-")):
        out = await navctl.ok("describe", *words)
        first, second = out.split("\n\n\n")
        assert first.startswith("Name:")
        assert first.split()[1] == "web-a"
        assert second.split()[1] == "web-b"


@pytest.mark.parametrize("kind", ["deploy", "pod", "svc", "node", "ns", "cm", "sa", "ep", "rs", "lease", "secret"])
async def test_describe_every_kind(navctl: Navctl, client: Client, kind: str) -> None:
    for obj in (deployment("x"), pod("x"), service("x"), node("x"), config_map("x", a="1\n2")):
        await client.create(obj)
    documents = "\n---\n".join(
        f"{{apiVersion: {version}, kind: {name}, metadata: {{name: x}}{more}}}"
        for version, name, more in (
            ("v1", "Namespace", ""),
            ("v1", "ServiceAccount", ""),
            ("v1", "Secret", ", stringData: {password: geheim}"),
            ("coordination.k8s.io/v1", "Lease", ", spec: {holderIdentity: me}"),
            ("discovery.k8s.io/v1", "EndpointSlice", ", addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}]"),
            (
                "apps/v1", "ReplicaSet",
                ", spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, "
                "spec: {containers: [{name: c, image: i}]}}}",
            ),
        )
    )  # fmt: skip
    await navctl.ok("apply", "-f", "-", stdin=documents)
    kind = "endpointslice" if kind == "ep" else kind
    out = await navctl.ok("describe", kind, "x")
    assert out.startswith("Name:")
    assert out.split()[1] == "x"
    assert "geheim" not in out


async def test_describe_what_is_not_there(navctl: Navctl) -> None:
    assert await navctl.fails("describe", "pod", "x") == 'Error from server (NotFound): pods "x" not found'
    assert (await navctl.fails("describe")).startswith("error: name a resource")
    assert (await navctl("describe", "pods")).err == "No resources found in default namespace.\n"


async def test_what_kinds_there_are(navctl: Navctl) -> None:
    out = await navctl.ok("api-resources")
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in rows
    assert ["nodes", "no", "v1", "false", "Node"] in rows
    assert "deployments.apps\n" in await navctl.ok("api-resources", "-o", "name")
    everywhere = (await navctl.ok("api-resources", "--namespaced=false", "-o", "name")).split()
    assert everywhere[:2] == ["namespaces", "nodes"]
    assert "persistentvolumes" in everywhere
    assert "pods" not in everywhere


async def test_version(navctl: Navctl) -> None:
    assert (await navctl.ok("version")).startswith("Client Version: v")
    assert json.loads(await navctl.ok("version", "-o", "json"))["clientVersion"]["gitVersion"].startswith("v")
    assert (await navctl.ok("--version")).startswith("navctl, version ")


async def test_help(navctl: Navctl) -> None:
    overview = await navctl.ok("--help")
    for command in ("up", "get", "apply", "rollout", "api-resources"):
        assert f"  {command} " in overview
    assert "--sort-by" in await navctl.ok("get", "-h")
    assert await navctl.ok() == overview
    assert "restart" in await navctl.ok("rollout")


@pytest.mark.usefixtures("objects")
async def test_scaling_does_not_mind_other_changes(navctl: Navctl, monkeypatch: pytest.MonkeyPatch) -> None:
    get_scale = Client.get_scale

    async def while_it_changes(self: Client, kind: type[KubeObject], name: str, namespace: str) -> Scale:
        found = await get_scale(self, kind, name, namespace)
        other = await get_scale(self, kind, name, namespace)
        other.spec.replicas = 7
        await self.update_scale(kind, other)
        return found

    monkeypatch.setattr(Client, "get_scale", while_it_changes)
    assert await navctl.ok("scale", "deploy/web", "--replicas=4") == "deployment.apps/web scaled\n"
    assert "the object has been modified" in await navctl.fails(
        "scale", "deploy/web", "--replicas=5", "--current-replicas=4"
    )
