"""JSON values as values: equal, copied, told apart. `true` is not `1` here (Python thinks so), and `1` is `1.0`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from orchestrator.api.errors import BadRequest

MAX_DEPTH = 100
"""Lists and objects within each other. The schema's own messages come to a dozen."""

Identity: TypeAlias = "tuple[str, str | int | float | bool] | None"


def scalar_identity(value: object) -> Identity:
    """A key under which equal JSON scalars, and only they, meet; None for everything that is not a scalar."""
    match value:
        case bool():
            return "bool", value
        case int() | float():
            return "number", value
        case str():
            return "string", value
    return None


def same_json(one: object, other: object) -> bool:
    """Whether two JSON values are the same."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return one == other


def copy_json(value: object, depth: int = 0) -> object:
    """A copy that shares nothing with the original; BadRequest when it is nested too deeply."""
    if depth > MAX_DEPTH:
        raise BadRequest(f"a value is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {key: copy_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item, depth + 1) for item in value]
    return value
