"""An object's JSON, seen through its schema: which parts are managed one by one, and which as a whole.

Objects and maps are managed field by field, lists with a merge key item by item; other lists, and the few kinds of
objects that only make sense as a whole (a selector, a reference), in one piece. From that follow the fields an object
has (`leaves`), how a configuration is merged into it (`merge`), and how fields are taken out of it (`without`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestrator.api import errors
from orchestrator.api.apply.paths import MAX_DEPTH, Path, field, keyed, show, valued
from orchestrator.api.schema import map_value, option
from orchestrator.api.v1 import options_pb2

Json: TypeAlias = Any

ITEM: Final = object()
"""In place of a value: an item of a list, or a map, that is there whatever is in it."""

_ATOMIC: Final = frozenset(
    {
        "ConfigMapKeySelector",
        "LabelSelector",
        "LocalObjectReference",
        "NodeSelector",
        "NodeSelectorTerm",
        "ObjectFieldSelector",
        "ObjectReference",
        "ResourceFieldSelector",
        "ScopeSelector",
        "SecretKeySelector",
        "SecretReference",
        "TopologySelectorTerm",
        "TypedLocalObjectReference",
        "TypedObjectReference",
    }
)
"""Messages that are managed as a whole."""
_ATOMIC_MAPS: Final = frozenset(
    {("PodSpec", "nodeSelector"), ("ServiceSpec", "selector"), ("ReplicationControllerSpec", "selector")}
)
_KEYS: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("Container", "ports"): ("containerPort", "protocol"),
    ("EphemeralContainer", "ports"): ("containerPort", "protocol"),
    ("ServiceSpec", "ports"): ("port", "protocol"),
    ("PodSpec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
}
"""Lists whose items several fields tell apart, where patches go by one alone."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """One field: its message if it has one, and what it is: scalar, map, message, items, set or atomic."""

    form: str
    message: Descriptor | None = None
    keys: Sequence[str] = ()
    defaults: Mapping[str, object] | None = None


_ATOM: Final = _Shape("atomic")


def leaves(descriptor: Descriptor, data: Mapping[str, Json]) -> dict[Path, Json]:
    """Every managed field of an object with its value; ITEM for list items and maps. Raises BadRequest."""
    found: dict[Path, Json] = {}
    _walk(_Shape("message", descriptor), data, (), found)
    return found


def merge(descriptor: Descriptor, live: Mapping[str, Json], applied: Mapping[str, Json]) -> dict[str, Json]:
    """`live` with all that `applied` says. Raises BadRequest."""
    merged: dict[str, Json] = _merge(_Shape("message", descriptor), live, applied, ())
    return merged


def without(descriptor: Descriptor, data: Mapping[str, Json], gone: Iterable[Path]) -> dict[str, Json]:
    """`data` without these fields and what is in them."""
    tree: dict[str, Any] = {}
    for path in sorted(gone, key=len):
        node = tree
        for element in path[:-1]:
            if node.get(element) is True:
                break
            node = node.setdefault(element, {})
        else:
            node[path[-1]] = True
    remaining: dict[str, Json] = _without(_Shape("message", descriptor), data, tree, ())
    return remaining


def _walk(shape: _Shape, value: Json, path: Path, found: dict[Path, Json]) -> None:
    if len(path) > MAX_DEPTH:
        raise errors.BadRequest("the object is nested too deeply")
    match shape.form:
        case "message" | "map" if isinstance(value, Mapping) and (value or shape.form == "map" or not path):
            if shape.form == "map":
                found[path] = ITEM
            for name, inside in value.items():
                _walk(_field(shape, name), inside, (*path, field(name)), found)
        case "items" | "set" if isinstance(value, Sequence) and not isinstance(value, str) and value:
            for element, item in _items(shape, value, path):
                found[(*path, element)] = ITEM
                if shape.form == "items":
                    _walk(_Shape("message", shape.message), item, (*path, element), found)
        case _:
            found[path] = value


def _merge(shape: _Shape, live: Json, applied: Json, path: Path) -> Json:
    match shape.form:
        case "message" | "map" if isinstance(applied, Mapping) and isinstance(live, Mapping):
            merged = dict(live)
            for name, inside in applied.items():
                if name in live:
                    merged[name] = _merge(_field(shape, name), live[name], inside, (*path, field(name)))
                else:
                    merged[name] = inside
            return merged
        case "items" | "set" if isinstance(applied, Sequence) and isinstance(live, Sequence):
            return _merge_items(shape, live, applied, path)
        case _:
            return applied


def _merge_items(shape: _Shape, live: Sequence[Json], applied: Sequence[Json], path: Path) -> list[Json]:
    """The applied items in their order, each merged into the live one; the other live ones stay where they were."""
    there = dict(_items(shape, live, path))
    wanted = dict(_items(shape, applied, path))
    merged: list[Json] = []
    order = iter(list(there))
    following = next(order, None)
    for element, item in wanted.items():
        while following is not None and following not in wanted:
            merged.append(there[following])
            following = next(order, None)
        if element in there and shape.form == "items":
            item = _merge(_Shape("message", shape.message), there[element], item, (*path, element))
        merged.append(item)
        if following == element:
            following = next(order, None)
    while following is not None:
        if following not in wanted:
            merged.append(there[following])
        following = next(order, None)
    return merged


def _without(shape: _Shape, value: Json, gone: Mapping[str, Any], path: Path) -> Json:
    match shape.form:
        case "message" | "map" if isinstance(value, Mapping):
            kept = {}
            for name, inside in value.items():
                below = gone.get(field(name))
                if below is not True:
                    kept[name] = _without(_field(shape, name), inside, below, (*path, field(name))) if below else inside
            return kept
        case "items" | "set" if isinstance(value, Sequence):
            remaining = []
            for element, item in _items(shape, value, path):
                below = gone.get(element)
                if below is not True:
                    inner = _Shape("message", shape.message)
                    remaining.append(_without(inner, item, below, (*path, element)) if below else item)
            return remaining
        case _:
            return value


def _items(shape: _Shape, values: Sequence[Json], path: Path) -> list[tuple[str, Json]]:
    """The items of a list with what tells them apart. Raises BadRequest for two that are the same."""
    found: list[tuple[str, Json]] = []
    seen: set[str] = set()
    for value in values:
        element = valued(value) if shape.form == "set" else keyed(_keys(shape, value, path))
        if element in seen:
            raise errors.BadRequest(f"{show(path)}: the list has two items {show((element,))}")
        seen.add(element)
        found.append((element, value))
    return found


def _keys(shape: _Shape, item: Json, path: Path) -> Mapping[str, object]:
    if not isinstance(item, Mapping):
        raise errors.BadRequest(f"{show(path)}: the items of the list must be objects")
    keys: dict[str, object] = {}
    for name in shape.keys:
        value = item.get(name, (shape.defaults or {}).get(name))
        if value is not None:
            keys[name] = value
    if not keys:
        raise errors.BadRequest(f"{show(path)}: an item of the list has none of its keys ({', '.join(shape.keys)})")
    return keys


def _field(shape: _Shape, name: str) -> _Shape:
    if shape.form == "map" or shape.message is None:
        return _Shape("message", shape.message) if shape.message is not None else _ATOM
    return _fields(shape.message).get(name, _ATOM)


@cache
def _fields(descriptor: Descriptor) -> Mapping[str, _Shape]:
    return {each.json_name: _shape(descriptor, each) for each in descriptor.fields}


def _shape(parent: Descriptor, each: FieldDescriptor) -> _Shape:
    place = (parent.name, each.json_name)
    value = map_value(each)
    if value is not None:
        return _ATOM if place in _ATOMIC_MAPS else _Shape("map", _own(value.message_type))
    if not each.is_repeated:
        message = _own(each.message_type)
        return _ATOM if message is None or message.name in _ATOMIC else _Shape("message", message)
    merge_key = option(each, options_pb2.merge_key)
    if merge_key == "-":
        return _Shape("set")
    message = _own(each.message_type)
    if not merge_key or message is None:
        return _ATOM
    keys = _KEYS.get(place, (merge_key,))
    return _Shape("items", message, keys, _defaults(message, keys))


def _defaults(message: Descriptor, keys: Sequence[str]) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for each in message.fields:
        given = option(each, options_pb2.default_value) if each.json_name in keys else ""
        if given:
            found[each.json_name] = given if each.type == FieldDescriptor.TYPE_STRING else json.loads(given)
    return found


def _own(message: Descriptor | None) -> Descriptor | None:
    """The message, if it is one of the schema's; times and free-form values are managed as a whole."""
    return None if message is None or message.full_name.startswith("google.protobuf.") else message
