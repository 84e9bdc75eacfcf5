"""Paths of fields, and sets of them, as `managedFields` writes them (FieldsV1).

A path is a tuple of elements, each in its written form: `f:name` a field, `k:{"name":"web"}` an item of a list by its
keys, `v:"text"` an item that is its own key. A set that has a path has the field itself; what is inside it are other
paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from orchestrator.api import errors

Path: TypeAlias = tuple[str, ...]
Paths: TypeAlias = frozenset[Path]
Tree: TypeAlias = dict[str, Any]

_ITSELF = "."
_KINDS = ("f:", "k:", "v:", "i:")
MAX_DEPTH = 128


def field(name: str) -> str:
    return f"f:{name}"


def keyed(keys: Mapping[str, object]) -> str:
    """An item of a list, by the fields that tell it from the others."""
    return "k:" + json.dumps(keys, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def valued(value: object) -> str:
    return "v:" + json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def to_tree(paths: Iterable[Path]) -> Tree:
    """FieldsV1 of a set: nested by element; "." where a field is in the set and something inside it too."""
    root: Tree = {}
    members = set(paths)
    for path in sorted(members):
        node = root
        for element in path:
            node = node.setdefault(element, {})
    for path in members:
        node = root
        for element in path:
            node = node[element]
        if node:
            node[_ITSELF] = {}
    return root


def from_tree(tree: Mapping[str, object]) -> Paths:
    """The set that FieldsV1 describes. Raises BadRequest."""
    found: set[Path] = set()
    _collect(tree, (), found)
    return frozenset(found)


def _collect(tree: object, path: Path, found: set[Path]) -> None:
    if not isinstance(tree, Mapping) or len(path) > MAX_DEPTH:
        raise errors.BadRequest(f"managedFields: fieldsV1 is not a tree of fields at {show(path)}")
    if path and (not tree or _ITSELF in tree):
        found.add(path)
    for element, inside in tree.items():
        if element == _ITSELF:
            continue
        if not element.startswith(_KINDS) or not _readable(element):
            raise errors.BadRequest(
                f"managedFields: fieldsV1 has an element {errors.show_value(element)} that means nothing"
            )
        _collect(inside, (*path, element), found)


def _readable(element: str) -> bool:
    """Whether what an element says of itself can be read: keys and values are JSON, an index is a number."""
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return True
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return kind == "v:" or isinstance(value, dict if kind == "k:" else int)


def with_parents(paths: Iterable[Path]) -> set[Path]:
    """The set with the fields that its fields are in."""
    found: set[Path] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path[:-1]
    return found


def show(path: Path) -> str:
    """The path as people write it: `.spec.containers[name="web"].image`."""
    shown = ""
    for element in path:
        kind, text = element[:2], element[2:]
        if kind == "f:":
            shown += f".{text}"
        elif kind == "k:":
            keys = json.loads(text)
            shown += "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in keys.items()) + "]"
        elif kind == "v:":
            shown += f"[={text}]"
        else:
            shown += f"[{text}]"
    return shown or "."
