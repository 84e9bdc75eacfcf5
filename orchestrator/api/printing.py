"""What printers of all kinds share: what one is, and how labels, selectors, templates and lists appear in cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, cast

from orchestrator.api.ages import age
from orchestrator.api.kinds import K, KubeObject
from orchestrator.api.v1 import Container, LabelSelector

NONE = "<none>"
UNSET = "<unset>"
TEMPLATE_COLUMNS = ("CONTAINERS", "IMAGES", "SELECTOR")
LISTED = 3
"""Items of a list that a cell shows."""


@dataclass(frozen=True, slots=True)
class Printer(Generic[K]):
    """Names of columns, and a function from an object, the time and whether the table is wide, to as many cells."""

    columns: Sequence[str]
    cells: Callable[[K, datetime, bool], Sequence[str]]
    wide: frozenset[str] = frozenset()
    """The columns that only a wide table shows."""


Printers = dict[str, Printer[KubeObject]]
"""By the kind's resource."""


def add(
    printers: Printers,
    resource: str,
    columns: Sequence[str],
    cells: Callable[[K, datetime, bool], Sequence[str]],
    wide: Sequence[str] = (),
) -> None:
    # The table's kind says which message its objects are; the type system can't.
    printers[resource] = cast("Printer[KubeObject]", Printer(columns, cells, frozenset(wide)))


def age_of(obj: KubeObject, now: datetime) -> str:
    return age(now, obj.metadata.creation_timestamp)


def labels(values: Mapping[str, str]) -> str:
    return ",".join(f"{key}={values[key]}" for key in sorted(values)) or NONE


def selector(wanted: LabelSelector) -> str:
    # Only wide tables need it, and `get pods` would wait for its import.
    from orchestrator.api.selectors import from_label_selector

    return str(from_label_selector(wanted)) or NONE


def template(containers: Iterable[Container]) -> tuple[str, str]:
    found = list(containers)
    return ",".join(each.name for each in found), ",".join(each.image for each in found)


def some(items: Sequence[str], empty: str) -> str:
    """A few of the items, and how many more there are."""
    if not items:
        return empty
    shown = ",".join(items[:LISTED])
    return shown if len(items) <= LISTED else f"{shown} + {len(items) - LISTED} more..."


def truth(value: bool) -> str:
    return "true" if value else "false"
