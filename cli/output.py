"""How objects are shown: kubectl's output formats, chosen by `-o`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cli.failure import Failure
from orchestrator.api.kinds import Kind, KubeObject, kind_of

if TYPE_CHECKING:
    from cli.jsonpath import Json

FORMATS = ("wide", "yaml", "json", "name", "jsonpath=...", "jsonpath-file=...", "custom-columns=...")


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
        from cli.jsonpath import JsonPathError, parse

        try:
            parse(argument)
        except JsonPathError as error:
            raise Failure(f"error parsing jsonpath {argument}: {error}") from None
    return Format(name, argument)


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


def show_document(document: Json, shape: Format) -> str:
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
            return _custom_columns(document, shape.argument)
        case _:
            raise AssertionError(shape.name)


def _custom_columns(document: Json, specification: str) -> str:
    from cli.jsonpath import render

    columns = [column.partition(":") for column in specification.split(",")]
    if any(not path for _, _, path in columns):
        raise Failure("custom-columns are NAME:PATH, separated by commas: -o custom-columns=NAME:.metadata.name")
    assert isinstance(document, dict)
    listed = document.get("items")
    items = listed if isinstance(listed, list) else [document]
    paths = ["{" + path.strip("{}") + "}" for _, _, path in columns]
    rows = [[render(path, item) or "<none>" for path in paths] for item in items]
    return align([[name for name, _, _ in columns], *rows])


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, with columns as wide as their widest cell and three blanks between them."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
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
    if options.namespaces:
        header.insert(0, "NAMESPACE")
        for row, obj in zip(rows, objects, strict=True):
            row.insert(0, obj.metadata.namespace)
    return [header, *rows] if options.headers else rows
