"""`navctl version`: which one this is."""

from __future__ import annotations

import importlib.metadata
import json

import click

from cli.flags import Command


@click.command(cls=Command)
@click.option("--client", is_flag=True, help="Accepted because kubectl has it: only this program's version is told.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), help="As a document.")
def version(client: bool, output: str | None) -> None:
    """Print this program's version."""
    number = f"v{importlib.metadata.version('navarch')}"
    if output == "json":
        print(json.dumps({"clientVersion": {"gitVersion": number}}, indent=2))
    elif output == "yaml":
        print(f"clientVersion:\n  gitVersion: {number}")
    else:
        print(f"Client Version: {number}")
