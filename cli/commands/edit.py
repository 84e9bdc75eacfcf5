"""`navctl edit`: an object in your editor, and what you changed back to the server."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from cli.attempts import Attempts
from cli.failure import Failure, describe_failure
from cli.flags import Command
from cli.output import reference
from cli.references import read_named
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.codec import from_json, to_json
from orchestrator.api.encoding import JsonObject
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
def edit(target: Target, what: tuple[str, ...]) -> int:
    """Change objects in $KUBE_EDITOR or $EDITOR: navctl edit deploy/web."""
    references = read_named(what)

    async def work(client: Client, namespace: str) -> int:
        attempts = Attempts()
        for one in references:
            assert one.name is not None
            with attempts.one():
                place = namespace if one.kind.namespaced else ""
                await _edit(client, await client.get(one.kind.message, one.name, place))
        return attempts.code

    return target.run(work)


async def _edit(client: Client, present: KubeObject) -> None:
    text, head = to_yaml(present), _HEAD
    refused = False
    with tempfile.TemporaryDirectory(prefix="navctl-edit-") as directory:
        file = Path(directory) / "object.yaml"
        while True:
            file.write_text(head + text)
            _open_editor(file)
            saved = _without_comments(file.read_text(errors="replace"))
            if not saved.strip():
                print("Edit cancelled, saved file was empty.", flush=True)
                return
            if saved == text and refused:
                raise Failure(f"Edit cancelled, no valid changes were saved; a copy of them is in {_keep(file)}")
            text = saved
            try:
                patch = _changes(present, text)
                if not patch:
                    print("Edit cancelled, no changes made.", flush=True)
                    return
                changed = await _send(client, present, patch)
            except errors.ServiceUnavailable as error:
                raise Failure(f"{error.message}; your changes are kept in {_keep(file)}") from error
            except (errors.ApiError, Failure) as error:
                refused = True
                reason = describe_failure(error) or str(error)
                head = _HEAD + "".join(f"# {line}\n" for line in reason.splitlines()) + "#\n"
                continue
            print(f"{reference(changed)} edited", flush=True)
            return


def _changes(present: KubeObject, text: str) -> JsonObject:
    """The patch that makes of the object what the text says. Raises Failure and ApiError for texts that say nothing."""
    documents = read_manifests(text, "the edited object")
    if len(documents) != 1:
        raise Failure("one object is expected")
    wanted = from_json(documents[0].data).obj
    names = [(each.metadata.namespace, each.metadata.name) for each in (wanted, present)]
    if type(wanted) is not type(present) or names[0] != names[1]:
        raise Failure("apiVersion, kind, name and namespace can't be edited: delete the object and create another")
    before = to_json(present)
    return three_way_patch(type(present), before, to_json(wanted), before)


async def _send(client: Client, present: KubeObject, patch: JsonObject) -> KubeObject:
    metadata = present.metadata
    return await client.patch(
        type(present), metadata.name, patch, namespace=metadata.namespace, type=PatchType.STRATEGIC
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
