"""A described object's lines: names on the left, values in a column, sections indented by two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.struct_pb2 import Value

NONE = "<none>"
_GAP = 2


def int_or_string(value: Value) -> str:
    """A port or an amount that may be a number or a name."""
    return str(int(value.number_value)) if value.HasField("number_value") else value.string_value


@dataclass(slots=True)
class Page:
    """Collects lines. A value of several lines stands below each other in the column."""

    rows: list[tuple[int, str, str | None]] = field(default_factory=list)
    depth: int = 0

    def value(self, name: str, *values: object) -> None:
        """A name with its value; several values take a line each, as do the lines of one, none is shown as <none>."""
        shown = [str(value) for value in values if value not in ("", None)] or [NONE]
        texts = [line for text in shown for line in text.splitlines() or [""]]
        self.rows.append((self.depth, f"{name}:", texts[0]))
        self.rows += [(self.depth, "", text) for text in texts[1:]]

    def optional(self, name: str, value: object) -> None:
        """A value that is left out when there is none."""
        if value not in ("", None, 0):
            self.value(name, value)

    def pairs(self, name: str, pairs: Mapping[str, str], separator: str = "=") -> None:
        self.value(name, *(f"{key}{separator}{pairs[key]}" for key in sorted(pairs)))

    def section(self, name: str) -> Page:
        """A heading; what is added to the page it returns stands below it, indented."""
        self.rows.append((self.depth, f"{name}:", None))
        return Page(self.rows, self.depth + 1)

    def table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A heading with a table below it, or <none>."""
        body = [list(row) for row in rows]
        if not body:
            self.value(name)
            return
        self.rows.append((self.depth, f"{name}:", None))
        lines = [list(header), ["-" * len(word) for word in header], *body]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.rows.append((self.depth + 1, "  ".join(cells).rstrip(), None))

    def text(self) -> str:
        """All lines, the values of neighbours of one depth below each other."""
        lines: list[str] = []
        widths: dict[int, int] = {}
        for depth, name, value in self.rows:
            if value is not None:
                widths[depth] = max(widths.get(depth, 0), len(name))
        for depth, name, value in self.rows:
            indent = "  " * depth
            gap = "" if value is None else " " * (widths[depth] - len(name) + _GAP)
            lines.append(f"{indent}{name}{gap}{value or ''}".rstrip())
        return "\n".join(lines) + "\n"
