"""JSON to messages, by a plan for each message: from JSON name to a function that checks a value and sets the field.

A plan is made on first use; after that no descriptor is looked at. Decoding never guesses: a value of the wrong type
is a BadRequest that names the field, what it must be and what it is. Fields that don't exist are collected; the caller
of `decode` decides what becomes of them. `null` means absent.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api.errors import BadRequest
from orchestrator.api.plans import Plans
from orchestrator.api.schema import descriptor_of, list_field, map_value, names_its_kind, option
from orchestrator.api.timestamps import parse_timestamp
from orchestrator.api.v1 import options_pb2

Unknown: TypeAlias = Literal["strict", "warn", "ignore"]

MAX_DEPTH = 48
"""Messages within messages. protobuf itself refuses to read more than 100."""
MAX_UNKNOWN = 50
"""Unknown fields that are named; looking for what was meant takes time."""
MAX_FREE_FORM_DEPTH = 24
"""Levels of free-form JSON, which takes up to three messages a level."""

_Path: TypeAlias = "tuple[_Path, str | int] | None"
_Decode: TypeAlias = "Callable[[Any, object, _Path, _Context, int], None]"


def decode(message: Message, data: object, path: str, unknown: Unknown) -> tuple[str, ...]:
    """Fills an empty message from JSON; `path` is where it belongs, for error messages. Returns warnings."""
    context = _Context(unknown)
    _plan(descriptor_of(message)).decode(message, data, (None, path) if path else None, context, 0)
    context.finish()
    return tuple(context.warnings)


@dataclass(slots=True)
class _Context:
    """What one decoding gathers on its way."""

    unknown: Unknown
    warnings: list[str] = field(default_factory=list)
    more: int = 0

    def unknown_field(self, path: _Path, known: Mapping[str, object]) -> None:
        if self.unknown == "ignore":
            return
        assert path is not None
        if len(self.warnings) == MAX_UNKNOWN:
            self.more += 1
            return
        near = difflib.get_close_matches(str(path[1]), known, n=1, cutoff=0.6)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        self.warnings.append(f'unknown field "{_show(path)}"{hint}')

    def finish(self) -> None:
        if self.more:
            self.warnings.append(f"{self.more} more unknown fields")
        if self.unknown == "strict" and self.warnings:
            raise BadRequest(f"strict decoding error: {', '.join(self.warnings)}")


class _Plan:
    """How one message is decoded. Empty until `fill`, so that plans of messages within each other can refer to it."""

    __slots__ = ("_decoders",)

    def __init__(self) -> None:
        self._decoders: dict[str, _Decode] = {}

    def fill(self, descriptor: Descriptor) -> None:
        for each in descriptor.fields:
            self._decoders[each.json_name] = _decoder(each)

    def decode(self, message: Message, data: object, path: _Path, context: _Context, depth: int) -> None:
        if not isinstance(data, dict):
            raise _mistyped(path, "an object", data)
        if depth > MAX_DEPTH:
            raise BadRequest(f"{_show(path)}: nested more than {MAX_DEPTH} levels deep")
        decoders = self._decoders
        for name, value in data.items():
            decode_field = decoders.get(name)
            if decode_field is None:
                context.unknown_field((path, name), decoders)
            elif value is not None:
                decode_field(message, value, (path, name), context, depth)


_plan = Plans(_Plan, _Plan.fill).of


def _decoder(each: FieldDescriptor) -> _Decode:
    entry = map_value(each)
    if entry is not None:
        return _map_decoder(each, entry)
    if each.message_type is not None:
        return _message_decoder(each)
    name = each.name
    read = _scalar_reader(each)

    def decode_scalar(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        setattr(message, name, read(value, path))

    def decode_list(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        if not isinstance(value, list):
            raise _mistyped(path, "a list", value)
        getattr(message, name).extend([read(item, (path, index)) for index, item in enumerate(value)])

    return decode_list if each.is_repeated else decode_scalar


def _message_decoder(each: FieldDescriptor) -> _Decode:
    name = each.name
    fill = _filler(each)
    # The absence of a time is null, that of another part is written as an empty one.
    always = bool(option(each, options_pb2.always)) and cast(Descriptor, each.message_type).name != "Timestamp"

    def decode_one(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        part = getattr(message, name)
        part.SetInParent()
        fill(part, value, path, context, depth + 1)
        if always and not part.ListFields():
            message.ClearField(name)

    def decode_list(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        if not isinstance(value, list):
            raise _mistyped(path, "a list", value)
        parts = getattr(message, name)
        for index, item in enumerate(value):
            fill(parts.add(), item, (path, index), context, depth + 1)

    return decode_list if each.is_repeated else decode_one


def _map_decoder(each: FieldDescriptor, entry: FieldDescriptor) -> _Decode:
    name = each.name
    if entry.message_type is not None:
        return _message_map_decoder(name, _filler(entry))
    read = _scalar_reader(entry, quantity=bool(option(each, options_pb2.quantity)))
    empty = entry.default_value

    def decode_map(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        if not isinstance(value, dict):
            raise _mistyped(path, "an object", value)
        values = getattr(message, name)
        for key, item in value.items():
            key = _read_text(key, path)
            values[key] = empty if item is None else read(item, (path, f"[{key}]"))

    return decode_map


def _message_map_decoder(name: str, fill: _Decode) -> _Decode:
    def decode_map(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        if not isinstance(value, dict):
            raise _mistyped(path, "an object", value)
        values = getattr(message, name)
        for key, item in value.items():
            part = values[_read_text(key, path)]  # asking for it makes it
            if item is not None:
                fill(part, item, (path, f"[{key}]"), context, depth + 1)

    return decode_map


def _list_filler(own: FieldDescriptor) -> _Decode:
    """Fills a message whose JSON form is the list in its one field."""
    decode_items = _decoder(own)

    def fill(part: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        decode_items(part, value, path, context, depth)

    return fill


def _kind_filler(descriptor: Descriptor, named: tuple[str, str]) -> _Decode:
    """Fills a kind that is a part of another one. It may say what it is, and nothing else."""
    plan = _plan(descriptor)
    wanted = dict(zip(("apiVersion", "kind"), named, strict=True))

    def fill(part: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        if isinstance(value, dict):
            for key, word in wanted.items():
                if value.get(key) not in (None, "", word):
                    raise _mistyped((path, key), f'"{word}"', value[key])
            value = {key: item for key, item in value.items() if key not in wanted}
        plan.decode(part, value, path, context, depth)

    return fill


def _filler(each: FieldDescriptor) -> _Decode:
    """The function that fills an empty message of the field's type from JSON."""
    descriptor = cast(Descriptor, each.message_type)
    match descriptor.full_name:
        case "google.protobuf.Timestamp":
            micro = bool(option(each, options_pb2.micro_time))

            def fill_timestamp(part: Timestamp, value: object, path: _Path, context: _Context, depth: int) -> None:
                seconds_nanos = parse_timestamp(value, micro=micro) if isinstance(value, str) else None
                if seconds_nanos is None:
                    raise _mistyped(path, 'a time in RFC 3339 form, such as "2006-01-02T15:04:05Z"', value)
                part.seconds, part.nanos = seconds_nanos

            return fill_timestamp
        case "google.protobuf.Value":
            return _fill_int_or_string
        case "google.protobuf.Struct":
            return _fill_free_form
    own = list_field(descriptor)
    if own is not None:
        return _list_filler(own)
    named = names_its_kind(descriptor)
    return _kind_filler(descriptor, named) if named is not None else _plan(descriptor).decode


def _fill_int_or_string(part: Value, value: object, path: _Path, context: _Context, depth: int) -> None:
    if isinstance(value, str):
        part.string_value = _read_text(value, path)
    elif type(value) is int and -(2**31) <= value < 2**31:
        part.number_value = value
    else:
        raise _mistyped(path, "an integer or a string", value)


def _fill_free_form(part: Struct, value: object, path: _Path, context: _Context, depth: int) -> None:
    if not isinstance(value, dict):
        raise _mistyped(path, "an object", value)
    _fill_struct(part, value, path, 0)


def _fill_struct(part: Struct, value: Mapping[object, object], path: _Path, depth: int) -> None:
    for key, item in value.items():
        name = _read_text(key, path)
        _fill_value(part.fields[name], item, (path, name), depth + 1)


def _fill_value(part: Value, value: object, path: _Path, depth: int) -> None:
    if depth > MAX_FREE_FORM_DEPTH:
        raise BadRequest(f"{_show(path)}: nested more than {MAX_FREE_FORM_DEPTH} levels deep")
    match value:
        case None:
            part.null_value = 0  # type: ignore[assignment]
        case bool():
            part.bool_value = value
        case int() | float():
            part.number_value = value
        case str():
            part.string_value = _read_text(value, path)
        case dict():
            part.struct_value.SetInParent()
            _fill_struct(part.struct_value, value, path, depth)
        case list():
            part.list_value.CopyFrom(ListValue())
            for index, item in enumerate(value):
                _fill_value(part.list_value.values.add(), item, (path, index), depth + 1)
        case _:
            raise _mistyped(path, "JSON", value)


def _scalar_reader(each: FieldDescriptor, *, quantity: bool = False) -> Callable[[object, _Path], Any]:
    match each.type:
        case FieldDescriptor.TYPE_STRING:
            return _read_quantity if quantity or option(each, options_pb2.quantity) else _read_text
        case FieldDescriptor.TYPE_BOOL:
            return _read_bool
        case FieldDescriptor.TYPE_INT32:
            return _integer_reader(32)
        case FieldDescriptor.TYPE_INT64:
            return _integer_reader(64)
        case FieldDescriptor.TYPE_BYTES:
            return _read_bytes
    raise TypeError(f"{each.full_name}: a schema has strings, bools, int32, int64, bytes and messages")


def _read_text(value: object, path: _Path) -> str:
    if not isinstance(value, str):
        raise _mistyped(path, "a string", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"{_show(path)}: is not valid Unicode: {error.reason}") from None
    return value


def _read_quantity(value: object, path: _Path) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    if not isinstance(value, str):
        raise _mistyped(path, 'a quantity, such as "500m" or "64Mi"', value)
    return _read_text(value, path)


def _read_bool(value: object, path: _Path) -> bool:
    if not isinstance(value, bool):
        raise _mistyped(path, "true or false", value)
    return value


def _integer_reader(bits: int) -> Callable[[object, _Path], int]:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1

    def read(value: object, path: _Path) -> int:
        if type(value) is not int:
            raise _mistyped(path, "an integer", value)
        if not low <= value <= high:
            raise BadRequest(f"{_show(path)}: must be an integer between {low} and {high}, not {value}")
        return value

    return read


def _read_bytes(value: object, path: _Path) -> bytes:
    if not isinstance(value, str):
        raise _mistyped(path, "a base64 string", value)
    try:
        return base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{_show(path)}: must be base64: illegal data in a value of {len(value)} characters") from None


def _show(path: _Path) -> str:
    parts: list[str] = []
    while path is not None:
        path, segment = path
        parts.append(f"[{segment}]" if isinstance(segment, int) else _shortened(segment))
    text = ""
    for part in reversed(parts):
        text += part if not text or part.startswith("[") else f".{part}"
    return text or "the document"


def _shortened(text: str) -> str:
    return text if len(text) <= 256 else text[:253] + "..."


def _mistyped(path: _Path, wanted: str, value: object) -> BadRequest:
    return BadRequest(f"{_show(path)}: must be {wanted}, not {describe(value)}")


def describe(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return f"the integer {value}" if abs(value) < 10**30 else "a very large integer"
        case float():
            return f"the number {value}"
        case str():
            return f'the string "{value if len(value) <= 64 else value[:61] + "..."}"'
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return f"a {type(value).__name__}"
