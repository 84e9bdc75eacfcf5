"""`navctl get`: objects as tables, documents or names, once or as they change."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

import click

from cli.failure import Failure, describe_failure
from cli.flags import Command
from cli.output import (
    Format,
    TableOptions,
    align,
    as_document,
    in_order,
    read_format,
    read_path,
    reference,
    rows_of,
    show_document,
)
from cli.references import Reference, read_references
from cli.target import Target, target_options
from orchestrator.api import errors
from orchestrator.api.kinds import Kind, KubeObject
from orchestrator.client import ChangeType, Client

PAGE = 500
# How long a server may be away, as when it is restarted, before a watch ends.
RESTART_SECONDS = 3.0


@click.command(cls=Command)
@target_options
@click.argument("what", nargs=-1)
@click.option("-o", "--output", help="wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=SPEC.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-l", "--selector", default="", help="A label selector: app=web,tier!=test.")
@click.option("--field-selector", default="", help="A field selector: spec.nodeName=n1,status.phase!=Running.")
@click.option("-w", "--watch", is_flag=True, help="After the list, show each change.")
@click.option("--watch-only", is_flag=True, help="Show changes without the list.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@click.option("--show-labels", is_flag=True, help="Show all labels as the last column.")
@click.option("-L", "--label-columns", multiple=True, help="Show this label as a column (may be repeated).")
@click.option("--sort-by", help="Sort by the value of a JSONPath: .metadata.creationTimestamp.")
@click.option("--ignore-not-found", is_flag=True, help="Exit with 0 when the object does not exist.")
def get(
    target: Target,
    what: tuple[str, ...],
    output: str | None,
    all_namespaces: bool,
    selector: str,
    field_selector: str,
    watch: bool,
    watch_only: bool,
    no_headers: bool,
    show_labels: bool,
    label_columns: tuple[str, ...],
    sort_by: str | None,
    ignore_not_found: bool,
) -> int:
    """Show objects: navctl get pods, navctl get deploy/web -o yaml, navctl get pods,svc -A."""
    references = read_references(what)
    shape = read_format(output)
    if all_namespaces and any(reference.name for reference in references):
        raise Failure("a resource cannot be retrieved by name across all namespaces: leave out the name or -A")
    if (selector or field_selector) and any(reference.name for reference in references):
        raise Failure("name cannot be provided when a selector is specified")
    order = read_path("--sort-by", sort_by) if sort_by else None
    kinds = list(dict.fromkeys(reference.kind for reference in references))
    options = TableOptions(
        wide=shape.name == "wide",
        namespaces=all_namespaces,
        headers=not no_headers,
        labels=show_labels,
        label_columns=tuple(label for group in label_columns for label in group.split(",")),
        prefix=len(kinds) > 1,
    )
    finder = _Finder(references, all_namespaces, selector, field_selector, ignore_not_found)
    if watch or watch_only:
        if len(kinds) > 1 or len(references) > 1:
            raise Failure("you may only specify a single resource type, or one object, with --watch")
        return target.run(lambda client, namespace: _watch(client, namespace, finder, shape, options, watch_only))
    return target.run(lambda client, namespace: _show(client, namespace, finder, shape, options, order))


class _Finder:
    """The objects that the arguments select."""

    def __init__(
        self, references: Sequence[Reference], everywhere: bool, labels: str, fields: str, ignore_missing: bool
    ) -> None:
        self.references = references
        self.everywhere = everywhere
        self.labels = labels
        self.fields = fields
        self.ignore_missing = ignore_missing
        self.failures: list[errors.ApiError] = []

    @property
    def single(self) -> bool:
        return len(self.references) == 1 and self.references[0].name is not None

    def namespace(self, kind: Kind, namespace: str) -> str:
        return namespace if kind.namespaced and not self.everywhere else ""

    async def find(self, client: Client, namespace: str) -> list[tuple[Kind, list[KubeObject]]]:
        """The objects by kind, in the order of the arguments; what is missing goes to `failures`."""
        found: dict[Kind, list[KubeObject]] = {}
        for one in self.references:
            place = self.namespace(one.kind, namespace)
            objects = found.setdefault(one.kind, [])
            try:
                if one.name is None:
                    objects += (await self.list(client, one.kind, place))[0]
                else:
                    objects.append(await client.get(one.kind.message, one.name, place))
            except errors.NotFound as error:
                if not self.ignore_missing:
                    self.failures.append(error)
        return list(found.items())

    async def list(self, client: Client, kind: Kind, namespace: str) -> tuple[list[KubeObject], str]:
        items: list[KubeObject] = []
        token = ""
        while True:
            page = await client.list(
                kind.message,
                namespace=namespace,
                label_selector=self.labels,
                field_selector=self.fields,
                limit=PAGE,
                continue_token=token,
            )
            items += page.items
            token = page.continue_token
            if not token:
                return items, page.resource_version


async def _show(
    client: Client, namespace: str, finder: _Finder, shape: Format, options: TableOptions, order: str | None
) -> int:
    found = await finder.find(client, namespace)
    if order is not None:
        found = [(kind, in_order(group, order)) for kind, group in found]
    objects = [obj for _, group in found for obj in group]
    if shape.name == "name":
        sys.stdout.write("".join(f"{reference(obj)}\n" for obj in objects))
    elif shape.is_table:
        now = datetime.now(UTC)
        tables = [align(rows_of(kind, group, now, options)) for kind, group in found if group]
        sys.stdout.write("\n".join(tables))
        if not objects and not finder.failures and not finder.ignore_missing:
            place = (
                "" if finder.everywhere or not any(k.namespaced for k, _ in found) else f" in {namespace} namespace."
            )
            click.echo(f"No resources found{place}", err=True)
    elif objects or not finder.single:
        sys.stdout.write(show_document(as_document(objects, single=finder.single), shape, headers=options.headers))
    sys.stdout.flush()
    for failure in finder.failures:
        click.echo(describe_failure(failure), err=True)
    return 1 if finder.failures else 0


async def _watch(
    client: Client, namespace: str, finder: _Finder, shape: Format, options: TableOptions, changes_only: bool
) -> int:
    one = finder.references[0]
    place = finder.namespace(one.kind, namespace)
    fields = finder.fields
    if one.name is not None:
        fields = ",".join(filter(None, (fields, f"metadata.name={one.name}")))
        finder = _Finder([Reference(one.kind)], False, finder.labels, fields, finder.ignore_missing)
    present, version = await finder.list(client, one.kind, place)
    if one.name is not None and not present and not finder.ignore_missing:
        raise errors.NotFound.of(one.kind.resource, one.name)
    printer = _RowPrinter(one.kind, options) if shape.is_table else None
    if present and not changes_only:
        _show_changes(present, shape, printer)
    changes = _changes(client, one.kind, place, finder.labels, fields, version)
    async with contextlib.aclosing(changes):
        async for obj in changes:
            _show_changes([obj], shape, printer)
    return 0


async def _changes(
    client: Client, kind: Kind, namespace: str, labels: str, fields: str, version: str
) -> AsyncGenerator[KubeObject, None]:
    """Each change after a revision, and after a break if the server is soon there again: one that is not is told as
    such by the second attempt."""
    broken = False
    while True:
        changes = client.watch(
            kind.message, namespace=namespace, label_selector=labels, field_selector=fields, resource_version=version
        )
        try:
            async with contextlib.aclosing(changes):
                async for change in changes:
                    broken, version = False, change.object.metadata.resource_version
                    if change.type is not ChangeType.BOOKMARK:
                        yield change.object
        except errors.ServiceUnavailable:
            if broken:
                raise
        else:
            if broken:
                return
        broken = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RESTART_SECONDS):
                await client.connected()


def _show_changes(objects: Sequence[KubeObject], shape: Format, printer: _RowPrinter | None) -> None:
    if printer is not None:
        printer.show(objects)
    else:
        for obj in objects:
            if shape.name == "name":
                sys.stdout.write(f"{reference(obj)}\n")
            else:
                sys.stdout.write(show_document(as_document([obj], single=True), shape))
    sys.stdout.flush()


class _RowPrinter:
    """Rows that keep the columns of the rows above them."""

    def __init__(self, kind: Kind, options: TableOptions) -> None:
        self._kind = kind
        self._options = options
        self._widths: list[int] = []

    def show(self, objects: Sequence[KubeObject]) -> None:
        rows = rows_of(self._kind, objects, datetime.now(UTC), self._options)
        if self._widths and self._options.headers:
            rows = rows[1:]
        for row in rows:
            self._widths = self._widths or [len(cell) for cell in row]
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, self._widths, strict=True))
            sys.stdout.write("   ".join(cells).rstrip() + "\n")
