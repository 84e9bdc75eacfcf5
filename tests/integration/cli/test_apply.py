"""`navctl apply`: what it makes of manifests, what it leaves alone, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, Deployment, Service
from orchestrator.client import Client, PatchType
from tests.integration.cli.commands import Navctl
from tests.integration.cli.manifests import DEPLOYMENT, SERVICE, SETTINGS, together
from tests.integration.server.objects import config_map

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def test_created_configured_unchanged(navctl: Navctl, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(together(DEPLOYMENT, SERVICE))
    assert await navctl.ok("apply", "-f", str(file)) == "deployment.apps/web created\nservice/web created\n"
    assert await navctl.ok("apply", "-f", str(file)) == "deployment.apps/web unchanged\nservice/web unchanged\n"
    file.write_text(together(DEPLOYMENT.replace("replicas: 3", "replicas: 5"), SERVICE))
    assert await navctl.ok("apply", "-f", str(file)) == "deployment.apps/web configured\nservice/web unchanged\n"
    assert (await client.get(Deployment, "web", "default")).spec.replicas == 5


async def test_the_manifest_is_kept_as_kubectl_keeps_it(navctl: Navctl, client: Client) -> None:
    await navctl.ok("apply", "-f", "-", stdin=SETTINGS)
    kept = (await client.get(ConfigMap, "settings", "default")).metadata.annotations[LAST_APPLIED]
    assert json.loads(kept) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"annotations": {}, "name": "settings", "namespace": "default"},
        "data": {"colour": "blue", "size": "large"},
    }


async def test_what_a_manifest_no_longer_says_is_removed_and_what_it_never_said_stays(
    navctl: Navctl, client: Client
) -> None:
    await navctl.ok("apply", "-f", "-", stdin=SETTINGS)
    await client.patch(ConfigMap, "settings", {"data": {"foreign": "1"}}, namespace="default")
    await client.patch(ConfigMap, "settings", {"metadata": {"labels": {"foreign": "1"}}}, namespace="default")
    assert await navctl.ok("apply", "-f", "-", stdin=SETTINGS) == "configmap/settings unchanged\n"
    less = SETTINGS.replace("  size: large\n", "")
    assert await navctl.ok("apply", "-f", "-", stdin=less) == "configmap/settings configured\n"
    changed = await client.get(ConfigMap, "settings", "default")
    assert dict(changed.data) == {"colour": "blue", "foreign": "1"}
    assert dict(changed.metadata.labels) == {"foreign": "1"}


async def test_lists_are_merged_by_their_keys(navctl: Navctl, client: Client) -> None:
    await navctl.ok("apply", "-f", "-", stdin=DEPLOYMENT)
    added = [{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "side", "image": "side:1"}}]
    await client.patch(Deployment, "web", added, namespace="default", type=PatchType.JSON)
    manifest = DEPLOYMENT.replace("        - {name: SIZE, value: large}\n", "").replace("web:v1", "web:v2")
    assert await navctl.ok("apply", "-f", "-", stdin=manifest) == "deployment.apps/web configured\n"
    main, side = (await client.get(Deployment, "web", "default")).spec.template.spec.containers
    assert (main.image, [each.name for each in main.env]) == ("registry.test/web:v2", ["COLOUR"])
    assert side.image == "side:1"


async def test_an_object_made_otherwise_is_taken_over_with_a_warning(navctl: Navctl, client: Client) -> None:
    await client.create(config_map("settings", old="1"))
    result = await navctl("apply", "-f", "-", stdin=SETTINGS)
    assert (result.code, result.out) == (0, "configmap/settings configured\n")
    assert result.err.startswith(f"Warning: resource configmap/settings is missing the {LAST_APPLIED} annotation")
    assert dict((await client.get(ConfigMap, "settings", "default")).data) == {
        "old": "1", "colour": "blue", "size": "large",
    }  # fmt: skip
    assert await navctl.ok("apply", "-f", "-", stdin=SETTINGS) == "configmap/settings unchanged\n"


async def test_folders(navctl: Navctl, tmp_path: Path) -> None:
    (tmp_path / "manifests" / "deeper").mkdir(parents=True)
    folder = tmp_path / "manifests"
    (folder / "2.yml").write_text(SERVICE)
    (folder / "1.yaml").write_text(SETTINGS)
    (folder / "README.md").write_text("# not a manifest")
    (folder / "deeper" / "3.json").write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}')
    expected = "configmap/settings created\nservice/web created\n"
    assert await navctl.ok("apply", "-f", str(folder)) == expected
    assert await navctl.ok("apply", "-R", "-f", str(folder)) == (
        expected.replace("created", "unchanged") + "namespace/team created\n"
    )


async def test_lists_and_several_files(navctl: Navctl, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in ("one", "two")
                ],
            }
        )
    )
    (tmp_path / "svc.yaml").write_text("---\n" + SERVICE + "---\n---\n")
    out = await navctl.ok("apply", "-f", str(tmp_path / "list.json"), "-f", str(tmp_path / "svc.yaml"))
    assert out == "configmap/one created\nconfigmap/two created\nservice/web created\n"


async def test_dry_runs_change_nothing(navctl: Navctl, client: Client) -> None:
    assert await navctl.ok("apply", "-f", "-", "--dry-run=client", stdin=SERVICE) == "service/web created (dry run)\n"
    out = await navctl.ok("apply", "-f", "-", "--dry-run=server", stdin=SERVICE)
    assert out == "service/web created (server dry run)\n"
    with pytest.raises(errors.NotFound):
        await client.get(Service, "web", "default")
    await navctl.ok("apply", "-f", "-", stdin=SERVICE)
    before = await client.get(Service, "web", "default")
    changed = SERVICE.replace("port: 80", "port: 81")
    for how, said in (("client", "configured (dry run)"), ("server", "configured (server dry run)")):
        assert await navctl.ok("apply", "-f", "-", f"--dry-run={how}", stdin=changed) == f"service/web {said}\n"
    assert await client.get(Service, "web", "default") == before
    assert "Error" not in await navctl.ok("apply", "-f", "-", "--dry-run=server", stdin=SERVICE)
    wrong = SERVICE.replace("port: 80", "port: 0")
    assert "spec.ports[0].port" in await navctl.fails("apply", "-f", "-", "--dry-run=server", stdin=wrong)


async def test_results_as_documents(navctl: Navctl) -> None:
    assert await navctl.ok("apply", "-f", "-", "-o", "name", stdin=SERVICE) == "service/web\n"
    shown = json.loads(await navctl.ok("apply", "-f", "-", "-o", "json", stdin=SERVICE))
    assert (shown["kind"], shown["metadata"]["name"]) == ("Service", "web")
    shown = json.loads(await navctl.ok("apply", "-f", "-", "-o", "json", stdin=together(SERVICE, SETTINGS)))
    assert (shown["kind"], [each["kind"] for each in shown["items"]]) == ("List", ["Service", "ConfigMap"])


async def test_one_refused_document_does_not_stop_the_others(navctl: Navctl) -> None:
    wrong = SERVICE.replace("port: 80", "port: 70000\n    targetPort: 80")
    result = await navctl("apply", "-f", "-", stdin=together(SETTINGS, wrong, DEPLOYMENT))
    assert (result.code, result.out) == (1, "configmap/settings created\ndeployment.apps/web created\n")
    assert result.err == (
        'The Service "web" is invalid: spec.ports[0].port: '
        "Invalid value: 70000: must be between 1 and 65535, inclusive\n"
    )


async def test_several_faults_of_one_object_stand_below_each_other(navctl: Navctl) -> None:
    wrong = DEPLOYMENT.replace("replicas: 3", "replicas: -1").replace("name: main", "name: Main")
    head, *faults = (await navctl.fails("apply", "-f", "-", stdin=wrong)).splitlines()
    assert head == 'The Deployment "web" is invalid: '
    assert [fault.split(": ")[0] for fault in faults] == ["* spec.replicas", "* spec.template.spec.containers[0].name"]


async def test_the_namespace_of_the_flag_and_of_the_manifest(navctl: Navctl, client: Client) -> None:
    await navctl.ok("apply", "-f", "-", stdin="{apiVersion: v1, kind: Namespace, metadata: {name: team}}")
    assert await navctl.ok("apply", "-n", "team", "-f", "-", stdin=SETTINGS) == "configmap/settings created\n"
    assert (await client.get(ConfigMap, "settings", "team")).metadata.namespace == "team"
    placed = SETTINGS.replace("name: settings", "name: settings\n  namespace: team")
    assert await navctl.ok("apply", "-f", "-", stdin=placed) == "configmap/settings unchanged\n"
    error = await navctl.fails("apply", "-n", "default", "-f", "-", stdin=placed)
    assert 'the namespace from the provided object "team" does not match the namespace "default"' in error
    assert error.endswith("You must pass '--namespace=team' to perform this operation.")
    error = await navctl.fails("apply", "-n", "nowhere", "-f", "-", stdin=SETTINGS)
    assert error == 'Error from server (NotFound): error when creating "<stdin>:1": namespaces "nowhere" not found'


async def test_a_namespace_and_what_belongs_into_it(navctl: Navctl) -> None:
    namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: team}}\n"
    placed = SETTINGS.replace("name: settings", "name: settings\n  namespace: team")
    out = await navctl.ok("apply", "-f", "-", stdin=together(namespace, placed))
    assert out == "namespace/team created\nconfigmap/settings created\n"


async def test_unsupported_fields_are_warned_of(navctl: Navctl) -> None:
    manifest = DEPLOYMENT.replace("      containers:", "      hostUsers: false\n      containers:")
    result = await navctl("apply", "-f", "-", stdin=manifest)
    assert (result.code, result.out) == (0, "deployment.apps/web created\n")
    assert result.err.startswith("Warning: spec.template.spec.hostUsers")


async def test_a_spoilt_annotation(navctl: Navctl, client: Client) -> None:
    spoilt = config_map("settings")
    spoilt.metadata.annotations[LAST_APPLIED] = "not JSON"
    await client.create(spoilt)
    error = await navctl.fails("apply", "-f", "-", stdin=SETTINGS)
    assert error.startswith(f"error: configmap/settings: its annotation {LAST_APPLIED} is not JSON")
