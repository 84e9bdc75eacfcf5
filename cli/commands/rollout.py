"""`navctl rollout`: watch, inspect, stop and take back the updates of a Deployment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import click

from cli.durations import DURATION
from cli.failure import Failure
from cli.flags import Group
from cli.output import align, reference
from cli.references import read_named
from cli.rollout_progress import REVISION, RolloutFailed, progress_of
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.codec import part_to_json
from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import Deployment, PodTemplateSpec, ReplicaSet
from orchestrator.client import ChangeType, Client, PatchType

CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
TEMPLATE_HASH = "pod-template-hash"


@click.group(cls=Group)
def rollout() -> None:
    """Updates of a Deployment: status, history, undo, restart, pause, resume."""


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@click.option("-w", "--watch/--no-watch", default=True, help="Wait until it is done (the default).")
@click.option("--timeout", type=DURATION, default=0.0, help="How long to wait (0s: as long as it takes).")
@click.option(
    "--revision", type=click.IntRange(min=0), default=0, help="Fail when another revision is being rolled out."
)
def status(target: Target, what: tuple[str, ...], watch: bool, timeout: float, revision: int) -> None:
    """Show how far an update is: navctl rollout status deploy/web."""

    async def work(client: Client, namespace: str) -> None:
        try:
            async with asyncio.timeout(timeout or None):
                for name in _names(what):
                    await _follow(client, namespace, name, revision, watch=watch)
        except TimeoutError:
            raise Failure("timed out waiting for the condition: see navctl describe") from None

    target.run(work)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@click.option("--revision", type=click.IntRange(min=0), default=0, help="Show the pod template of this revision.")
def history(target: Target, what: tuple[str, ...], revision: int) -> None:
    """List the revisions there were: navctl rollout history deploy/web."""

    async def work(client: Client, namespace: str) -> None:
        for name in _names(what):
            deployment = await client.get(Deployment, name, namespace)
            found = await _revisions(client, deployment)
            if revision:
                chosen = next((each for each in found if _revision(each) == revision), None)
                if chosen is None:
                    raise Failure(f"unable to find the specified revision {revision}")
                import yaml

                print(f"{reference(deployment)} with revision #{revision}")
                print(yaml.safe_dump({"Pod Template": part_to_json(chosen.spec.template)}, sort_keys=False), end="")
                continue
            rows = [[str(_revision(each)), each.metadata.annotations.get(CHANGE_CAUSE) or "<none>"] for each in found]
            print(f"{reference(deployment)}")
            print(align([["REVISION", "CHANGE-CAUSE"], *rows]))

    target.run(work)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
@click.option(
    "--to-revision", type=click.IntRange(min=0), default=0, help="The revision to go back to (0: the last one)."
)
def undo(target: Target, what: tuple[str, ...], to_revision: int) -> None:
    """Go back to an earlier revision: navctl rollout undo deploy/web."""

    async def work(client: Client, namespace: str) -> None:
        for name in _names(what):
            deployment = await client.get(Deployment, name, namespace)
            if deployment.spec.paused:
                raise Failure(
                    "you cannot rollback a paused deployment; resume it first with "
                    f'"navctl rollout resume deployment/{name}"'
                )
            chosen = _chosen(deployment, await _revisions(client, deployment), to_revision)
            template = _template(chosen)
            if template == deployment.spec.template:
                print(
                    f"{reference(deployment)} skipped rollback "
                    f"(current template already matches revision {_revision(chosen)})"
                )
                continue
            patch = [{"op": "replace", "path": "/spec/template", "value": part_to_json(template)}]
            await client.patch(Deployment, name, patch, namespace=namespace, type=PatchType.JSON)
            print(f"{reference(deployment)} rolled back")

    target.run(work)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
def restart(target: Target, what: tuple[str, ...]) -> None:
    """Replace all pods by new ones: navctl rollout restart deploy/web."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}

    def refuse(deployment: Deployment) -> str | None:
        if deployment.spec.paused:
            return "can't restart paused deployment (run rollout resume first)"
        return None

    _patch_each(target, what, patch, "restarted", refuse)


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
def pause(target: Target, what: tuple[str, ...]) -> None:
    """Let changes of the template wait: navctl rollout pause deploy/web."""
    _patch_each(
        target,
        what,
        {"spec": {"paused": True}},
        "paused",
        lambda seen: "is already paused" if seen.spec.paused else None,
    )


@rollout.command()
@target_options
@click.argument("what", nargs=-1)
def resume(target: Target, what: tuple[str, ...]) -> None:
    """Let changes of the template take effect again: navctl rollout resume deploy/web."""
    _patch_each(
        target, what, {"spec": {"paused": None}}, "resumed", lambda seen: None if seen.spec.paused else "is not paused"
    )


def _patch_each(
    target: Target,
    what: Sequence[str],
    patch: Mapping[str, object],
    outcome: str,
    refuse: Callable[[Deployment], str | None],
) -> None:
    async def work(client: Client, namespace: str) -> None:
        for name in _names(what):
            deployment = await client.get(Deployment, name, namespace)
            if reason := refuse(deployment):
                raise Failure(f'deployments.apps "{name}" {reason}')
            await client.patch(Deployment, name, patch, namespace=namespace)
            print(f"{reference(deployment)} {outcome}")

    target.run(work)


def _names(what: Sequence[str]) -> list[str]:
    names: list[str] = []
    for one in read_named(what):
        if one.kind is not kind_of(Deployment):
            raise Failure(f"{one.kind.resource} have no rollouts: name a deployment")
        assert one.name is not None
        names.append(one.name)
    return names


async def _follow(client: Client, namespace: str, name: str, revision: int, *, watch: bool) -> None:
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


def _chosen(deployment: Deployment, found: Sequence[ReplicaSet], revision: int) -> ReplicaSet:
    name = deployment.metadata.name
    if revision:
        for each in found:
            if _revision(each) == revision:
                return each
        have = ", ".join(str(_revision(each)) for each in found) or "none"
        raise Failure(f"unable to find specified revision {revision} in history (there are: {have})")
    if len(found) < 2:
        raise Failure(f'no rollout history found for deployment "{name}"')
    return found[-2]


def _template(replica_set: ReplicaSet) -> PodTemplateSpec:
    """The template as the Deployment had it, without the label that tells ReplicaSets apart."""
    template = PodTemplateSpec()
    template.CopyFrom(replica_set.spec.template)
    template.metadata.labels.pop(TEMPLATE_HASH, None)
    return template
