"""`navctl edit`, with scripts for an editor."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from orchestrator.api.v1 import ConfigMap, Deployment
from orchestrator.client import Client
from tests.integration.cli.commands import Navctl
from tests.integration.running import RunningServer
from tests.integration.server.objects import config_map, deployment


class Editor:
    """Programs that stand in for a person: each runs one step for each time it is started, the last step again and
    again. A step is Python that sees the file as `text` and may change it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        self._monkeypatch = monkeypatch
        self.seen = directory / "seen"

    def will(self, *steps: str) -> None:
        program = self._directory / "editor.py"
        program.write_text(
            f"""
import pathlib, sys
file, seen = pathlib.Path(sys.argv[1]), pathlib.Path({str(self.seen)!r})
text = file.read_text()
calls = len(list(seen.parent.glob("seen*")))
seen.with_suffix(f".{{calls}}").write_text(text)
steps = {list(steps)!r}
scope = dict(text=text, sys=sys)
exec(steps[min(calls, len(steps) - 1)], scope)
file.write_text(scope["text"])
"""
        )
        self._monkeypatch.setenv("KUBE_EDITOR", shlex.join([sys.executable, str(program)]))

    def text(self, call: int) -> str:
        """What the person saw."""
        return self.seen.with_suffix(f".{call}").read_text()


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    directory = tmp_path / "editor"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", None)
    return Editor(directory, monkeypatch)


@pytest.fixture(autouse=True)
async def objects(client: Client) -> None:
    await client.create(deployment("web"))
    await client.create(config_map("settings", script="#!/bin/sh\n# a comment\necho hello\n"))


async def test_a_change(navctl: Navctl, client: Client, editor: Editor) -> None:
    editor.will("text = text.replace('replicas: 3', 'replicas: 5')")
    assert await navctl.ok("edit", "deploy/web") == "deployment.apps/web edited\n"
    assert (await client.get(Deployment, "web", "default")).spec.replicas == 5
    assert editor.text(0).startswith("# ")
    assert "kind: Deployment" in editor.text(0)


async def test_removals(navctl: Navctl, client: Client, editor: Editor) -> None:
    await client.patch(ConfigMap, "settings", {"data": {"other": "1"}}, namespace="default")
    editor.will("""text = text.replace('  other: "1"\\n', "")""")
    assert await navctl.ok("edit", "cm", "settings") == "configmap/settings edited\n"
    assert dict((await client.get(ConfigMap, "settings", "default")).data) == {
        "script": "#!/bin/sh\n# a comment\necho hello\n"
    }


async def test_nothing_changed(navctl: Navctl, editor: Editor) -> None:
    for step in ("", "text += '# a thought\\n'"):
        editor.will(step)
        assert await navctl.ok("edit", "deploy/web") == "Edit cancelled, no changes made.\n"
    editor.will("text = ''")
    assert await navctl.ok("edit", "deploy/web") == "Edit cancelled, saved file was empty.\n"


async def test_what_is_refused_comes_back_with_the_reason(navctl: Navctl, client: Client, editor: Editor) -> None:
    editor.will(
        "text = text.replace('replicas: 3', 'replicas: -3')",
        "text = text.replace('replicas: -3', 'replcas: 3')",
        "text = text.replace('replcas: 3', 'replicas: [')",
        "text = text.replace('replicas: [', 'replicas: 4')",
    )
    assert await navctl.ok("edit", "deploy/web") == "deployment.apps/web edited\n"
    assert '# The Deployment "web" is invalid: spec.replicas: Invalid value: -3' in editor.text(1)
    assert '# Error from server (BadRequest): strict decoding error: unknown field "spec.replcas"' in editor.text(2)
    assert "not valid YAML" in editor.text(3)
    assert (await client.get(Deployment, "web", "default")).spec.replicas == 4


async def test_giving_up_keeps_the_changes(navctl: Navctl, client: Client, editor: Editor) -> None:
    editor.will("text = text.replace('replicas: 3', 'replicas: -3')", "")
    error = await navctl.fails("edit", "deploy/web")
    said, _, place = error.rpartition(" ")
    assert said == "error: Edit cancelled, no valid changes were saved; a copy of them is in"
    assert "replicas: -3" in Path(place).read_text()
    assert (await client.get(Deployment, "web", "default")).spec.replicas == 3


async def test_a_name_cannot_be_edited(navctl: Navctl, editor: Editor) -> None:
    editor.will("text = text.replace('name: web\\n  namespace', 'name: other\\n  namespace')", "")
    await navctl.fails("edit", "deploy/web")
    assert "can't be edited" in editor.text(1)


async def test_changes_of_others_meanwhile_stay(
    navctl: Navctl, api: RunningServer, client: Client, editor: Editor
) -> None:
    program = (
        "import subprocess; subprocess.run([sys.executable, '-m', 'cli.navctl', 'scale', 'deploy/web', '--replicas=7'],"
        "check=True, stdout=subprocess.DEVNULL); text = text.replace('registry.test/web:v1', 'registry.test/web:v2')"
    )
    editor.will(program)
    assert await navctl.ok("edit", "deploy/web") == "deployment.apps/web edited\n"
    changed = await client.get(Deployment, "web", "default")
    assert (changed.spec.replicas, changed.spec.template.spec.containers[0].image) == (7, "registry.test/web:v2")


async def test_editors_that_fail(navctl: Navctl, editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    editor.will("sys.exit(3)")
    assert (await navctl.fails("edit", "deploy/web")).endswith("ended with exit code 3")
    monkeypatch.setenv("KUBE_EDITOR", "/no/such/editor --wait")
    assert (await navctl.fails("edit", "deploy/web")) == (
        'error: can\'t start the editor "/no/such/editor --wait": set $EDITOR (No such file or directory)'
    )


async def test_what_is_not_there(navctl: Navctl, editor: Editor) -> None:
    assert (
        await navctl.fails("edit", "deploy/nope") == 'Error from server (NotFound): deployments.apps "nope" not found'
    )
    assert (await navctl.fails("edit", "deploy")).startswith("error: resource name may not be empty")
