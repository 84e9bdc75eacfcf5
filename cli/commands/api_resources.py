"""`navctl api-resources`: what kinds of objects there are, and the short names for them."""

from __future__ import annotations

import click

from cli.flags import Command
from cli.output import align
from orchestrator.api.kinds import all_kinds


@click.command("api-resources", cls=Command)
@click.option("-o", "--output", type=click.Choice(["wide", "name"]), help="With categories, or names only.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@click.option("--namespaced", type=bool, help="Only those with (true) or without (false) a namespace.")
@click.option("--api-group", help='Only those of a group ("" is the core).')
def api_resources(output: str | None, no_headers: bool, namespaced: bool | None, api_group: str | None) -> None:
    """List the kinds of objects."""
    kinds = sorted(
        (kind for kind in all_kinds() if namespaced in (None, kind.namespaced) and api_group in (None, kind.group)),
        key=lambda kind: (kind.group, kind.plural),
    )
    if output == "name":
        print("".join(f"{kind.resource}\n" for kind in kinds), end="")
        return
    header = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    rows = [
        [kind.plural, ",".join(kind.short_names), kind.api_version, str(kind.namespaced).lower(), kind.kind]
        for kind in kinds
    ]
    if output == "wide":
        header.append("CATEGORIES")
        for row, kind in zip(rows, kinds, strict=True):
            row.append(",".join(kind.categories))
    print(align(rows if no_headers else [header, *rows]), end="")
