"""`navctl delete`: by name, by selector or by manifest; waits until the objects are gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import click

from cli.durations import DURATION
from cli.failure import Failure
from cli.flags import Command
from cli.manifests import decode, read_documents
from cli.output import reference_to
from cli.references import read_references
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.kinds import Kind, kind_of
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
@click.option("-o", "--output", type=click.Choice(["name"]), help="Print names only.")
def delete(
    target: Target,
    what: tuple[str, ...],
    files: tuple[str, ...],
    recursive: bool,
    selector: str,
    everything: bool,
    grace_period: int,
    now: bool,
    force: bool,
    cascade: str,
    ignore_not_found: bool,
    wait: bool,
    timeout: float,
    output: str | None,
) -> int:
    """Delete objects: navctl delete pod web, navctl delete -f web.yaml."""
    grace = 1 if now else 0 if force and grace_period < 0 else grace_period
    if force and grace != 0:
        raise Failure("--force and --grace-period greater than 0 cannot be specified together")
    if bool(what) == bool(files):
        raise Failure("say what to delete: TYPE NAME, TYPE -l SELECTOR, TYPE --all, or -f FILE")
    if force:
        click.echo(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated.",
            err=True,
        )

    async def work(client: Client, namespace: str) -> int:
        missing = False
        gone: list[tuple[_Doomed, str]] = []
        for one in await _doomed(client, target, namespace, what, files, recursive, selector, everything):
            try:
                left = await client.delete(
                    one.kind.message,
                    one.name,
                    namespace=one.namespace,
                    grace_period_seconds=None if grace < 0 else grace,
                    propagation_policy=cascade.capitalize(),
                )
            except errors.NotFound as error:
                if not ignore_not_found:
                    missing = True
                    click.echo(f"Error from server ({error.reason}): {error.message}", err=True)
                continue
            gone.append((one, left.metadata.uid))
            _report(one, force, output)
        if not gone and not missing and not ignore_not_found and not files:
            click.echo("No resources found", err=True)
        if wait and gone:
            try:
                async with asyncio.timeout(timeout or None), asyncio.TaskGroup() as tasks:
                    for one, uid in gone:
                        tasks.create_task(_until_gone(client, one, uid))
            except TimeoutError:
                raise Failure(
                    "timed out waiting for the objects to go: what holds them is in metadata.finalizers"
                ) from None
        return 1 if missing else 0

    return target.run(work)


async def _doomed(
    client: Client,
    target: Target,
    namespace: str,
    what: Sequence[str],
    files: Sequence[str],
    recursive: bool,
    selector: str,
    everything: bool,
) -> list[_Doomed]:
    if files:
        doomed = []
        for document in read_documents(files, recursive=recursive):
            obj = decode(document, namespace, forced=bool(target.namespace), unknown="ignore")[0].object
            doomed.append(_Doomed(kind_of(obj), obj.metadata.namespace, obj.metadata.name))
        return doomed
    doomed = []
    for one in read_references(what):
        place = namespace if one.kind.namespaced else ""
        if one.name is not None:
            if selector or everything:
                raise Failure("name cannot be provided when a selector or --all is specified")
            doomed.append(_Doomed(one.kind, place, one.name))
            continue
        if not selector and not everything:
            raise Failure("resource(s) were provided, but no name was specified: give a name, -l or --all")
        listed = await client.list(one.kind.message, namespace=place, label_selector=selector)
        doomed += [_Doomed(one.kind, obj.metadata.namespace, obj.metadata.name) for obj in listed.items]
    return doomed


def _report(one: _Doomed, force: bool, output: str | None) -> None:
    if output == "name":
        print(reference_to(one.kind, one.name))
        return
    kind = one.kind.singular + (f".{one.kind.group}" if one.kind.group else "")
    place = f" from {one.namespace} namespace" if one.namespace else ""
    print(f'{kind} "{one.name}" {"force " if force else ""}deleted{place}', flush=True)


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
