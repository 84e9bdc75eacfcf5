"""`navctl delete`: what goes, what is said of it, and when it returns."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.api.v1 import ConfigMap, Pod, Service
from orchestrator.client import Client
from tests.integration.cli.commands import Navctl, line_of
from tests.integration.cli.manifests import DEPLOYMENT, SERVICE, SETTINGS, together
from tests.integration.server.objects import config_map, deployment, pod, service


@pytest.fixture
async def objects(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.create(pod(name, labels={"app": "web" if name < "c" else "other"}))
    await client.create(config_map("settings"))
    await client.create(config_map("settings", namespace="kube-system"))
    await client.create(service("web"))


pytestmark = pytest.mark.usefixtures("objects")


async def names(client: Client) -> list[str]:
    return [each.metadata.name for each in (await client.list(Pod)).items]


async def test_by_name(navctl: Navctl, client: Client) -> None:
    assert await navctl.ok("delete", "pod", "a", "c") == (
        'pod "a" deleted from default namespace\npod "c" deleted from default namespace\n'
    )
    assert await names(client) == ["b"]
    assert await navctl.ok("delete", "pod/b", "svc/web") == (
        'pod "b" deleted from default namespace\nservice "web" deleted from default namespace\n'
    )


async def test_kinds_with_a_group_and_kinds_without_a_namespace(navctl: Navctl, client: Client) -> None:
    await client.create(deployment("web"))
    assert await navctl.ok("delete", "deploy", "web") == 'deployment.apps "web" deleted from default namespace\n'
    await navctl.ok("apply", "-f", "-", stdin="{apiVersion: v1, kind: Namespace, metadata: {name: team}}")
    assert await navctl.ok("delete", "ns", "team", "--wait=false") == 'namespace "team" deleted\n'


async def test_by_selector_and_all(navctl: Navctl, client: Client) -> None:
    assert await navctl.ok("delete", "pods", "-l", "app=web", "-o", "name") == "pod/a\npod/b\n"
    assert await navctl.ok("delete", "pod", "--all") == 'pod "c" deleted from default namespace\n'
    assert await navctl.ok("delete", "pod", "--all") == "No resources found\n"
    out = await navctl.ok("delete", "cm", "--all", "-A")
    assert out.splitlines() == [
        f'configmap "settings" deleted from {place} namespace' for place in ("default", "kube-system")
    ]


async def test_by_manifest(navctl: Navctl, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(together(DEPLOYMENT, SERVICE, SETTINGS))
    result = await navctl("delete", "-f", str(file))
    assert result.code == 1
    assert result.lines == [
        'service "web" deleted from default namespace', 'configmap "settings" deleted from default namespace',
    ]  # fmt: skip
    assert result.err == 'Error from server (NotFound): deployments.apps "web" not found\n'
    assert await navctl.ok("delete", "-f", str(file), "--ignore-not-found") == "No resources found\n"


async def test_what_is_not_there(navctl: Navctl) -> None:
    result = await navctl("delete", "pod", "nope", "a")
    assert (result.code, result.err) == (1, 'Error from server (NotFound): pods "nope" not found\n')
    assert result.out == 'pod "a" deleted from default namespace\n'
    assert await navctl.ok("delete", "pod", "nope", "b", "--ignore-not-found=true") == (
        'pod "b" deleted from default namespace\n'
    )


async def test_what_may_not_be_deleted_keeps_nothing_else_from_it(navctl: Navctl) -> None:
    result = await navctl("delete", "ns", "default", "kube-system")
    assert (result.code, result.out) == (1, "")
    assert [line.partition(": ")[0] for line in result.err.splitlines()] == ["Error from server (Forbidden)"] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "error: say what to delete"),
        (("pods",), "error: resource(s) were provided, but no name was specified"),
        (("pod", "a", "-l", "app=web"), "error: name cannot be provided with a selector"),
        (("pod", "a", "--all"), "error: name cannot be provided with a selector"),
        (("pod", "a", "-f", "x.yaml"), "error: say what to delete"),
        (("pod", "a", "--force", "--grace-period=5"), "error: --force and --grace-period greater than 0"),
        (("pod", "a", "--timeout=soon"), "error: Invalid value for '--timeout': \"soon\" is not a duration"),
        (("podz", "a"), 'error: the server doesn\'t have a resource type "podz"'),
    ],
)
async def test_arguments_that_make_no_sense(navctl: Navctl, client: Client, words: tuple[str, ...], said: str) -> None:
    assert (await navctl.fails("delete", *words)).startswith(said)
    assert await names(client) == ["a", "b", "c"]


async def test_dry_runs(navctl: Navctl, client: Client) -> None:
    for how, said in (("client", "(dry run)"), ("server", "(server dry run)")):
        out = await navctl.ok("delete", "pod", "a", f"--dry-run={how}")
        assert out == f'pod "a" deleted from default namespace {said}\n'
        assert "not found" in await navctl.fails("delete", "pod", "nope", f"--dry-run={how}")
    assert await names(client) == ["a", "b", "c"]


async def test_it_returns_when_the_object_is_gone(navctl: Navctl, client: Client) -> None:
    await client.bind(await client.get(Pod, "a", "default"), "n1")
    async with navctl.process("delete", "pod", "a", "--grace-period=0") as process:
        assert await line_of(process.stdout) == 'pod "a" deleted from default namespace'
        ending = await client.get(Pod, "a", "default")
        assert ending.metadata.deletion_grace_period_seconds == 1  # 0 without --force is 1
        assert process.returncode is None
        await client.delete(Pod, "a", namespace="default", grace_period_seconds=0)
        assert await process.wait() == 0


async def test_a_new_object_of_the_same_name_is_not_waited_for(navctl: Navctl, client: Client) -> None:
    await client.bind(await client.get(Pod, "a", "default"), "n1")
    async with navctl.process("delete", "pod/a") as process:
        await line_of(process.stdout)
        await client.delete(Pod, "a", namespace="default", grace_period_seconds=0)
        await client.create(pod("a"))
        assert await process.wait() == 0
    assert "a" in await names(client)


async def test_force(navctl: Navctl, client: Client) -> None:
    await client.bind(await client.get(Pod, "a", "default"), "n1")
    result = await navctl("delete", "pod", "a", "--force")
    assert (result.code, result.out) == (0, 'pod "a" force deleted from default namespace\n')
    assert result.err.startswith("Warning: Immediate deletion does not wait")
    assert await names(client) == ["b", "c"]


async def test_finalizers_hold_an_object_and_the_time_runs_out(navctl: Navctl, client: Client) -> None:
    await client.patch(ConfigMap, "settings", {"metadata": {"finalizers": ["x.test/a"]}}, namespace="default")
    result = await navctl("delete", "cm", "settings", "--timeout=200ms")
    assert (result.code, result.out) == (1, 'configmap "settings" deleted from default namespace\n')
    assert result.err == (
        "error: timed out waiting for the condition on configmaps/settings: it is held by its finalizers x.test/a\n"
    )
    deleting = asyncio.create_task(navctl("delete", "cm", "settings"))
    await client.patch(ConfigMap, "settings", {"metadata": {"finalizers": None}}, namespace="default")
    assert (await deleting).code in (0, 1)  # 1: it was gone before the command asked
    assert (await client.list(ConfigMap, namespace="default")).items == []


async def test_not_waiting(navctl: Navctl, client: Client) -> None:
    await client.patch(Service, "web", {"metadata": {"finalizers": ["x.test/a"]}}, namespace="default")
    assert await navctl.ok("delete", "svc", "web", "--wait=false") == 'service "web" deleted from default namespace\n'
    assert (await client.get(Service, "web", "default")).metadata.HasField("deletion_timestamp")


async def test_how_owned_objects_go(navctl: Navctl, client: Client) -> None:
    await client.create(deployment("web"))
    await navctl.ok("delete", "deploy", "web", "--cascade=orphan", "--wait=false")
    shown = await navctl.ok("get", "deploy", "web", "-o", "jsonpath={.metadata.finalizers}")
    assert shown == '["orphan"]'
