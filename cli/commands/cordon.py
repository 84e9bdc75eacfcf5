"""`navctl cordon` and `uncordon`: whether new pods may come to a node."""

from __future__ import annotations

import click

from cli.attempts import Attempts
from cli.flags import Command
from cli.target import Target, target_options
from orchestrator.api.v1 import Node
from orchestrator.client import Client


@click.command(cls=Command)
@target_options
@click.argument("nodes", nargs=-1, required=True)
def cordon(target: Target, nodes: tuple[str, ...]) -> int:
    """Keep new pods away from nodes."""
    return _set(target, nodes, unschedulable=True)


@click.command(cls=Command)
@target_options
@click.argument("nodes", nargs=-1, required=True)
def uncordon(target: Target, nodes: tuple[str, ...]) -> int:
    """Let new pods come to nodes again."""
    return _set(target, nodes, unschedulable=False)


def _set(target: Target, nodes: tuple[str, ...], *, unschedulable: bool) -> int:
    word = "cordoned" if unschedulable else "uncordoned"

    async def work(client: Client, namespace: str) -> int:
        attempts = Attempts()
        for name in (node.removeprefix("node/") for node in nodes):
            with attempts.one():
                node = await client.get(Node, name)
                if node.spec.unschedulable == unschedulable:
                    print(f"node/{name} already {word}", flush=True)
                    continue
                # null removes the field, as it is absent on a node that takes pods.
                await client.patch(Node, name, {"spec": {"unschedulable": unschedulable or None}})
                print(f"node/{name} {word}", flush=True)
        return attempts.code

    return target.run(work)
