"""Objects to JSON and back, by Kubernetes' rules, from the descriptors alone.

For each message a plan is made once, on first use: for encoding a table from field number to JSON name and converter,
for decoding one from JSON name to a function that checks a value and sets the field. After that no descriptor is looked
at, since every object that passes the REST door or the command line comes through here.

Encoding leaves out what is absent or zero, except fields that are marked `always` and `optional` ones that are set.
Decoding never guesses: a value of the wrong type is a BadRequest that names the field, what it must be and what it is.
Fields that don't exist are an error, a warning or nothing, as the caller wishes; `null` means absent. What either side
emits, the other reads back to the same object.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api.errors import BadRequest
from orchestrator.api.kinds import KubeObject, as_message, kind_for, kind_of
from orchestrator.api.timestamps import format_timestamp, parse_timestamp
from orchestrator.api.v1 import options_pb2

JsonObject: TypeAlias = dict[str, Any]
Unknown: TypeAlias = Literal["strict", "warn", "ignore"]
M = TypeVar("M", bound=Message)

MAX_DEPTH = 48
"""Messages within messages. protobuf itself refuses to read more than 100."""
MAX_FREE_FORM_DEPTH = 24
"""Levels of free-form JSON, which takes up to three messages a level."""

_Path: TypeAlias = "tuple[_Path, str | int] | None"
_Encode: TypeAlias = Callable[[Any], Any]
_Decode: TypeAlias = "Callable[[Any, object, _Path, _Context, int], None]"


@dataclass(frozen=True, slots=True)
class Decoded:
    """An object, and what was odd about its JSON without being an error."""

    obj: KubeObject
    warnings: tuple[str, ...] = ()


def to_json(obj: KubeObject) -> JsonObject:
    """The JSON form of an object, apiVersion and kind first."""
    kind = kind_of(obj)
    message = as_message(obj)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **_plan(_descriptor(message)).encode(message)}


def part_to_json(message: Message) -> JsonObject:
    """The JSON form of a part of an object, such as a PodSpec."""
    return _plan(_descriptor(message)).encode(message)


def from_json(data: object, *, unknown: Unknown = "strict") -> Decoded:
    """The object that `data` describes; its apiVersion and kind say which it is.

    Raises UnknownKind for a kind that doesn't exist, BadRequest for everything else that can't be read.
    """
    if not isinstance(data, Mapping):
        raise BadRequest(f"an object must be a JSON object, not {_describe(data)}")
    names = []
    for key in ("apiVersion", "kind"):
        name = data.get(key)
        if name is None or name == "":
            raise BadRequest(f'Object "{key}" is missing')
        if not isinstance(name, str):
            raise BadRequest(f"{key}: must be a string, not {_describe(name)}")
        names.append(name)
    kind = kind_for(*names)
    obj = kind.message()
    context = _Context(unknown)
    body = {key: value for key, value in data.items() if key not in ("apiVersion", "kind")}
    _plan(kind.descriptor).decode(as_message(obj), body, None, context, 0)
    context.finish()
    return Decoded(obj, tuple(context.warnings))


def from_json_as(message_class: type[M], data: object, path: str = "", *, unknown: Unknown = "strict") -> M:
    """A part of an object; `path` is where it belongs, for error messages. An apiVersion and kind are unknown fields."""
    message = message_class()
    context = _Context(unknown)
    _plan(_descriptor(message)).decode(message, data, (None, path) if path else None, context, 0)
    context.finish()
    return message


@dataclass(slots=True)
class _Context:
    """What one decoding gathers on its way."""

    unknown: Unknown
    warnings: list[str] = field(default_factory=list)

    def unknown_field(self, path: _Path, known: Mapping[str, object]) -> None:
        if self.unknown == "ignore":
            return
        assert path is not None
        near = difflib.get_close_matches(str(path[1]), known, n=1, cutoff=0.6)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        self.warnings.append(f'unknown field "{_show(path)}"{hint}')

    def finish(self) -> None:
        if self.unknown == "strict" and self.warnings:
            raise BadRequest(f"strict decoding error: {', '.join(self.warnings)}")


class _Plan:
    """How one message is encoded and decoded."""

    __slots__ = ("_always", "_decoders", "_encoders")

    def __init__(self, descriptor: Descriptor) -> None:
        self._encoders: dict[int, tuple[str, _Encode | None]] = {}
        self._decoders: dict[str, _Decode] = {}
        self._always: list[tuple[str, Callable[[], object]]] = []
        for each in descriptor.fields:
            self._encoders[each.number] = (each.json_name, _encoder(each))
            self._decoders[each.json_name] = _decoder(each)
            if _option(each, options_pb2.always):
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

    def decode(self, message: Message, data: object, path: _Path, context: _Context, depth: int) -> None:
        if not isinstance(data, dict):
            raise _mistyped(path, "an object", data)
        if depth > MAX_DEPTH:
            raise BadRequest(f"{_show(path)}: nested more than {MAX_DEPTH} levels deep")
        decoders = self._decoders
        for name, value in data.items():
            decode = decoders.get(name)
            if decode is None:
                context.unknown_field((path, name), decoders)
            elif value is not None:
                decode(message, value, (path, name), context, depth)


@cache
def _plan(descriptor: Descriptor) -> _Plan:
    return _Plan(descriptor)


# Encoding


def _encoder(each: FieldDescriptor) -> _Encode | None:
    """The converter of a whole field; None when protobuf's value is the JSON value."""
    entry = _map_value(each)
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
            micro = bool(_option(each, options_pb2.micro_time))
            return lambda value: format_timestamp(value.seconds, value.nanos, micro=micro)
        case "google.protobuf.Value":
            return _encode_value
        case "google.protobuf.Struct":
            return _encode_struct

    def encode(value: Message) -> JsonObject:
        return _plan(descriptor).encode(value)

    return encode


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
        return dict if _map_value(each) is not None else list
    if descriptor is None:
        zero = "" if each.type == FieldDescriptor.TYPE_BYTES else each.default_value
        return lambda: zero
    match descriptor.full_name:
        case "google.protobuf.Timestamp":
            return lambda: None
        case "google.protobuf.Value":
            return lambda: 0
    empty = GetMessageClass(descriptor)()
    return lambda: _plan(descriptor).encode(empty)


# Decoding


def _decoder(each: FieldDescriptor) -> _Decode:
    entry = _map_value(each)
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
    always = bool(_option(each, options_pb2.always))

    def decode_one(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        if always and value == {}:
            return  # that is how its absence was written
        part = getattr(message, name)
        part.SetInParent()
        fill(part, value, path, context, depth + 1)

    def decode_list(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        if not isinstance(value, list):
            raise _mistyped(path, "a list", value)
        parts = getattr(message, name)
        for index, item in enumerate(value):
            fill(parts.add(), item, (path, index), context, depth + 1)

    return decode_list if each.is_repeated else decode_one


def _map_decoder(each: FieldDescriptor, entry: FieldDescriptor) -> _Decode:
    name = each.name
    read = _scalar_reader(entry, quantity=bool(_option(each, options_pb2.quantity)))
    empty = entry.default_value

    def decode_map(message: Any, value: object, path: _Path, context: _Context, depth: int) -> None:
        if not isinstance(value, dict):
            raise _mistyped(path, "an object", value)
        values = getattr(message, name)
        for key, item in value.items():
            key = _read_text(key, path)
            values[key] = empty if item is None else read(item, (path, f"[{key}]"))

    return decode_map


def _filler(each: FieldDescriptor) -> _Decode:
    """The function that fills an empty message of the field's type from JSON."""
    descriptor = cast(Descriptor, each.message_type)
    match descriptor.full_name:
        case "google.protobuf.Timestamp":
            micro = bool(_option(each, options_pb2.micro_time))

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

    def fill(part: Message, value: object, path: _Path, context: _Context, depth: int) -> None:
        _plan(descriptor).decode(part, value, path, context, depth)

    return fill


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
            return _read_quantity if quantity or _option(each, options_pb2.quantity) else _read_text
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


# Both


def _descriptor(message: Message) -> Descriptor:
    return cast(Descriptor, message.DESCRIPTOR)


def _map_value(each: FieldDescriptor) -> FieldDescriptor | None:
    """For a map field, the field that its values have in the entries."""
    entry = each.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["value"]


def _option(each: FieldDescriptor, option: Any) -> Any:
    return each.GetOptions().Extensions[option]


def _show(path: _Path) -> str:
    parts: list[str] = []
    while path is not None:
        path, segment = path
        parts.append(f"[{segment}]" if isinstance(segment, int) else segment)
    text = ""
    for part in reversed(parts):
        text += part if not text or part.startswith("[") else f".{part}"
    return text or "the document"


def _mistyped(path: _Path, wanted: str, value: object) -> BadRequest:
    return BadRequest(f"{_show(path)}: must be {wanted}, not {_describe(value)}")


def _describe(value: object) -> str:
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
