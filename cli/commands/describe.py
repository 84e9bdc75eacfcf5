"""`navctl describe`: what a person wants to know of an object, with the events about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from cli.attempts import Attempts
from cli.descriptions.object import describe_object
from cli.failure import Failure
from cli.flags import Command
from cli.references import Reference, read_references
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.conventions import SERVICE_NAME
from orchestrator.api.kinds import KubeObject
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.v1 import Deployment, EndpointSlice, Event, Node, Pod, ReplicaSet, Service
from orchestrator.client import Client

# A slice's label with the name of its Service.


@click.command(cls=Command)
@target_options
@click.argument("what", nargs=-1)
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-l", "--selector", default="", help="A label selector: app=web.")
@click.option("--show-events/--no-show-events", default=True, help="With the events about it (the default).")
def describe(target: Target, what: tuple[str, ...], all_namespaces: bool, selector: str, show_events: bool) -> int:
    """Show objects in detail: navctl describe pod web-5d7, navctl describe deploy/web."""
    references = read_references(what)
    if any(one.name for one in references) and (selector or all_namespaces):
        raise Failure("name cannot be provided with a selector or across all namespaces")

    async def work(client: Client, namespace: str) -> int:
        attempts = Attempts()
        described = 0
        for one in references:
            place = namespace if one.kind.namespaced and not all_namespaces else ""
            with attempts.one():
                for obj in await _find(client, one, place, selector):
                    events = await _events_about(client, obj) if show_events else None
                    related = await _related(client, obj)
                    sys.stdout.write("\n\n" if described else "")
                    sys.stdout.write(describe_object(obj, events, datetime.now(UTC), related=related))
                    described += 1
        if not described and not attempts.code:
            named = any(one.kind.namespaced for one in references) and not all_namespaces
            click.echo("No resources found" + (f" in {namespace} namespace." if named else ""), err=True)
        return attempts.code

    return target.run(work)


async def _find(client: Client, one: Reference, namespace: str, selector: str) -> Sequence[KubeObject]:
    """The object of the name, or else, as with kubectl, all whose names begin with it. Raises NotFound."""
    if one.name is None:
        return (await client.list(one.kind.message, namespace=namespace, label_selector=selector)).items
    try:
        return [await client.get(one.kind.message, one.name, namespace)]
    except errors.NotFound:
        listed = await client.list(one.kind.message, namespace=namespace)
        found = [obj for obj in listed.items if obj.metadata.name.startswith(one.name)]
        if not found:
            raise
        return found


async def _events_about(client: Client, obj: KubeObject) -> Sequence[Event]:
    metadata = obj.metadata
    # Events of objects without a namespace are kept in "default"; a node's events carry its name as uid.
    fields = f"involvedObject.kind={type(obj).__name__},involvedObject.name={metadata.name}"
    listed = await client.list(Event, namespace=metadata.namespace or "default", field_selector=fields)
    return [event for event in listed.items if event.involved_object.uid in ("", metadata.uid, metadata.name)]


async def _related(client: Client, obj: KubeObject) -> Sequence[KubeObject]:
    """What a description tells of besides the object: who runs on a node, what a Deployment has made, who answers for
    a Service."""
    namespace, name = obj.metadata.namespace, obj.metadata.name
    match obj:
        case Node():
            pods = await client.list(Pod, field_selector=f"spec.nodeName={name}")
            return [pod for pod in pods.items if pod.status.phase not in ("Succeeded", "Failed")]
        case Deployment():
            selector = str(from_label_selector(obj.spec.selector))
            sets = await client.list(ReplicaSet, namespace=namespace, label_selector=selector)
            return [
                each for each in sets.items if any(o.uid == obj.metadata.uid for o in each.metadata.owner_references)
            ]
        case Service():
            slices = await client.list(EndpointSlice, namespace=namespace, label_selector=f"{SERVICE_NAME}={name}")
            return slices.items
        case _:
            return ()
