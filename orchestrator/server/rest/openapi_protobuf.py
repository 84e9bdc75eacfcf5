"""The definitions of the OpenAPI document of version 2 in the protobuf form that kubectl asks for.

kubectl reads it before it sends a List, to see what is unknown in it, and for `explain --output=plaintext-openapiv2`;
it takes no other form. Only definitions are looked at there, so paths, which are most of the document, are left out.

The form is a message for each part of a document, with the numbers below. It is written by hand because it is small,
written once in the life of a process, and read by nobody here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from orchestrator.server.rest.json_bytes import dump

Json: TypeAlias = Mapping[str, Any]

ASKED: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
MEDIA_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""The name that clients ask for is none that they would read in an answer: no media type has an @."""

# Document.
_SWAGGER, _INFO, _PATHS, _DEFINITIONS = 1, 2, 8, 9
# Info.
_TITLE, _VERSION = 1, 2
# Schema.
_TEXTS: Final = {"$ref": 1, "format": 2, "title": 3, "description": 4}
_REQUIRED, _ADDITIONAL, _TYPE, _ITEMS, _PROPERTIES, _EXTENSION = 19, 21, 22, 23, 25, 31
# Any: its text as YAML, of which JSON is a part.
_AS_YAML: Final = 2
_LENGTH_DELIMITED: Final = 2


def encode(swagger: Json) -> bytes:
    """The protobuf form of a document of version 2, without its paths."""
    info = swagger["info"]
    return b"".join(
        (
            _text(_SWAGGER, swagger["swagger"]),
            _part(_INFO, _text(_TITLE, info["title"]) + _text(_VERSION, info["version"])),
            _part(_PATHS, b""),
            _part(_DEFINITIONS, _named_schemas(swagger["definitions"])),
        )
    )


def _schema(schema: Json) -> bytes:
    parts = [_text(number, schema[name]) for name, number in _TEXTS.items() if name in schema]
    parts += [_text(_REQUIRED, name) for name in schema.get("required", ())]
    if "additionalProperties" in schema:
        parts.append(_part(_ADDITIONAL, _part(1, _schema(schema["additionalProperties"]))))
    if "type" in schema:
        parts.append(_part(_TYPE, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_part(_ITEMS, _part(1, _schema(schema["items"]))))
    if "properties" in schema:
        parts.append(_part(_PROPERTIES, _named_schemas(schema["properties"])))
    for name, value in schema.items():
        if name.startswith("x-"):
            parts.append(_part(_EXTENSION, _text(1, name) + _part(2, _part(_AS_YAML, dump(value)))))
    return b"".join(parts)


def _named_schemas(schemas: Json) -> bytes:
    """A map, as it is written there: a list of names with their schemas."""
    named: Iterable[bytes] = (_text(1, name) + _part(2, _schema(schema)) for name, schema in schemas.items())
    return b"".join(_part(1, each) for each in named)


def _text(number: int, text: str) -> bytes:
    return _part(number, text.encode())


def _part(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
