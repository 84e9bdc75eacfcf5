"""Bad input: each mistake has an error of its own, which names the place, and disturbs nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.api.v1 import ConfigMap, Deployment
from orchestrator.client import Client
from tests.integration.cli.commands import Navctl
from tests.integration.cli.manifests import DEPLOYMENT, SERVICE, SETTINGS, together


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        pytest.param(
            "kind: Deployment", "kind: Deploymnt",
            'error: <stdin>:1: no matches for kind "Deploymnt" in version "apps/v1" '
            '(did you mean "Deployment" in version "apps/v1"?)',
            id="unknown kind",
        ),
        pytest.param(
            "apps/v1", "apps/v1beta1",
            'error: <stdin>:1: no matches for kind "Deployment" in version "apps/v1beta1" '
            '(did you mean version "apps/v1"?)',
            id="unknown version",
        ),
        pytest.param(
            "replicas:", "replcas:",
            'error: <stdin>:1: strict decoding error: unknown field "spec.replcas" (did you mean "replicas"?)',
            id="unknown field",
        ),
        pytest.param(
            "        image:", "        imagee:",
            'error: <stdin>:1: strict decoding error: unknown field "spec.template.spec.containers[0].imagee" '
            '(did you mean "image"?)',
            id="unknown field in a list",
        ),
        pytest.param(
            "replicas: 3", "replicas: three",
            'error: <stdin>:1: spec.replicas: must be an integer, not the string "three"',
            id="wrong type",
        ),
        pytest.param(
            "kind: Deployment\n", "",
            "error: <stdin>:1: Object \"kind\" is missing",
            id="no kind",
        ),
        pytest.param(
            "  name: web\n", "",
            "error: <stdin>:1: metadata.name: Required value",
            id="no name",
        ),
        pytest.param(
            "  name: web\n", "  generateName: web-\n",
            "error: <stdin>:1: metadata.name: Required value: apply finds objects by their name, "
            "generateName gives none",
            id="generated name",
        ),
        pytest.param(
            "  name: web\n", "  name: Web_1\n",
            'The Deployment "Web_1" is invalid: metadata.name: Invalid value: "Web_1": a lowercase RFC 1123 subdomain',
            id="invalid name",
        ),
        pytest.param(
            "matchLabels: {app: web}", "matchLabels: {app: other}",
            'The Deployment "web" is invalid: spec.template.metadata.labels: Invalid value: {"app":"web"}: '
            "`selector` does not match template `labels`",
            id="selector does not match",
        ),
        pytest.param(
            "{name: SIZE, value: large}", "{name: SIZE, value: large}\n      - {name: main, image: x}",
            'The Deployment "web" is invalid: spec.template.spec.containers[1].name: Duplicate value: "main"',
            id="duplicate names",
        ),
        pytest.param(
            "  replicas: 3", "  replicas: 3\n  replicas: 4",
            'error: <stdin>:8:3: key "replicas" is given twice in the same mapping',
            id="key twice",
        ),
        pytest.param(
            "  replicas: 3", " replicas: 3",
            "error: <stdin>:8:11: not valid YAML: ",
            id="malformed YAML",
        ),
        pytest.param(
            "  name: web\n", "  name: web\n  resourceVersion: '17'\n",
            'Error from server (BadRequest): error when creating "<stdin>:1": '
            "resourceVersion should not be set on objects to be created",
            id="resourceVersion of a new object",
        ),
    ],
)  # fmt: skip
async def test_a_manifest(navctl: Navctl, client: Client, before: str, after: str, error: str) -> None:
    assert before in DEPLOYMENT
    said = await navctl.fails("apply", "-f", "-", stdin=DEPLOYMENT.replace(before, after, 1))
    assert said.startswith(error)
    assert "\n" not in said
    assert (await client.list(Deployment)).items == []


async def test_a_document_that_is_wrong_keeps_none_of_the_others_back(navctl: Navctl) -> None:
    wrong = DEPLOYMENT.replace("replicas:", "replcas:")
    result = await navctl("apply", "-f", "-", stdin=together(SETTINGS, wrong, SERVICE))
    assert (result.code, result.out) == (1, "configmap/settings created\nservice/web created\n")
    assert (
        result.err
        == 'error: <stdin>:9: strict decoding error: unknown field "spec.replcas" (did you mean "replicas"?)\n'
    )


async def test_a_file_that_cannot_be_read_keeps_all_back(navctl: Navctl, client: Client, tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(SETTINGS)
    (tmp_path / "2.yaml").write_text(SERVICE + "  - broken: [\n")
    error = await navctl.fails("apply", "-f", str(tmp_path))
    assert error.startswith(f"error: {tmp_path}/2.yaml:")
    assert (await client.list(ConfigMap, namespace="default")).items == []


async def test_the_same_object_twice(navctl: Navctl, client: Client) -> None:
    other = SETTINGS.replace("blue", "red")
    result = await navctl("apply", "-f", "-", stdin=together(SETTINGS, other))
    assert (result.code, result.out) == (1, "configmap/settings created\n")
    assert result.err == "error: <stdin>:9: configmap/settings is in <stdin>:1 already, with other content\n"
    assert (await client.get(ConfigMap, "settings", "default")).data["colour"] == "blue"
    twice = await navctl.ok("apply", "-f", "-", stdin=together(SETTINGS, SETTINGS))
    assert twice == "configmap/settings unchanged\n" * 2


async def test_an_old_resource_version(navctl: Navctl, client: Client) -> None:
    await navctl.ok("apply", "-f", "-", stdin=SETTINGS)
    version = (await client.get(ConfigMap, "settings", "default")).metadata.resource_version
    await client.patch(ConfigMap, "settings", {"data": {"a": "1"}}, namespace="default")
    old = SETTINGS.replace("blue", "red").replace("  name:", f"  resourceVersion: '{version}'\n  name:")
    error = await navctl.fails("apply", "-f", "-", stdin=old)
    assert error == (
        'Error from server (Conflict): error when patching "<stdin>:1": Operation cannot be fulfilled on configmaps '
        '"settings": the object has been modified; please apply your changes to the latest version and try again'
    )
    assert (await client.get(ConfigMap, "settings", "default")).data["colour"] == "blue"


async def test_objects_that_are_too_large(navctl: Navctl, client: Client) -> None:
    large = SETTINGS.replace("blue", "x" * 3_000_000)
    result = await navctl("apply", "-f", "-", stdin=together(large, SERVICE))
    assert (result.code, result.out) == (1, "service/web created\n")
    assert result.err.startswith('Error from server (RequestEntityTooLarge): error when creating "<stdin>:1": ')
    assert (await client.list(ConfigMap, namespace="default")).items == []


async def test_unknown_fields_can_be_allowed(navctl: Navctl) -> None:
    wrong = DEPLOYMENT.replace("replicas:", "replcas:")
    result = await navctl("apply", "-f", "-", "--validate=warn", stdin=wrong)
    assert (result.code, result.out) == (0, "deployment.apps/web created\n")
    assert result.err == 'Warning: unknown field "spec.replcas" (did you mean "replicas"?)\n'
    wrong = wrong.replace("name: web", "name: other")
    assert await navctl.ok("apply", "-f", "-", "--validate=false", stdin=wrong) == "deployment.apps/other created\n"


@pytest.mark.parametrize("verb", ["apply", "delete"])
@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "error: no objects passed: there is no manifest in {}"),
        (b"# nothing yet\n---\n", "error: no objects passed: there is no manifest in {}"),
        (b"\x7fELF\x02\x01\x01\xff\xfe", "error: {}: not UTF-8 text (byte 7)"),
        (b"a\x00b", "error: {}:1: "),
        (b"just words", "error: {}:1: "),
        (b"- a\n- b\n", "error: {}:1: "),
        (b"{", "error: {}:2:1: not valid YAML"),
        (b"a: &a [*a]", "error: {}:1:8: "),
    ],
)
async def test_files_that_are_no_manifests(
    navctl: Navctl, tmp_path: Path, verb: str, content: bytes, error: str
) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    said = await navctl.fails(verb, "-f", str(file))
    assert said.startswith(error.format(file))
    assert "\n" not in said


@pytest.mark.parametrize("verb", ["apply", "delete"])
async def test_places_without_manifests(navctl: Navctl, tmp_path: Path, verb: str) -> None:
    assert await navctl.fails(verb, "-f", "/no/such.yaml") == 'error: the path "/no/such.yaml" does not exist'
    (tmp_path / "empty").mkdir()
    error = await navctl.fails(verb, "-f", str(tmp_path / "empty"))
    assert error == f"error: {tmp_path}/empty: no files with .yaml, .yml, .json in this folder"
    assert "no objects passed" in await navctl.fails(verb, "-f", "-", stdin="")


async def test_what_apply_does_not_do(navctl: Navctl) -> None:
    assert "kustomize build ./overlay | navctl apply -f -" in await navctl.fails("apply", "-k", "./overlay")
    assert await navctl.fails("apply") == "error: must specify -f: a file, a folder or - for standard input"
    assert (await navctl.fails("apply", "-f", "-", "--prune")).startswith("error: unknown flag: --prune")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("aply",), 'error: unknown command "aply" (did you mean "apply"?): see navctl --help'),
        (("rollout", "stats"), 'error: unknown command "stats"'),
        (("explain", "pods"), 'error: unknown command "explain"'),
        (("get", "pods", "--kubeconfig"), "error: Option '--kubeconfig' requires an argument."),
        (("scale", "deploy/web", "--replicas=-1"), "error: "),
        (("scale", "deploy/web", "--replicas=many"), "error: "),
    ],
)
async def test_commands_there_are_not(navctl: Navctl, words: tuple[str, ...], error: str) -> None:
    assert (await navctl.fails(*words)).startswith(error)
