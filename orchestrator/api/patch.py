"""Patches applied to JSON objects: RFC 7386 (merge), RFC 6902 (JSON patch) and Kubernetes' strategic merge patch.

All are pure: they return a new object and leave what they are given as it was. The strategic merge is the merge patch
with a schema: lists whose items have a merge key are merged item by item, and directives say what plain data can't:

* `$patch: delete | replace | merge` in an object or in an item of a list
* `$deleteFromPrimitiveList/NAME` beside a list of scalars: what to take out of it
* `$setElementOrder/NAME` beside a list: the order of its items afterwards
* `$retainKeys`: the fields of this object that may stay; the others go first

`apply_diff` computes such patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from orchestrator.api.apply_diff import three_way_patch
from orchestrator.api.encoding import JsonObject
from orchestrator.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from orchestrator.api.json_values import MAX_DEPTH, Identity, copy_json, same_json, scalar_identity
from orchestrator.api.kinds import KubeObject
from orchestrator.api.merge_schema import (
    DELETE_FROM_LIST,
    PATCH,
    RETAIN_KEYS,
    SET_ORDER,
    Fields,
    fields_of,
    sub_fields,
)

__all__ = ["json_patch", "merge_patch", "strategic_merge_patch", "three_way_patch"]

MAX_OPERATIONS = 10_000
MAX_COPIED = 100_000
"""Values that the copy operations of one JSON patch may copy in all: doubling a list thirty times is a short patch."""


def merge_patch(target: object, patch: object) -> JsonObject:
    """RFC 7386: objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        raise BadRequest("a merge patch must be a JSON object")
    return _merge(target, patch, 0)


def _merge(target: object, patch: Mapping[str, object], depth: int) -> JsonObject:
    _check_depth(depth)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = _merge(merged.get(key), value, depth + 1)
        else:
            merged[key] = copy_json(value)
    return merged


def strategic_merge_patch(message_class: type[KubeObject] | type[Message], target: object, patch: object) -> JsonObject:
    """The merge by the schema of `message_class`. BadRequest for directives and items that make no sense."""
    if not isinstance(patch, Mapping):
        raise BadRequest("a strategic merge patch must be a JSON object")
    base = target if isinstance(target, Mapping) else {}
    return _strategic(fields_of(message_class), base, patch, "", 0)


def _strategic(
    fields: Fields | None, target: Mapping[str, object], patch: Mapping[str, object], path: str, depth: int
) -> JsonObject:
    _check_depth(depth)
    match patch.get(PATCH):
        case None | "merge":
            merged = dict(target)
        case "replace":
            merged = {}
        case "delete":
            return {}
        case other:
            raise BadRequest(
                f'{path or "the patch"}: unknown directive "{PATCH}: {other}": use delete, replace or merge'
            )
    retained = patch.get(RETAIN_KEYS)
    if retained is not None:
        keys = _strings(retained, f"{path}.{RETAIN_KEYS}")
        merged = {key: value for key, value in merged.items() if key in keys}
    for key, value in patch.items():
        if key.startswith(DELETE_FROM_LIST):
            name = key.removeprefix(DELETE_FROM_LIST)
            gone = _list(value, f"{path}.{key}")
            if name in merged:
                merged[name] = _without(_list(merged[name], name), gone)
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            merged.pop(key, None)
        else:
            where = f"{path}.{key}" if path else key
            merged[key] = _strategic_value(fields, key, merged.get(key), value, where, depth)
    for key, value in patch.items():
        if key.startswith(SET_ORDER):
            name = key.removeprefix(SET_ORDER)
            if isinstance(merged.get(name), list):
                merge_key = fields[name].merge_key if fields is not None and name in fields else ""
                merged[name] = _ordered(_list(merged[name], name), _list(value, f"{path}.{key}"), merge_key)
    return merged


def _strategic_value(fields: Fields | None, key: str, target: object, value: object, path: str, depth: int) -> object:
    if isinstance(value, Mapping):
        base = target if isinstance(target, Mapping) else {}
        return _strategic(sub_fields(fields, key), base, value, path, depth + 1)
    merge_key = fields[key].merge_key if fields is not None and key in fields else ""
    if not isinstance(value, list) or not merge_key:
        return copy_json(value)
    base_items = target if isinstance(target, list) else []
    if merge_key == "-":
        return [*base_items, *_without(value, base_items)]
    return _merge_items(sub_fields(fields, key), merge_key, base_items, value, path, depth)


def _merge_items(
    fields: Fields | None, merge_key: str, target: Sequence[object], patch: Sequence[object], path: str, depth: int
) -> list[object]:
    replaced = any(isinstance(item, Mapping) and item.get(PATCH) == "replace" for item in patch)
    merged: list[object] = [] if replaced else list(target)
    places: dict[Identity, list[int]] = {}
    for index, item in enumerate(merged):
        places.setdefault(_identity(item, merge_key), []).append(index)
    deleted: set[int] = set()
    for item in patch:
        if not isinstance(item, Mapping):
            raise BadRequest(f"{path}: an item of this list must be an object")
        directive = item.get(PATCH)
        if directive == "replace" and len(item) == 1:
            continue
        key = _identity(item, merge_key)
        if key is None:
            raise BadRequest(f'{path}: an item does not contain the merge key "{merge_key}"')
        if directive == "delete":
            deleted.update(places.pop(key, ()))
            continue
        # The items of a list that is replaced as a whole are what they are, also when two have the same key.
        index = places[key][0] if key in places and not replaced else len(merged)
        base = merged[index] if index < len(merged) else {}
        assert isinstance(base, Mapping)
        result = _strategic(fields, base, item, f"{path}[{merge_key}={key[1]}]", depth + 1)
        if index < len(merged):
            merged[index] = result
        else:
            merged.append(result)
            places[key] = [index]
    return [item for index, item in enumerate(merged) if index not in deleted]


def _ordered(items: Sequence[object], order: Sequence[object], merge_key: str) -> list[object]:
    """Items that `order` names take the places of such items in that order; the others stay where they are."""
    ranks: dict[Identity, int] = {}
    for entry in order:
        ranks.setdefault(_identity(entry, merge_key), len(ranks))
    ranks.pop(None, None)
    listed = [item for item in items if _identity(item, merge_key) in ranks]
    listed.sort(key=lambda item: ranks[_identity(item, merge_key)])
    in_order = iter(listed)
    return [next(in_order) if _identity(item, merge_key) in ranks else item for item in items]


def _without(items: Sequence[object], gone: Sequence[object]) -> list[object]:
    unwanted = {scalar_identity(item) for item in gone}
    return [item for item in items if scalar_identity(item) not in unwanted]


def _identity(item: object, merge_key: str) -> Identity:
    """What tells an item from the others of its list; None when it has no such thing."""
    if isinstance(item, Mapping):
        return scalar_identity(item.get(merge_key))
    return scalar_identity(item) if merge_key in ("", "-") else None


def _strings(value: object, path: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"{path.lstrip('.')}: must be a list of strings")
    return frozenset(value)


def _list(value: object, path: str) -> list[object]:
    if not isinstance(value, list):
        raise BadRequest(f"{path.lstrip('.')}: must be a list")
    return value


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadRequest(f"the patch is nested more than {MAX_DEPTH} levels deep")


# RFC 6902


def json_patch(target: object, operations: object) -> JsonObject:
    """Carries out the operations in order; all or, by the error, none. Invalid when one does not fit the object."""
    if not isinstance(operations, list):
        raise BadRequest("a JSON patch must be a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    document = copy_json(target)
    budget = MAX_COPIED
    for number, operation in enumerate(operations):
        where = f"operation {number} of the JSON patch"
        if not isinstance(operation, Mapping):
            raise BadRequest(f"{where} must be an object")
        op = operation.get("op")
        path = _pointer(operation, "path", where)
        match op:
            case "add":
                document = _put(document, path, copy_json(_value(operation, where)), where, insert=True)
            case "replace":
                _get(document, path, where)
                document = _put(document, path, copy_json(_value(operation, where)), where, insert=False)
            case "remove":
                document = _remove(document, path, where)
            case "move":
                source = _pointer(operation, "from", where)
                if path[: len(source)] == source and path != source:
                    raise Invalid(f"{where}: can't move a value into itself")
                moved = _get(document, source, where)
                document = _put(_remove(document, source, where), path, moved, where, insert=True)
            case "copy":
                copied = _get(document, _pointer(operation, "from", where), where)
                budget -= _size(copied)
                if budget < 0:
                    raise RequestEntityTooLarge("the JSON patch copies too much")
                document = _put(document, path, copy_json(copied), where, insert=True)
            case "test":
                if not same_json(_get(document, path, where), _value(operation, where)):
                    raise Invalid(f"{where}: testing value {operation['path']} failed")
            case _:
                raise BadRequest(f'{where}: unknown op "{op}": use add, remove, replace, move, copy or test')
    if not isinstance(document, dict):
        raise Invalid("the JSON patch leaves something that is not an object")
    return document


def _pointer(operation: Mapping[str, object], name: str, where: str) -> list[str]:
    pointer = operation.get(name)
    if not isinstance(pointer, str):
        raise BadRequest(f'{where}: "{name}" must be a string')
    if pointer and not pointer.startswith("/"):
        raise BadRequest(f'{where}: "{name}" must begin with "/", not "{pointer}"')
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _value(operation: Mapping[str, object], where: str) -> object:
    if "value" not in operation:
        raise BadRequest(f'{where}: "value" is missing')
    return operation["value"]


def _get(document: object, path: Sequence[str], where: str) -> object:
    for depth, part in enumerate(path):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_position(part, len(document) - 1, where)]
        else:
            raise _missing(path[: depth + 1], where)
    return document


def _put(document: object, path: Sequence[str], value: object, where: str, *, insert: bool) -> object:
    if not path:
        return value
    parent = _get(document, path[:-1], where)
    last = path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif not isinstance(parent, list):
        raise _missing(path, where)
    elif insert:
        parent.insert(len(parent) if last == "-" else _position(last, len(parent), where), value)
    else:
        parent[_position(last, len(parent) - 1, where)] = value
    return document


def _remove(document: object, path: Sequence[str], where: str) -> object:
    _get(document, path, where)
    if not path:
        return None
    parent = _get(document, path[:-1], where)
    if isinstance(parent, dict):
        del parent[path[-1]]
    elif isinstance(parent, list):
        del parent[_position(path[-1], len(parent) - 1, where)]
    return document


def _position(part: str, highest: int, where: str) -> int:
    if not (part.isascii() and part.isdigit()) or len(part) > 9 or (part != "0" and part.startswith("0")):
        raise Invalid(f'{where}: "{part}" is not an index of a list')
    if int(part) > highest:
        raise Invalid(f"{where}: the index {part} is out of range")
    return int(part)


def _missing(path: Sequence[str], where: str) -> Invalid:
    return Invalid(f"{where}: there is nothing at /{'/'.join(path)}")


def _size(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(_size(item) for item in value.values())
    if isinstance(value, list):
        return 1 + sum(_size(item) for item in value)
    return 1 + (len(value) // 64 if isinstance(value, str) else 0)
