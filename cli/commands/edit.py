"""`navctl edit`: an object in your editor, and what you changed back to the server."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import click
import yaml

from cli.failure import Failure, describe_failure
from cli.flags import Command
from cli.output import reference
from cli.references import read_named
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.codec import from_json, to_json
from orchestrator.api.kinds import KubeObject
from orchestrator.api.manifest import read_manifests, to_yaml
from orchestrator.api.patch import three_way_patch
from orchestrator.client import Client, PatchType

_HEAD = """\
# Edit the object below. Lines that begin with '#' are ignored, and an empty file ends the edit.
# When what you save is refused, the editor opens again with the reason.
#
"""


@click.command(cls=Command)
@target_options
@click.argument("what", nargs=-1)
def edit(target: Target, what: tuple[str, ...]) -> None:
    """Change objects in $KUBE_EDITOR or $EDITOR: navctl edit deploy/web."""
    references = read_named(what)

    async def work(client: Client, namespace: str) -> None:
        for one in references:
            assert one.name is not None
            place = namespace if one.kind.namespaced else ""
            await _edit(client, await client.get(one.kind.message, one.name, place))

    target.run(work)


async def _edit(client: Client, present: KubeObject) -> None:
    original = to_yaml(present)
    text, head = original, _HEAD
    with tempfile.TemporaryDirectory(prefix="navctl-edit-") as directory:
        file = Path(directory) / "object.yaml"
        while True:
            file.write_text(head + text)
            _open_editor(file)
            saved = _without_comments(file.read_text())
            if not saved.strip() or saved == text:
                print("Edit cancelled, no changes made.")
                return
            text = saved
            try:
                changed = await _send(client, present, original, text)
            except (errors.ApiError, Failure, yaml.YAMLError) as error:
                if isinstance(error, errors.ServiceUnavailable):
                    kept = _keep(file)
                    raise Failure(f"{error.message}; your changes are kept in {kept}") from error
                reason = describe_failure(error) or str(error)
                head = _HEAD + "".join(f"# {line}\n" for line in reason.splitlines()) + "#\n"
                continue
            print(f"{reference(changed)} edited")
            return


async def _send(client: Client, present: KubeObject, original: str, text: str) -> KubeObject:
    documents = read_manifests(text, "the edited object")
    if len(documents) != 1:
        raise Failure("one object is expected")
    wanted = from_json(documents[0].data).obj
    if type(wanted) is not type(present) or wanted.metadata.name != present.metadata.name:
        raise Failure("apiVersion, kind and metadata.name can't be edited: delete the object and create another")
    before = yaml.safe_load(original)
    patch = three_way_patch(type(present), before, to_json(wanted), to_json(present))
    return await client.patch(
        type(present),
        present.metadata.name,
        patch,
        namespace=present.metadata.namespace,
        type=PatchType.STRATEGIC,
    )


def _open_editor(file: Path) -> None:
    editor = os.environ.get("KUBE_EDITOR") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(editor), str(file)], check=False)
    except OSError as error:
        raise Failure(f'can\'t start the editor "{editor}": set $EDITOR ({error.strerror})') from error
    if done.returncode:
        raise Failure(f'the editor "{editor}" ended with exit code {done.returncode}')


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def _keep(file: Path) -> Path:
    kept = Path(tempfile.mkstemp(prefix="navctl-edit-", suffix=".yaml")[1])
    shutil.copy(file, kept)
    return kept
