"""`navctl scale`: how many copies."""

from __future__ import annotations

import click

from cli.attempts import Attempts
from cli.failure import Failure
from cli.flags import Command
from cli.output import reference_to
from cli.references import read_named
from cli.target import Target, target_options
from orchestrator.client import Client


@click.command(cls=Command)
@target_options
@click.argument("what", nargs=-1)
@click.option("--replicas", type=click.IntRange(0, 2**31 - 1), required=True, help="The wanted number of copies.")
@click.option("--current-replicas", type=int, default=-1, help="Only if the number is this now (-1: whatever it is).")
def scale(target: Target, what: tuple[str, ...], replicas: int, current_replicas: int) -> int:
    """Set the number of copies: navctl scale deploy/web --replicas=5."""
    references = read_named(what)
    for one in references:
        if "scale" not in one.kind.subresources:
            raise Failure(f"{one.kind.resource} can't be scaled")

    async def work(client: Client, namespace: str) -> int:
        attempts = Attempts()
        for one in references:
            assert one.name is not None
            with attempts.one():
                present = await client.get_scale(one.kind.message, one.name, namespace)
                if current_replicas not in (-1, present.spec.replicas):
                    raise Failure(f"Expected replicas to be {current_replicas}, was {present.spec.replicas}")
                if current_replicas == -1:
                    present.metadata.resource_version = ""  # whoever else changes it meanwhile
                present.spec.replicas = replicas
                await client.update_scale(one.kind.message, present)
                print(f"{reference_to(one.kind, one.name)} scaled", flush=True)
        return attempts.code

    return target.run(work)
