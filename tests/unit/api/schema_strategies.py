"""Hypothesis strategies for messages of the schema, made from their descriptors: whatever the schema says can be."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from orchestrator.api.encoding import encode
from orchestrator.api.schema import map_value, option
from orchestrator.api.timestamps import parse_timestamp
from orchestrator.api.v1 import options_pb2

_SHORT = st.text(max_size=6)
_INT32 = st.integers(-(2**31), 2**31 - 1)
_SECONDS = st.integers(
    *(found[0] for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z") if (found := parse_timestamp(text)))
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)  # -0.0 is shown as 0
    | _SHORT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_SHORT, inner, max_size=3),
    max_leaves=8,
)

_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: _SHORT,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=6),
}


@st.composite
def messages(draw: st.DrawFn, message_class: type[Message], depth: int = 6) -> Message:
    """A message with a few of its fields set, and so on inside."""
    message = message_class()
    _fill(draw, message, depth)
    return message


def _fill(draw: st.DrawFn, message: Any, depth: int) -> None:
    fields = list(message.DESCRIPTOR.fields)
    chosen = draw(st.lists(st.sampled_from(fields), max_size=5, unique_by=lambda each: each.number)) if fields else []
    for each in chosen:
        _set(draw, message, each, depth)


def _set(draw: st.DrawFn, message: Any, each: FieldDescriptor, depth: int) -> None:
    entry = map_value(each)
    if entry is not None:
        values = getattr(message, each.name)
        for key in draw(st.lists(_SHORT, max_size=3)):
            if entry.message_type is None:
                values[key] = draw(_SCALARS[entry.type])
            else:
                _set_inside(draw, values[key], entry, depth - 1)
    elif each.message_type is None:
        values = _SCALARS[each.type]
        if each.is_repeated:
            getattr(message, each.name).extend(draw(st.lists(values, max_size=3)))
        else:
            setattr(message, each.name, draw(values))
    elif each.is_repeated:
        for _ in range(draw(st.integers(0, 2)) if depth else 0):
            _set_inside(draw, getattr(message, each.name).add(), each, depth - 1)
    elif depth:
        part = getattr(message, each.name)
        part.SetInParent()
        _set_inside(draw, part, each, depth - 1)
        if option(each, options_pb2.always) and not part.ListFields():
            message.ClearField(each.name)  # shown like an absent one, and read back as one


def _set_inside(draw: st.DrawFn, part: Any, each: FieldDescriptor, depth: int) -> None:
    match part.DESCRIPTOR.full_name:
        case "google.protobuf.Timestamp":
            part.seconds = draw(_SECONDS)
            if option(each, options_pb2.micro_time):
                part.nanos = draw(st.integers(0, 999_999)) * 1000
        case "google.protobuf.Value":
            value = draw(_INT32 | _SHORT)
            if isinstance(value, int):
                part.number_value = value
            else:
                part.string_value = value
        case "google.protobuf.Struct":
            part.update(draw(st.dictionaries(_SHORT, json_values, max_size=3)))
        case _:
            _fill(draw, part, depth)
            assert isinstance(encode(part), dict)
