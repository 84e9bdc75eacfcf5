"""What `apply` sends: the strategic merge patch that brings a live object to what its manifest says.

Three forms of the object decide: `original`, the manifest applied last time; `modified`, the manifest now; `current`,
the live object. What the manifest says is set where it differs from the live object; what only the last manifest said
is removed; everything else, set by defaulting, controllers or other people, stays. An empty patch: nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from orchestrator.api.encoding import JsonObject
from orchestrator.api.json_values import same_json, scalar_identity
from orchestrator.api.kinds import KubeObject
from orchestrator.api.merge_schema import (
    DELETE_FROM_LIST,
    PATCH,
    RETAIN_KEYS,
    SET_ORDER,
    Field,
    Fields,
    fields_of,
    sub_fields,
)
from orchestrator.api.quantity import QuantityError, parse_quantity

_Object = Mapping[str, object]


def three_way_patch(
    message_class: type[KubeObject] | type[Message], original: _Object, modified: _Object, current: _Object
) -> JsonObject:
    """The patch for `strategic_merge_patch`; empty when the live object already is what the manifest says."""
    return _object(fields_of(message_class), original, modified, current)


def _object(
    fields: Fields | None, original: _Object, modified: _Object, current: _Object, *, quantities: bool = False
) -> JsonObject:
    patch: JsonObject = {}
    for name, wanted in modified.items():
        field = fields.get(name) if fields is not None else None
        present = current.get(name)
        if wanted is None:
            if present is not None:
                patch[name] = None
        elif present is None:
            patch[name] = wanted
        elif isinstance(wanted, Mapping) and isinstance(present, Mapping):
            inner = _object(
                sub_fields(fields, name),
                _mapping(original.get(name)),
                wanted,
                present,
                quantities=field is not None and field.quantity,
            )
            if inner:
                patch[name] = _retaining(inner, wanted) if field is not None and field.retain_keys else inner
        elif isinstance(wanted, list) and isinstance(present, list) and field is not None and field.merge_key:
            patch |= _list(name, field, sub_fields(fields, name), _sequence(original.get(name)), wanted, present)
        elif not _same(wanted, present, quantity=quantities or (field is not None and field.quantity)):
            patch[name] = wanted
    for name in original:
        if name not in modified and current.get(name) is not None:
            patch[name] = None
    return patch


def _list(
    name: str,
    field: Field,
    fields: Fields | None,
    original: Sequence[object],
    modified: Sequence[object],
    current: Sequence[object],
) -> JsonObject:
    if field.merge_key == "-":
        return _scalars(name, original, modified, current)
    was = _by_key(original, field.merge_key)
    wanted = _by_key(modified, field.merge_key)
    present = _by_key(current, field.merge_key)
    if wanted is None or present is None:
        return _replaced(name, fields, modified, current)
    items: list[object] = []
    for key, item in wanted.items():
        if key not in present:
            items.append(item)
            continue
        inner = _object(fields, (was or {}).get(key, {}), item, present[key])
        if inner:
            inner[field.merge_key] = item[field.merge_key]
            items.append(_retaining(inner, item) if field.retain_keys else inner)
    items += [
        {PATCH: "delete", field.merge_key: item[field.merge_key]}
        for key, item in (was or {}).items()
        if key not in wanted and key in present
    ]
    kept = [key for key in present if key in wanted]
    if not items and kept == [key for key in wanted if key in present]:
        return {}
    order = {f"{SET_ORDER}{name}": [{field.merge_key: item[field.merge_key]} for item in wanted.values()]}
    return {**order, name: items} if items else dict(order)


def _replaced(name: str, fields: Fields | None, modified: Sequence[object], current: Sequence[object]) -> JsonObject:
    """For lists in which the merge key tells nothing: one port over TCP and UDP, say."""
    same = len(modified) == len(current) and all(
        isinstance(wanted, Mapping) and isinstance(present, Mapping) and not _object(fields, {}, wanted, present)
        for wanted, present in zip(modified, current, strict=True)
    )
    return {} if same else {name: [{PATCH: "replace"}, *modified]}


def _scalars(
    name: str, original: Sequence[object], modified: Sequence[object], current: Sequence[object]
) -> JsonObject:
    patch: JsonObject = {}
    present = {scalar_identity(item) for item in current}
    wanted = {scalar_identity(item) for item in modified}
    added = [item for item in modified if scalar_identity(item) not in present]
    removed = [item for item in original if scalar_identity(item) in present - wanted]
    if added:
        patch[name] = added
    if removed:
        patch[f"{DELETE_FROM_LIST}{name}"] = removed
    return patch


def _retaining(patch: JsonObject, wanted: _Object) -> JsonObject:
    return {RETAIN_KEYS: sorted(name for name, value in wanted.items() if value is not None), **patch}


def _by_key(items: Sequence[object], merge_key: str) -> dict[object, _Object] | None:
    """The items by their merge keys, in order; None when keys are missing or not unique."""
    found: dict[object, _Object] = {}
    for item in items:
        key = item.get(merge_key) if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(key, (str, int)) or key in found:
            return None
        found[key] = item
    return found


def _same(wanted: object, present: object, *, quantity: bool) -> bool:
    if same_json(wanted, present):
        return True
    if not quantity:
        return False
    try:
        return parse_quantity(str(wanted)) == parse_quantity(str(present))
    except QuantityError:
        return False


def _mapping(value: object) -> _Object:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []
