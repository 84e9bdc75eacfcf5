"""Objects of the schema as chance makes them, and damage to values, texts and bytes.

Everything is drawn from one `random.Random`: a seed makes the same things again, and hypothesis can shrink what it
draws by giving a random of its own.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import yaml
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from orchestrator.api.kinds import Kind
from orchestrator.api.schema import map_value, names_its_kind, option
from orchestrator.api.v1 import options_pb2
from tests.unit.api.smallest_objects import LABELS, POD, SMALLEST, TEMPLATE

Json = dict[str, Any]

NAMES: Final = ("a", "b", "web", "default")
TEXTS: Final[Sequence[str]] = (
    "", "a", "b", "web", "default", "main", "app", "n1", "..", ".", "../x", "a/b", "a%2fb", "%", "%00", "\0", "\n", " ",
    "a b", "-", "A", "é", "日本", "\u202e", "\ufffe", "😀", "x" * 64, "x" * 254, "y" * 5000, "é" * 300, "-1", "0", "1",
    "80", "65536", "9" * 30, "1e999999", "NaN", "Infinity", "0x10", "1Gi", "100m", "-5", "1e400", ".", "1" * 400,
    "2006-01-02T15:04:05Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
    "2006-13-45T99:99:99Z", "10.96.0.1", "10.0.0.300", "::1", "fe80::1%eth0", "10.0.0.0/99", "*", "*.a", "$(A)", "$(",
    "(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "true", "null", "~", "None", "All", "Orphan", "Always", "Never",
    "TCP", "ClusterIP", "NodePort", "ExternalName", "Recreate", "RollingUpdate", "50%", "999999999999%", "v1", "Pod",
    "apps/v1", "kubernetes.io/x", "a/b/c", "=", ",", "a=b", "!a", "a in (b,c)", "metadata.name=a", "* * * * *",
    "@every 1ns", "TZ=../../etc/passwd * * * * *", "spec.nodeName", "metadata.labels['a']", "AAAA", "====",
    "foregroundDeletion", "orphan", "In", "NotIn", "Exists", "$patch", "{}", "[]", '"', "\\", "<<", "&a", "*a", "!!x",
)  # fmt: skip
NUMBERS: Final[Sequence[int | float]] = (
    0, 1, -1, 2, 80, 443, 1000, 65535, 65536, 2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**63 - 1, 2**63, -(2**63),
    -(2**63) - 1, 10**40, 1.5, -0.5, 1e308, -0.0, float("inf"), float("nan"), 30000, 100,
)  # fmt: skip
DIRECTIVES: Final[Sequence[tuple[str, Any]]] = (
    ("$patch", "delete"), ("$patch", "replace"), ("$patch", "merge"), ("$patch", "x"), ("$patch", {}),
    ("$retainKeys", ["name"]), ("$retainKeys", 3), ("$deleteFromPrimitiveList/finalizers", ["a"]),
    ("$setElementOrder/containers", [{"name": "a"}, "b", None]), ("$setElementOrder/", [[]]),
)  # fmt: skip
_ORDINARY: Final[dict[str, Json]] = {
    "pods": {"spec": POD},
    "configmaps": {"data": {"a": "1"}},
    "secrets": {"data": {"a": "MQ=="}},
    "services": {"spec": {"selector": LABELS, "ports": [{"name": "http", "port": 80}]}},
    "nodes": {"spec": {"podCIDR": "10.1.0.0/24"}},
    "events": {"involvedObject": {"kind": "Pod", "namespace": "default", "name": "web"}, "reason": "A", "message": "b"},
    "deployments.apps": {"spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
    "replicasets.apps": {"spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
    "leases.coordination.k8s.io": {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 10}},
    "endpointslices.discovery.k8s.io": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]},
}


_OWNER: Final[Json] = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u"}
_METADATA: Final[dict[str, Sequence[Any]]] = {
    "labels": ({"app": "web"}, {"a/b": "c"}, {"a" * 64: ""}, {"a": "b" * 64}, {"": ""}),
    "annotations": ({"a": "b" * 5000}, {"a/b/c": ""}, {"kubectl.kubernetes.io/last-applied-configuration": "{"}),
    "finalizers": (["a/b"], ["a"], ["orphan"], ["foregroundDeletion", "orphan"], ["é/\n"], ["a/b", "a/b"]),
    "ownerReferences": ([_OWNER], [_OWNER, _OWNER], [{**_OWNER, "controller": True}] * 2, [{}]),
    "managedFields": (
        [{}],
        [
            {
                "manager": "a",
                "operation": "Update",
                "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:a": {}},
            }
        ],
        [{"manager": "a", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"k:{": {"v:": 1}, ".": []}}],
        [{"manager": "é", "operation": "x", "time": "2006-01-02T15:04:05Z", "fieldsV1": {"i:-1": {"f:": {"f:": {}}}}}],
    ),
    "resourceVersion": ("0", "1", "-1", "x", "9" * 30, str(2**64)),
    "uid": ("", "u", "x" * 300),
    "generateName": ("a-", "A", "x" * 300, ""),
    "deletionTimestamp": ("2006-01-02T15:04:05Z",),
    "deletionGracePeriodSeconds": (0, -1, 2**62),
    "creationTimestamp": ("0001-01-01T00:00:00Z", None),
    "generation": (-1, 2**62),
    "selfLink": ("x",),
}


def text(rng: random.Random) -> str:
    """A text; some have characters of all sorts, a few halves of characters."""
    chance = rng.random()
    if chance < 0.93:
        return rng.choice(TEXTS)
    others = (0xD800, 0x1F600) if chance > 0.995 else (0x1F600, 0x301)
    return "".join(chr(rng.choice((rng.randrange(128), rng.randrange(0x250), *others))) for _ in range(6))


def anything(rng: random.Random, depth: int = 3) -> Any:
    """Any JSON value, and numbers that are none."""
    choice = rng.random()
    if choice < 0.45 or depth == 0:
        return text(rng)
    if choice < 0.65:
        return rng.choice(NUMBERS)
    if choice < 0.8:
        return rng.choice((None, True, False))
    if choice < 0.9:
        return [anything(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {text(rng): anything(rng, depth - 1) for _ in range(rng.randrange(4))}


def valid(rng: random.Random, kind: Kind, name: str) -> Json:
    """An object of the kind that can be created, as far as one is known."""
    body = copy.deepcopy(SMALLEST.get(kind.resource) or _ORDINARY.get(kind.resource) or {})
    metadata: Json = {"name": name}
    if kind.namespaced:
        metadata["namespace"] = "default"
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **body}


def by_schema(rng: random.Random, kind: Kind, name: str) -> Json:
    """An object of the kind with fields that the schema has, whatever is in them."""
    made = _message(rng, kind.descriptor, 5)
    metadata = made.get("metadata")
    made["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "name": name}
    if kind.namespaced:
        made["metadata"]["namespace"] = "default"
    return {"apiVersion": kind.api_version, "kind": kind.kind, **made}


def an_object(rng: random.Random, kind: Kind, name: str) -> Json:
    """A valid object, one by the schema, or one of both; most of them damaged a little."""
    made = valid(rng, kind, name)
    chance = rng.random()
    if chance < 0.15:
        made = {**by_schema(rng, kind, name), **made}
    elif chance < 0.3:
        made = _merged(made, by_schema(rng, kind, name))
    elif chance < 0.45:
        made["metadata"].update(_few(rng, _METADATA))
    for _ in range(rng.choice((0, 0, 1, 1, 1, 4))):
        made = damaged(rng, made)
    if rng.random() < 0.9:
        made.update(apiVersion=kind.api_version, kind=kind.kind)
        if isinstance(made.get("metadata"), dict):
            made["metadata"]["name"] = name
    return made


def _few(rng: random.Random, fields: Json) -> Json:
    names = rng.sample(sorted(fields), rng.randrange(1, 4))
    return {name: copy.deepcopy(rng.choice(fields[name])) for name in names}


def damaged(rng: random.Random, value: Any) -> Any:
    """The value with one change somewhere."""
    value = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []
    _collect(value, places)
    if not places:
        return anything(rng)
    holder, key = rng.choice(places)
    match rng.randrange(8):
        case 0 | 1 | 2:
            holder[key] = anything(rng)
        case 3:
            del holder[key]
        case 4:
            holder[key] = [holder[key]] * rng.choice((1, 2, 100))
        case 5:
            holder[key] = {text(rng): holder[key]}
        case 6 if isinstance(holder, dict):
            holder[text(rng)] = holder.pop(key)
        case _ if isinstance(holder, dict):
            name, directive = rng.choice(DIRECTIVES)
            holder[name] = directive
    return value


def mangled(rng: random.Random, raw: bytes) -> bytes:
    """The bytes with a few of them changed, gone, repeated or put in."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes((rng.randrange(256),))
            case 1:
                del data[at : at + rng.randrange(1, 20)]
            case 2:
                data[at:at] = rng.choice(_TOKENS)
            case 3:
                data[at:at] = data[at : at + rng.randrange(1, 50)] * rng.choice((1, 2, 50))
            case 4:
                del data[at:]
            case _:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(data)


def as_json(value: Any) -> bytes:
    """JSON, with NaN, Infinity and halves of characters where the value has them."""
    return json.dumps(value).encode()


def as_yaml(value: Any) -> bytes:
    """YAML, aliases and all."""
    dumped: str = yaml.safe_dump(value, allow_unicode=False)
    return dumped.encode("utf-8", "surrogatepass")


def a_message(rng: random.Random, message_class: Callable[[], Message], depth: int = 5) -> Message:
    """A message with a few of its fields set, and so on inside."""
    message = message_class()
    _fill(rng, message, depth)
    return message


def _merged(one: Json, other: Json) -> Json:
    merged = dict(one)
    for key, value in other.items():
        mine = merged.get(key)
        merged[key] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else mine or value
    return merged


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            _collect(value[key], places)


def _message(rng: random.Random, descriptor: Descriptor, depth: int) -> Json:
    fields = list(descriptor.fields)
    if not fields:
        return {}
    chosen = rng.sample(fields, min(len(fields), rng.randrange(1, 4)))
    return {each.json_name: _field(rng, each, depth - 1) for each in chosen}


def _field(rng: random.Random, each: FieldDescriptor, depth: int) -> Any:
    entry = map_value(each)
    if entry is not None:
        return {text(rng): _single(rng, entry, depth) for _ in range(rng.randrange(1, 3))}
    if each.is_repeated:
        return [_single(rng, each, depth) for _ in range(rng.randrange(1, 3))]
    return _single(rng, each, depth)


def _single(rng: random.Random, each: FieldDescriptor, depth: int) -> Any:
    if rng.random() < 0.02:
        return anything(rng)
    inner = each.message_type
    if inner is None:
        match each.type:
            case FieldDescriptor.TYPE_BOOL:
                return rng.random() < 0.5
            case FieldDescriptor.TYPE_INT32 | FieldDescriptor.TYPE_INT64:
                return rng.choice([number for number in NUMBERS if isinstance(number, int)])
            case FieldDescriptor.TYPE_BYTES:
                return rng.choice(("", "MQ==", "AAAA", "=", "é", "LS0tLS1CRUdJTg=="))
        if option(each, options_pb2.quantity):
            return rng.choice(("1", "1Gi", "100m", "-1", "1e400", "", "1.5.5", 3, "9" * 40))
        return text(rng)
    match inner.full_name:
        case "google.protobuf.Timestamp":
            return rng.choice([each for each in TEXTS if each[:1].isdigit()])
        case "google.protobuf.Value":
            return rng.choice((80, "http", "50%", -1, 2**31, "", 1.5))
        case "google.protobuf.Struct":
            return anything(rng)
    if names_its_kind(inner) is not None or depth <= 0:
        return {}
    return _message(rng, inner, depth)


def _fill(rng: random.Random, message: Any, depth: int) -> None:
    fields = list(message.DESCRIPTOR.fields)
    for each in rng.sample(fields, min(len(fields), rng.randrange(5))):
        entry = map_value(each)
        if entry is not None:
            for _ in range(rng.randrange(3)):
                if entry.message_type is None:
                    getattr(message, each.name)[encodable(rng)] = _scalar(rng, entry)
                else:
                    _fill(rng, getattr(message, each.name)[encodable(rng)], depth - 1)
        elif each.message_type is None and each.is_repeated:
            getattr(message, each.name).extend(_scalar(rng, each) for _ in range(rng.randrange(3)))
        elif each.message_type is None:
            setattr(message, each.name, _scalar(rng, each))
        elif depth > 0:
            for _ in range(rng.randrange(3) if each.is_repeated else 1):
                part = getattr(message, each.name).add() if each.is_repeated else getattr(message, each.name)
                if not each.is_repeated:
                    part.SetInParent()
                _fill(rng, part, depth - 1)


def _scalar(rng: random.Random, each: FieldDescriptor) -> Any:
    match each.type:
        case FieldDescriptor.TYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.TYPE_INT32:
            return rng.choice((0, 1, -1, 80, 2**31 - 1, -(2**31)))
        case FieldDescriptor.TYPE_INT64:
            return rng.choice((0, 1, -1, 80, 2**63 - 1, -(2**63)))
        case FieldDescriptor.TYPE_UINT32 | FieldDescriptor.TYPE_UINT64:
            return rng.choice((0, 1, 80, 2**32 - 1))
        case FieldDescriptor.TYPE_BYTES:
            return rng.randbytes(rng.randrange(9))
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return float(rng.choice(NUMBERS)) if rng.random() < 0.9 else float("nan")
        case FieldDescriptor.TYPE_ENUM:
            return rng.randrange(6)
    return encodable(rng)


def encodable(rng: random.Random) -> str:
    """A text that UTF-8 has bytes for."""
    return text(rng).encode("utf-8", "replace").decode()


_TOKENS: Final[Sequence[bytes]] = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"null", b"NaN", b"1e999999", b"-", b"\xff", b"\xc0\x80", b"\0",
    b"\\ud800", b"[" * 300, b'{"a":' * 300, b"&a ", b"*a", b"- ", b"<<: ", b"!!python/object:os.system ", b"\r\n",
    b"---\n", b"\xef\xbb\xbf", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x0c",
    b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
)  # fmt: skip
