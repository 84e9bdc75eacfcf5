"""Bodies in Kubernetes' own protobuf form, which kubectl and Go's typed clients send for the kinds they know.

Such a body is an envelope with the apiVersion and kind and, in it, the object by Kubernetes' field numbers, which are
not ours. The numbers are a table (`kubernetes_numbers.txt`, made by tools/kubernetes_numbers.py); from it come
descriptors, by which protobuf itself reads the bytes. What was read becomes the JSON that the same client would have
sent, and takes the way of every JSON body from there.
"""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from orchestrator.api import errors
from orchestrator.api.manifest import read_json
from orchestrator.api.schema import map_value

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\x00"
_PACKAGE: Final = "kubernetes"
_ENVELOPE: Final = "Envelope"
_GROUPS: Final[Mapping[str, str]] = {
    "": "core",
    "apps": "apps",
    "autoscaling": "autoscaling",
    "batch": "batch",
    "policy": "policy",
    "authentication.k8s.io": "authentication",
    "authorization.k8s.io": "authorization",
    "certificates.k8s.io": "certificates",
    "coordination.k8s.io": "coordination",
    "discovery.k8s.io": "discovery",
    "events.k8s.io": "events",
    "networking.k8s.io": "networking",
    "node.k8s.io": "node",
    "rbac.authorization.k8s.io": "rbac",
    "scheduling.k8s.io": "scheduling",
    "storage.k8s.io": "storage",
}
"""The packages of groups in the table."""
_SCALARS: Final = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
}


def read(body: bytes, ours: Callable[[str, str], Descriptor | None]) -> dict[str, Any]:
    """The JSON form of a body. `ours` gives our descriptor of an apiVersion and kind, None where we have none.

    Raises BadRequest.
    """
    if not body.startswith(MAGIC):
        raise errors.BadRequest(f"the request body is not {MEDIA_TYPE}: it does not begin as one")
    try:
        envelope: Any = _class(_ENVELOPE).FromString(body[len(MAGIC) :])
        version, kind = _text(envelope.type.apiVersion), _text(envelope.type.kind)
        message = _class(_table_name(version, kind)).FromString(envelope.raw)
    except KeyError:
        raise errors.BadRequest(f'no kind "{kind}" is registered for version "{version}" in protobuf') from None
    except DecodeError as error:
        raise errors.BadRequest(f"the request body can't be decoded: {error}") from error
    return {"apiVersion": version, "kind": kind, **_object(message, ours(version, kind))}


def _table_name(api_version: str, kind: str) -> str:
    if kind == "DeleteOptions":
        return "meta.v1.DeleteOptions"
    group, _, version = api_version.rpartition("/")
    return f"{_GROUPS[group]}.{version}.{kind}"


def _object(message: Message, ours: Descriptor | None) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    known = _by_json_name(ours) if ours is not None else {}
    for each, value in message.ListFields():
        own = known.get(each.name)
        if own is None and ours is not None and each.message_type is not None and not each.is_repeated:
            # Kubernetes has such fields inlined in JSON.
            shown.update(_object(value, ours))
            continue
        converted = _converted(each, value, own)
        if converted is not None:
            shown[each.name] = converted
    return shown


def _converted(each: FieldDescriptor, value: Any, own: FieldDescriptor | None) -> Any:
    """The JSON value of a field; None: it is as good as absent."""
    inner = own.message_type if own is not None else None
    entry = map_value(each)
    if entry is not None:
        inside = map_value(own) if own is not None else None
        below = inside.message_type if inside is not None else None
        return {_text(key): _one(entry, value[key], below) for key in value}
    if each.is_repeated:
        return [_one(each, item, inner) for item in value]
    return _one(each, value, inner)


def _one(each: FieldDescriptor, value: Any, ours: Descriptor | None) -> Any:
    if each.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    if each.type == FieldDescriptor.TYPE_STRING:
        return _text(value)
    if each.message_type is None:
        return value
    special = _SPECIAL.get(each.message_type.name)
    return special(value) if special is not None else _object(value, ours)


def _text(value: str | bytes) -> str:
    """A text. Bytes that are no UTF-8 stay bytes in this form of protobuf."""
    if isinstance(value, bytes):
        raise errors.BadRequest("the request body has a text that is not UTF-8")
    return value


def _time(value: Any) -> str | None:
    if not value.HasField("seconds"):
        return None
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    except OverflowError as error:
        raise errors.BadRequest(f"the request body has a time that is none: {error}") from error
    return moment.isoformat().replace("+00:00", "Z")


def _int_or_string(value: Any) -> int | str:
    text: int | str = _text(value.strVal) if value.type == 1 else value.intVal
    return text


def _raw_json(value: Any) -> Any:
    raw: bytes = next((each for _, each in value.ListFields()), b"")
    return read_json(raw, "a part of the request body") if raw else None


_SPECIAL: Final[Mapping[str, Callable[[Any], Any]]] = {
    "meta_v1_Time": _time,
    "meta_v1_MicroTime": _time,
    "api_resource_Quantity": lambda value: _text(value.string),
    "util_intstr_IntOrString": _int_or_string,
    "meta_v1_FieldsV1": _raw_json,
    "runtime_RawExtension": _raw_json,
    "authentication_v1_ExtraValue": lambda value: [_text(each) for each in value.items],
    "authorization_v1_ExtraValue": lambda value: [_text(each) for each in value.items],
    "certificates_v1_ExtraValue": lambda value: [_text(each) for each in value.items],
}


@cache
def _by_json_name(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    return {each.json_name: each for each in descriptor.fields}


# Descriptors out of the table.


@cache
def _class(name: str) -> type[Message]:
    """The message of a name in the table. Raises KeyError."""
    return GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{_identifier(name)}"))


@cache
def _pool() -> DescriptorPool:
    file = FileDescriptorProto(name="kubernetes.proto", package=_PACKAGE, syntax="proto2")
    message: DescriptorProto | None = None
    for line in _lines():
        if not line.startswith(" "):
            message = file.message_type.add(name=_identifier(line))
            continue
        assert message is not None
        number, name, *words = line.split()
        _add_field(message, int(number), name, words)
    pool = DescriptorPool()
    pool.Add(file)
    return pool


def _lines() -> Iterator[str]:
    text = importlib.resources.files("orchestrator.server.rest").joinpath("kubernetes_numbers.txt").read_text()
    yield from text.splitlines()
    yield from (_ENVELOPE, " 1 type TypeMeta", " 2 raw bytes", " 3 contentEncoding string", " 4 contentType string")
    yield from ("TypeMeta", " 1 apiVersion string", " 2 kind string")


def _add_field(message: DescriptorProto, number: int, name: str, words: list[str]) -> None:
    field = message.field.add(name=name, number=number, json_name=name)
    field.label = FieldDescriptorProto.LABEL_OPTIONAL
    if words[0] == "map":
        entry = message.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")
        entry.options.map_entry = True
        _add_field(entry, 1, "key", ["string"])
        _add_field(entry, 2, "value", words[1:])
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
        return
    if words[0] == "list":
        field.label = FieldDescriptorProto.LABEL_REPEATED
        words = words[1:]
    if words[0] in _SCALARS:
        field.type = _SCALARS[words[0]]
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{_identifier(words[0])}"


def _identifier(name: str) -> str:
    return name.replace(".", "_")
