"""`navctl delete`: by name, by selector or by manifest; waits until the objects are gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from cli.attempts import Attempts
from cli.durations import DURATION
from cli.failure import Failure
from cli.flags import Command
from cli.manifests import decode, read_documents
from cli.output import DRY_RUN, reference_to
from cli.references import Reference, read_references
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.kinds import Kind, kind_of
from orchestrator.api.manifest import Document
from orchestrator.client import ChangeType, Client


@dataclass(frozen=True, slots=True)
class _Doomed:
    kind: Kind
    namespace: str
    name: str


@click.command(cls=Command)
@target_options
@click.argument("what", nargs=-1)
@click.option("-f", "--filename", "files", multiple=True, help="Delete the objects of these manifests.")
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("-l", "--selector", default="", help="Delete what a label selector selects.")
@click.option("--all", "everything", is_flag=True, help="Delete all of the type in the namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="With -l or --all: in all namespaces.")
@click.option(
    "--grace-period", type=click.IntRange(min=-1), default=-1, help="Seconds a pod gets to end (-1: its own)."
)
@click.option("--now", is_flag=True, help="The same as --grace-period=1.")
@click.option("--force", is_flag=True, help="With --grace-period=0: forget the object at once.")
@click.option(
    "--cascade",
    type=click.Choice(["background", "foreground", "orphan"]),
    default="background",
    help="What becomes of the objects it owns.",
)
@click.option("--ignore-not-found", is_flag=True, help="Exit with 0 when there is nothing to delete.")
@click.option("--wait/--no-wait", default=True, help="Wait until the objects are gone (the default).")
@click.option("--timeout", type=DURATION, default=0.0, help="How long to wait (0s: as long as it takes).")
@click.option("--dry-run", type=click.Choice(list(DRY_RUN)), default="none", help="Only say what would be deleted.")
@click.option("-o", "--output", type=click.Choice(["name"]), help="Print names only.")
def delete(
    target: Target,
    what: tuple[str, ...],
    files: tuple[str, ...],
    recursive: bool,
    selector: str,
    everything: bool,
    all_namespaces: bool,
    grace_period: int,
    now: bool,
    force: bool,
    cascade: str,
    ignore_not_found: bool,
    wait: bool,
    timeout: float,
    dry_run: str,
    output: str | None,
) -> int:
    """Delete objects: navctl delete pod web, navctl delete -f web.yaml."""
    grace = 1 if now else 0 if force and grace_period < 0 else grace_period
    if force and grace != 0:
        raise Failure("--force and --grace-period greater than 0 cannot be specified together")
    if grace == 0 and not force:
        grace = 1  # as kubectl does: 0 would forget a pod that may still run
    if bool(what) == bool(files):
        raise Failure("say what to delete: TYPE NAME, TYPE -l SELECTOR, TYPE --all, or -f FILE")
    documents = read_documents(files, recursive=recursive) if files else ()
    references = read_references(what) if what else ()
    for one in references:
        if one.name is not None and (selector or everything or all_namespaces):
            raise Failure("name cannot be provided with a selector, --all or --all-namespaces")
        if one.name is None and not (selector or everything):
            raise Failure("resource(s) were provided, but no name was specified: give a name, -l or --all")
    if force:
        click.echo(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated.",
            err=True,
        )

    async def work(client: Client, namespace: str) -> int:
        attempts = Attempts()
        gone: dict[_Doomed, str] = {}
        place = "" if all_namespaces else namespace
        doomed = _written(documents, namespace, forced=bool(target.namespace)) or await _meant(
            client, references, place, selector
        )
        # What a selector found may go by itself before its turn comes.
        silently = (errors.NotFound,) if ignore_not_found or selector or everything else ()
        for one in doomed:
            with attempts.one(silently=silently):
                if dry_run == "client":
                    left = await client.get(one.kind.message, one.name, one.namespace)
                else:
                    left = await client.delete(
                        one.kind.message,
                        one.name,
                        namespace=one.namespace,
                        grace_period_seconds=None if grace < 0 else grace,
                        propagation_policy=cascade.capitalize(),
                        dry_run=dry_run == "server",
                    )
                gone[one] = left.metadata.uid
                _report(one, force, output, dry_run)
        if not gone and not attempts.code:
            print("No resources found")
        if wait and dry_run == "none":
            await _wait(client, gone, timeout)
        return attempts.code

    return target.run(work)


def _written(documents: Sequence[Document], namespace: str, *, forced: bool) -> list[_Doomed]:
    """The objects of manifests. Raises Failure for one that has no name."""
    doomed = []
    for document in documents:
        manifest = decode(document, namespace, forced=forced, unknown="ignore")[0]
        metadata = manifest.object.metadata
        if not metadata.name:
            raise Failure(f"{manifest.place}: metadata.name: Required value")
        doomed.append(_Doomed(kind_of(manifest.object), metadata.namespace, metadata.name))
    return doomed


async def _meant(client: Client, references: Sequence[Reference], namespace: str, selector: str) -> list[_Doomed]:
    """The objects of arguments: those that are named, or all that the selector selects."""
    doomed = []
    for one in references:
        place = namespace if one.kind.namespaced else ""
        if one.name is not None:
            doomed.append(_Doomed(one.kind, place, one.name))
            continue
        listed = await client.list(one.kind.message, namespace=place, label_selector=selector)
        doomed += [_Doomed(one.kind, obj.metadata.namespace, obj.metadata.name) for obj in listed.items]
    return doomed


def _report(one: _Doomed, force: bool, output: str | None, dry_run: str) -> None:
    if output == "name":
        print(reference_to(one.kind, one.name))
        return
    kind = one.kind.singular + (f".{one.kind.group}" if one.kind.group else "")
    place = f" from {one.namespace} namespace" if one.namespace else ""
    print(f'{kind} "{one.name}" {"force " if force else ""}deleted{place}{DRY_RUN[dry_run]}', flush=True)


async def _wait(client: Client, gone: Mapping[_Doomed, str], timeout: float) -> None:
    """Waits until all are gone. Raises Failure with the first that is not when the time is up."""
    waiting = {one: asyncio.create_task(_until_gone(client, one, uid)) for one, uid in gone.items()}
    try:
        async with asyncio.timeout(timeout or None):
            for task in waiting.values():
                await task
    except TimeoutError:
        left = next(one for one, task in waiting.items() if not task.done() or task.cancelled())
        held = (await client.get(left.kind.message, left.name, left.namespace)).metadata.finalizers
        why = f": it is held by its finalizers {', '.join(held)}" if held else ""
        raise Failure(f"timed out waiting for the condition on {left.kind.plural}/{left.name}{why}") from None
    finally:
        for task in waiting.values():
            task.cancel()
        await asyncio.gather(*waiting.values(), return_exceptions=True)


async def _until_gone(client: Client, one: _Doomed, uid: str) -> None:
    """Waits until the object is gone, or another has its name."""
    while True:
        listed = await client.list(
            one.kind.message, namespace=one.namespace, field_selector=f"metadata.name={one.name}"
        )
        if not any(obj.metadata.uid == uid for obj in listed.items):
            return
        changes = client.watch(
            one.kind.message,
            namespace=one.namespace,
            field_selector=f"metadata.name={one.name}",
            resource_version=listed.resource_version,
        )
        with contextlib.suppress(errors.Expired):
            async with contextlib.aclosing(changes):
                async for change in changes:
                    if change.type is ChangeType.DELETED and change.object.metadata.uid == uid:
                        return
