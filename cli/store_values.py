"""What is stored under a key, in a form people read: objects as documents, texts as texts, anything else as base64."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from orchestrator.api.codec import to_json
from orchestrator.api.errors import BadRequest
from orchestrator.api.kinds import kind_of, unwrap
from orchestrator.api.v1 import Object
from orchestrator.store import KeyValue

if TYPE_CHECKING:
    from cli.jsonpath import Json

HEX_LINE = 16


def readable(item: KeyValue) -> Json:
    """The object in a value, with the version it is given out with; else its text; else its bytes in base64."""
    found = _object(item)
    if found is not None:
        return found
    try:
        text = item.value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(item.value).decode()
    return text if text.replace("\n", "").isprintable() else base64.b64encode(item.value).decode()


def described(item: KeyValue, value: Json) -> Json:
    """A key with all that the store knows of it."""
    return {
        "key": item.key,
        "createRevision": item.create_revision,
        "modRevision": item.mod_revision,
        "lease": item.lease,
        "size": len(item.value),
        "value": value,
    }


def hex_dump(value: bytes) -> str:
    """Offset, bytes, and the characters among them, sixteen to the line."""
    lines = []
    for offset in range(0, len(value), HEX_LINE):
        part = value[offset : offset + HEX_LINE]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{offset:08x}  {part.hex(' '):<{HEX_LINE * 3 - 1}}  {shown}\n")
    return "".join(lines)


def _object(item: KeyValue) -> Json:
    """Only under the key of a kind is an object expected: short texts pass for protobuf now and then."""
    try:
        obj = unwrap(Object.FromString(item.value))
    except (DecodeError, BadRequest):
        return None
    kind = kind_of(obj)
    if not item.key.startswith(f"/{kind.resource}/"):
        return None
    obj.metadata.resource_version = str(item.mod_revision)
    return to_json(obj)
