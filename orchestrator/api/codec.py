"""Objects to JSON and back, by Kubernetes' rules, from the descriptors alone.

`encoding` and `decoding` hold the two halves for any message; here they meet the kinds, which add apiVersion and kind.
What either half emits, the other reads back to the same object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from orchestrator.api.decoding import Unknown, decode, describe
from orchestrator.api.encoding import JsonObject, encode
from orchestrator.api.errors import BadRequest
from orchestrator.api.kinds import KubeObject, as_message, kind_for, kind_of

__all__ = [
    "Decoded",
    "JsonObject",
    "Unknown",
    "from_json",
    "from_json_as",
    "part_to_json",
    "to_json",
    "unknown_fields",
]

_UNKNOWN_FIELDS: Mapping[str, Unknown] = {"": "warn", "Warn": "warn", "Strict": "strict", "Ignore": "ignore"}

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Decoded:
    """An object, and what was odd about its JSON without being an error."""

    obj: KubeObject
    warnings: tuple[str, ...] = ()


def unknown_fields(field_validation: str) -> Unknown:
    """What a request's fieldValidation wants done with unknown fields. Raises BadRequest."""
    if field_validation not in _UNKNOWN_FIELDS:
        raise BadRequest(f'invalid fieldValidation "{field_validation}": supported values: "Ignore", "Strict", "Warn"')
    return _UNKNOWN_FIELDS[field_validation]


def to_json(obj: KubeObject) -> JsonObject:
    """The JSON form of an object, apiVersion and kind first."""
    kind = kind_of(obj)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **encode(as_message(obj))}


def part_to_json(message: Message) -> JsonObject:
    """The JSON form of a part of an object, such as a PodSpec."""
    return encode(message)


def from_json(data: object, *, unknown: Unknown = "strict") -> Decoded:
    """The object that `data` describes; its apiVersion and kind say which it is.

    Raises UnknownKind for a kind that doesn't exist, BadRequest for everything else that can't be read. Fields that
    don't exist are an error, a warning or nothing, as `unknown` says.
    """
    if not isinstance(data, Mapping):
        raise BadRequest(f"an object must be a JSON object, not {describe(data)}")
    names = []
    for key in ("apiVersion", "kind"):
        name = data.get(key)
        if name is None or name == "":
            raise BadRequest(f'Object "{key}" is missing')
        if not isinstance(name, str):
            raise BadRequest(f"{key}: must be a string, not {describe(name)}")
        names.append(name)
    obj = kind_for(*names).message()
    body = {key: value for key, value in data.items() if key not in ("apiVersion", "kind")}
    return Decoded(obj, decode(as_message(obj), body, "", unknown))


def from_json_as(message_class: type[M], data: object, path: str = "", *, unknown: Unknown = "strict") -> M:
    """A part of an object; `path` is where it belongs, for error messages. apiVersion and kind are unknown fields."""
    message = message_class()
    decode(message, data, path, unknown)
    return message
