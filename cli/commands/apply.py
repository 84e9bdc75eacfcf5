"""`navctl apply`: make the cluster's objects what the manifests say, leaving alone what they never said.

Each object carries the manifest it was last made from in an annotation, as with kubectl, so both tools can take turns.
The patch is computed from three sides: what was applied last, what is wanted now, and what is there.
"""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

import click

from cli.failure import Failure, describe_failure
from cli.flags import Command
from cli.manifests import Manifest, Unknown, decode, read_documents
from cli.output import Format, as_document, read_format, reference, show_document
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, kind_of
from orchestrator.client import Client, PatchType

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@click.command(cls=Command)
@target_options
@click.option(
    "-f", "--filename", "files", multiple=True, required=True, help="A file, a folder or - for standard input."
)
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option(
    "--dry-run", type=click.Choice(["none", "client", "server"]), default="none", help="Only say what would be."
)
@click.option(
    "--validate", type=click.Choice(["strict", "warn", "ignore"]), default="strict", help="About unknown fields."
)
@click.option("-o", "--output", help="name, yaml, json or jsonpath=TEMPLATE instead of one line a result.")
def apply(
    target: Target, files: tuple[str, ...], recursive: bool, dry_run: str, validate: Unknown, output: str | None
) -> int:
    """Create or change the objects of manifests: navctl apply -f web.yaml."""
    shape = read_format(output)
    documents = read_documents(files, recursive=recursive)

    async def work(client: Client, namespace: str) -> int:
        failed = 0
        for document in documents:
            try:
                manifest, warnings = decode(document, namespace, forced=bool(target.namespace), unknown=validate)
                for warning in warnings:
                    click.echo(f"Warning: {warning}", err=True)
                obj, outcome = await _apply(client, manifest, dry_run)
                _report(obj, outcome, dry_run, shape)
            except (errors.ApiError, Failure) as error:
                if isinstance(error, errors.ServiceUnavailable):
                    raise
                failed += 1
                click.echo(describe_failure(error), err=True)
        return 1 if failed else 0

    return target.run(work)


async def _apply(client: Client, manifest: Manifest, dry_run: str) -> tuple[KubeObject, str]:
    wanted, obj = _annotated(manifest.document), manifest.object
    metadata = obj.metadata
    if not metadata.name:
        raise Failure(f"{manifest.place}: metadata.name: Required value: apply needs a name")
    try:
        present = await client.get(type(obj), metadata.name, metadata.namespace)
    except errors.NotFound:
        metadata.annotations[LAST_APPLIED] = wanted["metadata"]["annotations"][LAST_APPLIED]
        if dry_run == "client":
            return obj, "created"
        return await client.create(obj, dry_run=dry_run == "server"), "created"
    patch = _patch(present, wanted)
    if not patch:
        return present, "unchanged"
    if dry_run == "client":
        return present, "configured"
    changed = await client.patch(
        type(obj),
        metadata.name,
        patch,
        namespace=metadata.namespace,
        type=PatchType.STRATEGIC,
        dry_run=dry_run == "server",
    )
    same = changed.metadata.resource_version == present.metadata.resource_version
    return changed, "unchanged" if same and dry_run == "none" else "configured"


def _annotated(document: dict[str, Any]) -> dict[str, Any]:
    """The document with itself, as it was without this, in the annotation."""
    document = copy.deepcopy(document)
    metadata = document.setdefault("metadata", {})
    annotations = metadata["annotations"] = metadata.get("annotations") or {}
    annotations.pop(LAST_APPLIED, None)
    annotations[LAST_APPLIED] = json.dumps(document, separators=(",", ":"), sort_keys=True, default=str) + "\n"
    return document


def _patch(present: KubeObject, wanted: dict[str, Any]) -> dict[str, Any]:
    from orchestrator.api.codec import to_json
    from orchestrator.api.patch import three_way_patch

    before = present.metadata.annotations.get(LAST_APPLIED)
    if before is None:
        click.echo(
            f"Warning: resource {reference(present)} is missing the {LAST_APPLIED} annotation which is required by "
            "apply; it is added now, and fields removed from the manifest before this are not removed.",
            err=True,
        )
    original = json.loads(before) if before else {}
    return three_way_patch(kind_of(present).message, original, wanted, to_json(present))


def _report(obj: KubeObject, outcome: str, dry_run: str, shape: Format) -> None:
    match shape.name:
        case "" | "wide":
            suffix = "" if dry_run == "none" else f" ({'' if dry_run == 'client' else 'server '}dry run)"
            print(f"{reference(obj)} {outcome}{suffix}", flush=True)
        case "name":
            print(reference(obj))
        case _:
            sys.stdout.write(show_document(as_document([obj], single=True), shape))
