"""The smallest objects of kinds, with changes: what validation tests judge."""

from __future__ import annotations

import copy
from typing import Any

from orchestrator.api.codec import from_json
from orchestrator.api.creation import complete_new
from orchestrator.api.defaults import set_defaults
from orchestrator.api.kinds import KubeObject, find_kind
from orchestrator.api.validation import validate
from tests.unit.api.smallest_objects import SMALLEST

Json = dict[str, Any]
GONE = object()


def changed(resource: str, changes: Json) -> KubeObject:
    """`changes` by path ("spec/replicas"): a value, or GONE."""
    kind = find_kind(resource)
    data = copy.deepcopy(SMALLEST[kind.resource])
    data["metadata"] = {"name": "web", "uid": "u-1", **({"namespace": "default"} if kind.namespaced else {})}
    for path, value in changes.items():
        _put(data, path.split("/"), value)
    obj = from_json({"apiVersion": kind.api_version, "kind": kind.kind, **data}).obj
    set_defaults(obj)
    complete_new(obj, user="alice", groups=[])
    return obj


def _put(data: Any, path: list[str], value: Any) -> None:
    for part in path[:-1]:
        data = data[int(part)] if isinstance(data, list) else data.setdefault(part, {})
    if value is GONE:
        del data[path[-1]]
    elif isinstance(data, list):
        data[int(path[-1])] = value
    else:
        data[path[-1]] = value


def faults(resource: str, changes: Json) -> list[str]:
    return [str(fault) for fault in validate(changed(resource, changes))]
