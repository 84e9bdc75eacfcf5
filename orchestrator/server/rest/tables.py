"""Objects as rows of a Table (meta.k8s.io/v1): what `kubectl get` asks for.

The cells are those of `orchestrator.api.columns`; here they get the definitions that go with them, and each row the
part of its object that the request wants: nothing, its metadata, or all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from orchestrator.api.codec import part_to_json, to_json
from orchestrator.api.columns import table
from orchestrator.api.kinds import Kind, KubeObject

Json: TypeAlias = dict[str, Any]
Include: TypeAlias = Literal["None", "Metadata", "Object"]

INCLUDES: Final[Mapping[str, Include]] = {"": "Metadata", "None": "None", "Metadata": "Metadata", "Object": "Object"}
_CAPITALS: Final = frozenset({"IP", "CPU", "OS", "UID", "CSI", "PDB"})
_WIDE: Final = 1
"""The priority of columns that only a wide table shows."""


@cache
def column_definitions(kind: Kind) -> Sequence[Json]:
    """Names, types and priorities of a kind's columns."""
    # Without objects the time does not matter.
    moment = datetime.min
    narrow = set(table(kind, (), moment, wide=False).columns)
    return tuple(
        {
            "name": title(name),
            "type": "string",
            "format": "name" if name == "NAME" else "",
            "description": "",
            "priority": 0 if name in narrow else _WIDE,
        }
        for name in table(kind, (), moment, wide=True).columns
    )


def rows(kind: Kind, objects: Sequence[KubeObject], now: datetime, include: Include) -> list[Json]:
    """One row for each object, in order."""
    cells = table(kind, objects, now, wide=True).rows
    return [{"cells": row, "object": _shown(obj, include)} for row, obj in zip(cells, objects, strict=True)]


def title(heading: str) -> str:
    """A heading as the definitions have it: "NOMINATED NODE" becomes "Nominated Node", "CLUSTER-IP" "Cluster-IP"."""
    return " ".join(_word(word) for word in heading.split(" "))


def partial(obj: KubeObject) -> Json:
    """An object's metadata alone (PartialObjectMetadata)."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": part_to_json(obj.metadata),
    }


def _shown(obj: KubeObject, include: Include) -> Json | None:
    if include == "None":
        return None
    return to_json(obj) if include == "Object" else partial(obj)


def _word(word: str) -> str:
    first, *others = word.split("-")
    head = first if first in _CAPITALS else first.capitalize()
    return "-".join([head, *(each if each in _CAPITALS else each.lower() for each in others)])
