"""`navctl apply`: make the cluster's objects what the manifests say, leaving alone what they never said.

Each object carries the manifest it was last made from in an annotation, as with kubectl, so both tools can take turns.
The patch is computed from three sides: what was applied last, what is wanted now, and what is there.

A file that can't be read ends the command before anything is sent; a document that is wrong or refused is reported,
and the others are applied.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.failure import Failure, describe_failure
from cli.flags import Command
from cli.manifests import Manifest, Unknown, decode, read_documents
from cli.output import DRY_RUN, as_document, read_format, reference, show_document
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.conventions import LAST_APPLIED
from orchestrator.api.kinds import Kind, KubeObject, kind_of
from orchestrator.api.manifest import Document
from orchestrator.client import Client, PatchType

_UNKNOWN_FIELDS: dict[str, Unknown] = {
    "strict": "strict",
    "true": "strict",
    "warn": "warn",
    "ignore": "ignore",
    "false": "ignore",
}


@click.command(cls=Command)
@target_options
@click.option("-f", "--filename", "files", multiple=True, help="A file, a folder or - for standard input.")
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("--dry-run", type=click.Choice(list(DRY_RUN)), default="none", help="Only say what would be.")
@click.option(
    "--validate", type=click.Choice(list(_UNKNOWN_FIELDS)), default="strict", help="What to do about unknown fields."
)
@click.option("-k", "--kustomize", hidden=True)
@click.option("-o", "--output", help="name, yaml, json or jsonpath=TEMPLATE instead of one line a result.")
def apply(
    target: Target,
    files: tuple[str, ...],
    recursive: bool,
    dry_run: str,
    validate: str,
    kustomize: str | None,
    output: str | None,
) -> int:
    """Create or change the objects of manifests: navctl apply -f web.yaml."""
    if kustomize is not None:
        raise Failure(f"navctl builds no kustomizations: kustomize build {kustomize} | navctl apply -f -")
    if not files:
        raise Failure("must specify -f: a file, a folder or - for standard input")
    shape = read_format(output)
    run = _Run(_UNKNOWN_FIELDS[validate], dry_run, quiet=shape.name not in ("", "wide"), namespace=target.namespace)
    documents = read_documents(files, recursive=recursive)

    async def work(client: Client, namespace: str) -> int:
        results = await run.apply(client, namespace, documents)
        if shape.name == "name":
            sys.stdout.write("".join(f"{reference(obj)}\n" for obj in results))
        elif shape.name not in ("", "wide") and results:
            sys.stdout.write(show_document(as_document(results, single=len(documents) == 1), shape))
        return 1 if run.failed else 0

    return target.run(work)


class _Run:
    """One call of the command: its flags, and what it has come across so far."""

    def __init__(self, unknown: Unknown, dry_run: str, *, quiet: bool, namespace: str) -> None:
        self._unknown = unknown
        self._dry_run = dry_run
        self._quiet = quiet
        self._namespace = namespace
        self._seen: dict[tuple[Kind, str, str], Manifest] = {}
        self.failed = False

    async def apply(self, client: Client, namespace: str, documents: Sequence[Document]) -> list[KubeObject]:
        """Applies the documents in their order, telling of each; returns the objects there are now."""
        results: list[KubeObject] = []
        for document in documents:
            doing = f'error when reading "{document.source}"'
            try:
                manifest, warnings = decode(document, namespace, forced=bool(self._namespace), unknown=self._unknown)
                for warning in warnings:
                    click.echo(f"Warning: {warning}", err=True)
                self._once(manifest)
                doing = f'error when retrieving current configuration of "{manifest.place}"'
                present = await _find(client, manifest)
                doing = f'error when {"patching" if present else "creating"} "{manifest.place}"'
                obj, outcome = await self._apply(client, manifest, present)
            except (errors.ApiError, Failure) as error:
                if isinstance(error, errors.ServiceUnavailable):
                    raise
                self.failed = True
                sys.stdout.flush()
                click.echo(describe_failure(error, doing), err=True)
                continue
            results.append(obj)
            if not self._quiet:
                print(f"{reference(obj)} {outcome}{DRY_RUN[self._dry_run]}", flush=True)
        return results

    def _once(self, manifest: Manifest) -> None:
        """Raises Failure when another manifest has said something else of the same object."""
        metadata = manifest.object.metadata
        if not metadata.name:
            why = "apply finds objects by their name, generateName gives none" if metadata.generate_name else ""
            raise Failure(f"{manifest.place}: metadata.name: Required value{': ' if why else ''}{why}")
        key = (kind_of(manifest.object), metadata.namespace, metadata.name)
        other = self._seen.setdefault(key, manifest)
        if other.document != manifest.document:
            raise Failure(
                f"{manifest.place}: {reference(manifest.object)} is in {other.place} already, with other content"
            )

    async def _apply(self, client: Client, manifest: Manifest, present: KubeObject | None) -> tuple[KubeObject, str]:
        wanted, obj = _annotated(manifest.document), manifest.object
        metadata = obj.metadata
        if present is None:
            metadata.annotations[LAST_APPLIED] = wanted["metadata"]["annotations"][LAST_APPLIED]
            if self._dry_run == "client":
                return obj, "created"
            return await client.create(obj, dry_run=self._dry_run == "server"), "created"
        patch = _patch(present, wanted)
        if not patch:
            return present, "unchanged"
        if self._dry_run == "client":
            return present, "configured"
        changed = await client.patch(
            type(obj),
            metadata.name,
            patch,
            namespace=metadata.namespace,
            type=PatchType.STRATEGIC,
            dry_run=self._dry_run == "server",
        )
        same = changed.metadata.resource_version == present.metadata.resource_version
        return changed, "unchanged" if same and self._dry_run == "none" else "configured"


async def _find(client: Client, manifest: Manifest) -> KubeObject | None:
    metadata = manifest.object.metadata
    try:
        return await client.get(type(manifest.object), metadata.name, metadata.namespace)
    except errors.NotFound:
        return None


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
    try:
        original = json.loads(before) if before else {}
    except ValueError as error:
        raise Failure(f"{reference(present)}: its annotation {LAST_APPLIED} is not JSON: {error}") from None
    return three_way_patch(kind_of(present).message, original, wanted, to_json(present))
