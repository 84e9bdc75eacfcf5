"""`navctl rollout`: watch, inspect, stop and take back the updates of a Deployment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import click

from cli.attempts import Attempts
from cli.descriptions.page import Page
from cli.descriptions.pod import describe_template
from cli.durations import DURATION
from cli.failure import Failure
from cli.flags import Group
from cli.output import align, reference
from cli.references import read_references
from cli.rollout_progress import RolloutFailed, progress_of
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.codec import part_to_json
from orchestrator.api.conventions import REVISION, TEMPLATE_HASH
from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import Deployment, PodTemplateSpec, ReplicaSet
from orchestrator.client import ChangeType, Client, PatchType

CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


@click.group(cls=Group)
def rollout() -> None:
    """Updates of a Deployment: status, history, undo, restart, pause, resume."""


_selector = click.option("-l", "--selector", default="", help="Of those that a label selector selects.")


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@_selector
@click.option("-w", "--watch/--no-watch", default=True, help="Wait until it is done (the default).")
@click.option("--timeout", type=DURATION, default=0.0, help="How long to wait (0s: as long as it takes).")
@click.option(
    "--revision", type=click.IntRange(min=0), default=0, help="Fail when another revision is being rolled out."
)
def status(target: Target, what: tuple[str, ...], selector: str, watch: bool, timeout: float, revision: int) -> int:
    """Show how far an update is: navctl rollout status deploy/web."""

    async def act(client: Client, deployment: Deployment) -> None:
        try:
            async with asyncio.timeout(timeout or None):
                await _follow(client, deployment, revision, watch=watch)
        except TimeoutError:
            raise Failure(f"timed out waiting for the condition: see navctl describe {reference(deployment)}") from None

    return _each(target, what, selector, act)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@_selector
@click.option("--revision", type=click.IntRange(min=0), default=0, help="Show the pod template of this revision.")
def history(target: Target, what: tuple[str, ...], selector: str, revision: int) -> int:
    """List the revisions there were: navctl rollout history deploy/web."""

    async def act(client: Client, deployment: Deployment) -> None:
        found = await _revisions(client, deployment)
        if not revision:
            rows = [[str(_revision(each)), each.metadata.annotations.get(CHANGE_CAUSE) or "<none>"] for each in found]
            print(f"{reference(deployment)}\n{align([['REVISION', 'CHANGE-CAUSE'], *rows], gap=2)}", flush=True)
            return
        chosen = next((each for each in found if _revision(each) == revision), None)
        if chosen is None:
            raise Failure(f"unable to find the specified revision {revision} (there are: {_known(found)})")
        page = Page()
        describe_template(page, chosen.spec.template)
        print(f"{reference(deployment)} with revision #{revision}\n{page.text()}", flush=True)

    return _each(target, what, selector, act)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@_selector
@click.option(
    "--to-revision", type=click.IntRange(min=0), default=0, help="The revision to go back to (0: the last one)."
)
def undo(target: Target, what: tuple[str, ...], selector: str, to_revision: int) -> int:
    """Go back to an earlier revision: navctl rollout undo deploy/web."""

    async def act(client: Client, deployment: Deployment) -> None:
        if deployment.spec.paused:
            name = deployment.metadata.name
            raise Failure(
                "you cannot rollback a paused deployment; resume it first with "
                f'"navctl rollout resume deployment/{name}" and try again'
            )
        chosen = _chosen(deployment, await _revisions(client, deployment), to_revision)
        template = _template(chosen)
        if template == deployment.spec.template:
            why = f"(current template already matches revision {_revision(chosen)})"
            print(f"{reference(deployment)} skipped rollback {why}", flush=True)
            return
        patch = [{"op": "replace", "path": "/spec/template", "value": part_to_json(template)}]
        metadata = deployment.metadata
        await client.patch(Deployment, metadata.name, patch, namespace=metadata.namespace, type=PatchType.JSON)
        print(f"{reference(deployment)} rolled back", flush=True)

    return _each(target, what, selector, act)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@_selector
def restart(target: Target, what: tuple[str, ...], selector: str) -> int:
    """Replace all pods by new ones: navctl rollout restart deploy/web."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}

    def refuse(deployment: Deployment) -> str | None:
        return "can't restart paused deployment (run rollout resume first)" if deployment.spec.paused else None

    return _patch_each(target, what, selector, patch, "restarted", refuse)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@_selector
def pause(target: Target, what: tuple[str, ...], selector: str) -> int:
    """Let changes of the template wait: navctl rollout pause deploy/web."""

    def refuse(deployment: Deployment) -> str | None:
        return "is already paused" if deployment.spec.paused else None

    return _patch_each(target, what, selector, {"spec": {"paused": True}}, "paused", refuse)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@_selector
def resume(target: Target, what: tuple[str, ...], selector: str) -> int:
    """Let changes of the template take effect again: navctl rollout resume deploy/web."""

    def refuse(deployment: Deployment) -> str | None:
        return None if deployment.spec.paused else "is not paused"

    return _patch_each(target, what, selector, {"spec": {"paused": None}}, "resumed", refuse)


def _patch_each(
    target: Target,
    what: Sequence[str],
    selector: str,
    patch: Mapping[str, object],
    outcome: str,
    refuse: Callable[[Deployment], str | None],
) -> int:
    async def act(client: Client, deployment: Deployment) -> None:
        metadata = deployment.metadata
        if reason := refuse(deployment):
            raise Failure(f'deployments.apps "{metadata.name}" {reason}')
        await client.patch(Deployment, metadata.name, patch, namespace=metadata.namespace)
        print(f"{reference(deployment)} {outcome}", flush=True)

    return _each(target, what, selector, act)


def _each(
    target: Target, what: Sequence[str], selector: str, act: Callable[[Client, Deployment], Awaitable[None]]
) -> int:
    """Does something with each Deployment that the arguments mean: those of the names, or all, or those selected."""
    references = read_references(what)
    for one in references:
        if one.kind is not kind_of(Deployment):
            raise Failure(f"{one.kind.resource} have no rollouts: name a deployment")
        if one.name is not None and selector:
            raise Failure("name cannot be provided when a selector is specified")

    async def work(client: Client, namespace: str) -> int:
        attempts = Attempts()
        for one in references:
            if one.name is None:
                found = (await client.list(Deployment, namespace=namespace, label_selector=selector)).items
                if not found:
                    click.echo(f"No resources found in {namespace} namespace.", err=True)
                for deployment in found:
                    with attempts.one():
                        await act(client, deployment)
            else:
                with attempts.one():
                    await act(client, await client.get(Deployment, one.name, namespace))
        return attempts.code

    return target.run(work)


async def _follow(client: Client, deployment: Deployment, revision: int, *, watch: bool) -> None:
    """Tells how far it is, each time that changes, until it is done. Raises Failure when it will not be."""
    name, namespace = deployment.metadata.name, deployment.metadata.namespace
    said = ""

    def tell(deployment: Deployment) -> bool:
        nonlocal said
        try:
            progress = progress_of(deployment, revision)
        except RolloutFailed as error:
            raise Failure(str(error)) from error
        if progress.message != said:
            said = progress.message
            print(said, flush=True)
        return progress.done

    while True:
        listed = await client.list(Deployment, namespace=namespace, field_selector=f"metadata.name={name}")
        if not listed.items:
            raise errors.NotFound.of("deployments.apps", name)
        if tell(listed.items[0]) or not watch:
            return
        changes = client.watch(
            Deployment,
            namespace=namespace,
            field_selector=f"metadata.name={name}",
            resource_version=listed.resource_version,
            bookmarks=False,
        )
        with contextlib.suppress(errors.Expired):
            async with contextlib.aclosing(changes):
                async for change in changes:
                    if change.type is ChangeType.DELETED:
                        raise Failure(f'object has been deleted: deployment "{name}"')
                    if tell(change.object):
                        return


async def _revisions(client: Client, deployment: Deployment) -> list[ReplicaSet]:
    """The ReplicaSets a Deployment owns, oldest revision first."""
    listed = await client.list(ReplicaSet, namespace=deployment.metadata.namespace)
    owned = [
        each
        for each in listed.items
        if any(owner.uid == deployment.metadata.uid and owner.controller for owner in each.metadata.owner_references)
    ]
    return sorted((each for each in owned if _revision(each)), key=_revision)


def _revision(replica_set: ReplicaSet) -> int:
    text = replica_set.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def _known(found: Sequence[ReplicaSet]) -> str:
    return ", ".join(str(_revision(each)) for each in found) or "none"


def _chosen(deployment: Deployment, found: Sequence[ReplicaSet], revision: int) -> ReplicaSet:
    name = deployment.metadata.name
    if revision:
        for each in found:
            if _revision(each) == revision:
                return each
        raise Failure(f"unable to find specified revision {revision} in history (there are: {_known(found)})")
    if len(found) < 2:
        raise Failure(f'no rollout history found for deployment "{name}"')
    return found[-2]


def _template(replica_set: ReplicaSet) -> PodTemplateSpec:
    """The template as the Deployment had it, without the label that tells ReplicaSets apart."""
    template = PodTemplateSpec()
    template.CopyFrom(replica_set.spec.template)
    template.metadata.labels.pop(TEMPLATE_HASH, None)
    return template
