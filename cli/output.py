"""How objects are shown: kubectl's output formats, chosen by `-o`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cli.failure import Failure
from orchestrator.api.kinds import K, Kind, KubeObject, kind_of

if TYPE_CHECKING:
    from cli.jsonpath import Json

FORMATS = ("wide", "yaml", "json", "name", "jsonpath=...", "jsonpath-file=...", "custom-columns=...")

# --dry-run -> what is said after the result.
DRY_RUN = {"none": "", "client": " (dry run)", "server": " (server dry run)"}


@dataclass(frozen=True, slots=True)
class Format:
    """A parsed `-o`: its name ("" is the table) and what follows the equals sign."""

    name: str = ""
    argument: str = ""

    @property
    def is_table(self) -> bool:
        return self.name in ("", "wide")


def read_format(text: str | None) -> Format:
    """Parses `-o`. Raises Failure for a format there is not, or a template that can't be read."""
    name, _, argument = (text or "").partition("=")
    known = {"", "wide", "yaml", "json", "name", "jsonpath", "custom-columns"}
    if name == "jsonpath-file":
        name, argument = "jsonpath", Path(argument).read_text()
    if name not in known:
        raise Failure(
            f'unable to match a printer suitable for the output format "{text}": allowed are {", ".join(FORMATS)}'
        )
    if name in ("jsonpath", "custom-columns") and not argument:
        raise Failure(f"{name} needs a template: -o {name}=TEMPLATE")
    if name == "jsonpath":
        _check(argument)
    if name == "custom-columns":
        _columns(argument)
    return Format(name, argument)


def read_path(flag: str, text: str) -> str:
    """One JSONPath, with or without its braces and its first dot. Raises Failure for one that can't be read."""
    inner = text.removeprefix("{").removesuffix("}")
    path = "{" + (inner if inner.startswith((".", "[", "@", "$")) else f".{inner}") + "}"
    _check(path, f"{flag} ")
    return path


def _check(template: str, what: str = "") -> None:
    from cli.jsonpath import JsonPathError, parse

    try:
        parse(template)
    except JsonPathError as error:
        raise Failure(f"{what}error parsing jsonpath {template}, {error}") from None


def in_order(objects: Sequence[K], path: str) -> list[K]:
    """The objects by the value of a path; those without one first. Numbers inside texts count as numbers."""
    from cli.jsonpath import select
    from orchestrator.api.codec import to_json

    def key(obj: K) -> tuple[int, list[tuple[int, float, str]]]:
        found = select(path, to_json(obj))
        if not found:
            return 0, []
        if isinstance(found[0], int | float):
            return 1, [(0, found[0], "")]
        parts = re.findall(r"\d+|\D+", str(found[0]))
        return 2, [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]

    return sorted(objects, key=key)


def reference(obj: KubeObject) -> str:
    """How results name an object: "pod/web", "deployment.apps/web"."""
    return reference_to(kind_of(obj), obj.metadata.name)


def reference_to(kind: Kind, name: str) -> str:
    group = f".{kind.group}" if kind.group else ""
    return f"{kind.singular}{group}/{name}"


def as_document(objects: Sequence[KubeObject], *, single: bool) -> Json:
    """The JSON of one object, or of a List of them."""
    from orchestrator.api.codec import to_json

    items: list[Json] = [to_json(obj) for obj in objects]
    if single:
        return items[0]
    return {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}


def show_document(document: Json, shape: Format, *, headers: bool = True) -> str:
    """A document in one of the formats that are not tables; ends with a newline unless a template decides."""
    match shape.name:
        case "json":
            return json.dumps(document, indent=4, ensure_ascii=False) + "\n"
        case "yaml":
            from orchestrator.api.manifest import to_yaml

            assert isinstance(document, dict)
            return to_yaml(document)
        case "jsonpath":
            from cli.jsonpath import render

            return render(shape.argument, document)
        case "custom-columns":
            return _custom_columns(document, _columns(shape.argument), headers)
        case _:
            raise AssertionError(shape.name)


def _columns(specification: str) -> list[tuple[str, str]]:
    """Names and paths of custom columns. Raises Failure for a specification that can't be read."""
    columns = []
    for column in re.split(r",(?![^\[]*\])", specification):  # not at the commas between brackets
        name, _, path = column.partition(":")
        if not name or not path:
            raise Failure(f"unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>")
        columns.append((name, read_path("custom-columns", path)))
    return columns


def _custom_columns(document: Json, columns: Sequence[tuple[str, str]], headers: bool) -> str:
    from cli.jsonpath import select, show

    assert isinstance(document, dict)
    listed = document.get("items")
    items = listed if isinstance(listed, list) else [document]
    rows = [[",".join(map(show, select(path, item))) or "<none>" for _, path in columns] for item in items]
    return align([[name for name, _ in columns], *rows] if headers else rows)


def align(rows: Sequence[Sequence[str]], gap: int = 3) -> str:
    """Rows as text, with columns as wide as their widest cell and blanks between them."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        (" " * gap).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class TableOptions:
    wide: bool = False
    namespaces: bool = False  # a NAMESPACE column
    headers: bool = True
    labels: bool = False  # a LABELS column
    label_columns: tuple[str, ...] = ()
    prefix: bool = False  # names as TYPE/NAME


def rows_of(kind: Kind, objects: Sequence[KubeObject], now: datetime, options: TableOptions) -> list[list[str]]:
    """The table of objects of one kind, header first (also when there are no objects)."""
    from orchestrator.api.columns import table

    shown = table(kind, objects, now, options.wide)
    header = list(shown.columns)
    rows = [list(row) for row in shown.rows]
    if options.prefix:
        for row in rows:
            row[0] = reference_to(kind, row[0])
    for label in options.label_columns:
        header.append(label.rpartition("/")[2].upper())
        for row, obj in zip(rows, objects, strict=True):
            row.append(obj.metadata.labels.get(label, ""))
    if options.labels:
        header.append("LABELS")
        for row, obj in zip(rows, objects, strict=True):
            labels = sorted(obj.metadata.labels.items())
            row.append(",".join(f"{key}={value}" for key, value in labels) or "<none>")
    if options.namespaces and kind.namespaced:
        header.insert(0, "NAMESPACE")
        for row, obj in zip(rows, objects, strict=True):
            row.insert(0, obj.metadata.namespace)
    return [header, *rows] if options.headers else rows
