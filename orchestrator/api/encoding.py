"""Messages to JSON, by a plan for each message: from field number to JSON name and converter.

A plan is made on first use; after that no descriptor is looked at. What is absent or zero is left out, except fields
that the schema marks `always` and `optional` ones that are set. Keys of maps are sorted: equal objects have equal JSON.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct, Value

from orchestrator.api.plans import Plans
from orchestrator.api.schema import descriptor_of, list_field, map_value, names_its_kind, option
from orchestrator.api.timestamps import format_timestamp
from orchestrator.api.v1 import options_pb2

JsonObject: TypeAlias = dict[str, Any]
_Encode: TypeAlias = Callable[[Any], Any]


def encode(message: Message) -> JsonObject:
    """The JSON form of any message of the schema."""
    return _plan(descriptor_of(message)).encode(message)


class _Plan:
    """How one message is encoded. Empty until `fill`, so that plans of messages within each other can refer to it."""

    __slots__ = ("_always", "_encoders")

    def __init__(self) -> None:
        self._encoders: dict[int, tuple[str, _Encode | None]] = {}
        self._always: list[tuple[str, Callable[[], object]]] = []

    def fill(self, descriptor: Descriptor) -> None:
        for each in descriptor.fields:
            self._encoders[each.number] = (each.json_name, _encoder(each))
            if option(each, options_pb2.always):
                self._always.append((each.json_name, _zero(each)))

    def encode(self, message: Message) -> JsonObject:
        out: JsonObject = {}
        encoders = self._encoders
        for each, value in message.ListFields():
            name, convert = encoders[each.number]
            out[name] = value if convert is None else convert(value)
        for name, zero in self._always:
            if name not in out:
                out[name] = zero()
        return out


_plan = Plans(_Plan, _Plan.fill).of


def _encoder(each: FieldDescriptor) -> _Encode | None:
    """The converter of a whole field; None when protobuf's value is the JSON value."""
    entry = map_value(each)
    if entry is not None:
        convert_entry = _value_encoder(entry)
        if convert_entry is None:
            return lambda values: dict(sorted(values.items()))
        return lambda values: {key: convert_entry(values[key]) for key in sorted(values)}
    convert = _value_encoder(each)
    if not each.is_repeated:
        return convert
    if convert is None:
        return list
    return lambda values: [convert(value) for value in values]


def _value_encoder(each: FieldDescriptor) -> _Encode | None:
    """The converter of one value of the field."""
    if each.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode()
    descriptor = each.message_type
    if descriptor is None:
        return None
    match descriptor.full_name:
        case "google.protobuf.Timestamp":
            micro = bool(option(each, options_pb2.micro_time))
            return lambda value: format_timestamp(value.seconds, value.nanos, micro=micro)
        case "google.protobuf.Value":
            return _encode_value
        case "google.protobuf.Struct":
            return _encode_struct
    return _message_encoder(descriptor)


def _message_encoder(descriptor: Descriptor) -> _Encode:
    """The converter of a part that is one of the schema's own messages."""
    own = list_field(descriptor)
    if own is not None:
        name = own.name
        return lambda value: list(getattr(value, name))
    encode_part = _plan(descriptor).encode
    named = names_its_kind(descriptor)
    if named is None:
        return encode_part
    # A kind inside another one (a claim template) says what it is, as it does by itself.
    api_version, kind = named
    return lambda value: {"apiVersion": api_version, "kind": kind, **encode_part(value)}


def _encode_value(value: Value) -> object:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                return None
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _encode_struct(value.struct_value)
        case "list_value":
            return [_encode_value(item) for item in value.list_value.values]
        case _:
            return None


def _encode_struct(value: Struct) -> JsonObject:
    return {key: _encode_value(value.fields[key]) for key in sorted(value.fields)}


def _zero(each: FieldDescriptor) -> Callable[[], object]:
    """What an `always` field shows when it is absent."""
    descriptor = each.message_type
    if each.is_repeated:
        return dict if map_value(each) is not None else list
    if descriptor is None:
        zero = "" if each.type == FieldDescriptor.TYPE_BYTES else each.default_value
        return lambda: zero
    if descriptor.full_name == "google.protobuf.Timestamp":
        return lambda: None
    empty = GetMessageClass(descriptor)()
    return lambda: _plan(descriptor).encode(empty)
