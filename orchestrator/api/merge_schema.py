"""What merging needs to know of the schema: for each field its merge key and what is inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from orchestrator.api.kinds import KubeObject
from orchestrator.api.schema import descriptor_of, map_value, option
from orchestrator.api.v1 import options_pb2

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM_LIST = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"


@dataclass(frozen=True, slots=True)
class Field:
    """One field, as merging sees it. `message` is what it, or each item of it, is; None for scalars and maps."""

    merge_key: str
    retain_keys: bool
    quantity: bool
    message: Descriptor | None


Fields: TypeAlias = Mapping[str, Field]

_FIELDS: dict[Descriptor, Fields] = {}


def fields_of(message_class: type[KubeObject] | type[Message]) -> Fields:
    """The fields of a message by their JSON names."""
    return _fields(descriptor_of(cast("type[Message]", message_class)))


def sub_fields(fields: Fields | None, name: str) -> Fields | None:
    """The fields inside the field `name`; None where the schema ends: maps, free-form JSON, unknown fields."""
    field = fields.get(name) if fields is not None else None
    return _fields(field.message) if field is not None and field.message is not None else None


def _fields(descriptor: Descriptor) -> Fields:
    found = _FIELDS.get(descriptor)
    if found is None:
        found = _FIELDS[descriptor] = {
            each.json_name: Field(
                merge_key=option(each, options_pb2.merge_key),
                retain_keys=option(each, options_pb2.retain_keys),
                quantity=option(each, options_pb2.quantity),
                message=None if map_value(each) is not None else _own(each.message_type),
            )
            for each in descriptor.fields
        }
    return found


def _own(descriptor: Descriptor | None) -> Descriptor | None:
    # protobuf's own messages (times, free-form JSON) are values here.
    return None if descriptor is None or descriptor.full_name.startswith("google.protobuf.") else descriptor
