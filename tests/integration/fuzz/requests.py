"""Hostile requests for both doors, each made from a random of its own."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote

from google.protobuf.message import Message

from orchestrator.api.codec import from_json
from orchestrator.api.errors import ApiError
from orchestrator.api.kinds import Kind, all_kinds, served_kinds, wrap
from orchestrator.api.v1 import (
    BatchRequest,
    CreateRequest,
    DeleteCollectionRequest,
    DeleteRequest,
    ExecRequest,
    GetRequest,
    ListRequest,
    LogsRequest,
    ObjectKey,
    PatchRequest,
    PatchType,
    UpdateRequest,
    WatchRequest,
)
from orchestrator.server.rest.kubernetes_protobuf import MAGIC
from tests.integration.fuzz import damage
from tests.integration.fuzz.damage import NAMES, TEXTS, a_message, an_object, as_json, as_yaml, mangled, text

_PATCH_TYPES: Final = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)
_SUBRESOURCES: Final = ("status", "scale", "finalize", "approval", "binding", "eviction", "log", "exec", "x", "attach",
                        "portforward", "proxy", "token", "ephemeralcontainers", "resize")  # fmt: skip
_QUERY: Final[Sequence[str]] = (
    "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch", "timeoutSeconds",
    "dryRun", "fieldManager", "fieldValidation", "force", "watch", "allowWatchBookmarks", "sendInitialEvents",
    "pretty",
    "gracePeriodSeconds", "propagationPolicy", "orphanDependents", "includeObject", "container", "follow", "previous",
    "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "timestamps", "command", "stdin", "tty", "ports", "path",
    "é",
)  # fmt: skip
_SELECTORS: Final[Sequence[str]] = (
    "a=b", "a!=b", "a in (b,c)", "!a", "a>1", "a<" + "9" * 30, "a in (", "((((", ",,,", "a" * 70000,
    ",".join(f"a{n}" for n in range(200)), "=", "!", "!!a", "a=b=c", "a notin ()", "é=é", "a\0b", "metadata.name=a",
    "metadata.name!=a,metadata.namespace=default", "spec.nodeName=\\", "spec.nodeName=\\,\\=", "status.phase==Running",
    "x=y", "\\" * 3001, "metadata.name=" + "\\," * 3000, "a" + " " * 5000 + "b", "a in (" + "b," * 5000 + ")",
)  # fmt: skip
_ACCEPT: Final[Sequence[str]] = (
    "application/json", "application/yaml", "*/*", "", "text/html", "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v9;g=x,*/*",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf", ";;;",
    "application/json;stream=watch", "a/b;q=é", ",".join(["x/y"] * 900), "application/json;as=;=;as",
)  # fmt: skip
_CONTENT: Final[Sequence[str]] = (
    "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", "", "x", "a/b/c",
    "application/json; charset=utf-16", "application/json; charset=\"", "multipart/form-data; boundary=x",
    *_PATCH_TYPES,
)  # fmt: skip


_ODD_HEADERS: Final[Sequence[tuple[str, str]]] = (
    ("User-Agent", "x" * 5000), ("Authorization", "Basic =="), ("Accept-Encoding", "gzip"), ("Host", "a, b:99999"),
    ("Expect", "100-continue"), ("Expect", "x"), ("Range", "bytes=0-1"), ("X-HTTP-Method-Override", "DELETE"),
    ("Connection", "close"), ("Cookie", "a=b;;=;" * 100), ("X-Long", "y" * 12000), ("If-None-Match", "*"),
    ("Content-Language", "é"), ("TE", "trailers"), ("Upgrade", "h2c"), ("Connection", "Upgrade"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RestRequest:
    """One request for the REST door. `stored`: what it would have made, if it is accepted, has this path."""

    raw: bytes
    method: str
    path: str
    writes: bool
    wild: bool = False
    """Not HTTP as it should be: the connection may be closed without an answer."""
    watches: bool = False

    def __str__(self) -> str:
        return f"REST {self.raw[:3000]!r}{'...' if len(self.raw) > 3000 else ''}"


@dataclass(frozen=True, slots=True)
class GrpcRequest:
    """One call. `writes`: it may change something when it is accepted."""

    method: str
    raw: bytes
    writes: bool

    def __str__(self) -> str:
        return f"gRPC {self.method} {self.raw[:3000]!r}{'...' if len(self.raw) > 3000 else ''}"


def rest_request(rng: random.Random) -> RestRequest:
    """Any request; most find a resource."""
    kind = _kind(rng)
    method = rng.choice(("GET",) * 4 + ("POST",) * 6 + ("PUT",) * 4 + ("PATCH",) * 6 + ("DELETE",))
    name = rng.choice(NAMES)
    if rng.random() < 0.03:
        method = rng.choice(("HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND", "G\0T", "PATCHé"))
    path = _path(rng, kind, method, name)
    query = _query(rng, method)
    headers = _headers(rng)
    body = b""
    if method in {"POST", "PUT", "PATCH"} or rng.random() < 0.1:
        content, body = _body(rng, kind, method, name)
        headers.append(("Content-Type", content if rng.random() < 0.95 else rng.choice(_CONTENT)))
        if rng.random() < 0.03:
            headers.append(("Content-Encoding", rng.choice(("gzip", "deflate", "br", "zstd", "x", "gzip, gzip", ""))))
            if rng.random() < 0.5:
                body = mangled(rng, gzip.compress(body)) if rng.random() < 0.5 else gzip.compress(body)
    return _written(rng, method, path + query, headers, body)


def grpc_request(rng: random.Random) -> GrpcRequest:
    """Any call of the services; the message is one of the schema, or bytes that were one."""
    method, message = _message(rng)
    raw = message.SerializeToString()
    if rng.random() < 0.25:
        raw = mangled(rng, raw)
    writes = method in {"Create", "Update", "Patch", "Delete", "DeleteCollection", "Batch"}
    service = "PodStreams" if method in {"Logs", "Exec"} else "Resources"
    return GrpcRequest(f"{service}/{method}", raw, writes)


def _written(
    rng: random.Random, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes
) -> RestRequest:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    watched = "watch" in path
    writes = method in {"POST", "PUT", "PATCH", "DELETE"}
    if body or method in {"POST", "PUT", "PATCH"}:
        if rng.random() < 0.1:
            lines.append("Transfer-Encoding: chunked")
            cut = rng.randrange(len(body) + 1)
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
            body += b"0\r\n\r\n"
        else:
            lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join((*lines, "", "")).encode("utf-8", "surrogatepass")
    wild = not (method.isascii() and method.isupper() and method.isalpha()) or method == "CONNECT"
    wild = wild or any(byte > 126 or (byte < 32 and byte not in b"\r\n") for byte in head)
    if rng.random() < 0.03:
        wild, head = True, mangled(rng, head)
        watched = watched or b"watch" in head
    return RestRequest(head + body, method, path, writes, wild, watched)


def _path(rng: random.Random, kind: Kind, method: str, name: str) -> str:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    parts = [base]
    if kind.namespaced and (method != "GET" or rng.random() < 0.7):
        parts.append(f"namespaces/{_segment(rng) if rng.random() < 0.05 else 'default'}")
    parts.append(kind.plural or kind.kind.lower())
    if method in {"PUT", "PATCH", "DELETE"} or rng.random() < (0.03 if method == "POST" else 0.4):
        if not (method == "DELETE" and rng.random() < 0.05 and kind.plural != "namespaces"):
            if method == "DELETE" and kind.plural == "namespaces":
                name = rng.choice(("a", "b"))
            parts.append(name if rng.random() < 0.95 else _segment(rng))
        if rng.random() < 0.15:
            own = kind.subresources if kind.subresources and rng.random() < 0.7 else _SUBRESOURCES
            parts.append(rng.choice(own))
    path = "/".join(parts)
    if rng.random() < 0.03:
        path = rng.choice((
            "/", "/api", "/apis", "/version", "/healthz", "/readyz?verbose", "/livez/x", "//api//v1//pods",
            "/api/v1/pods/",
            "/api/v1/../v1/pods", "/api/v1/%2e%2e/pods", "/api/v1/namespaces/default%2Fpods/a", "/apis/apps/v1/x/y/z",
            "/api/v1/watch/pods", "*", "/openapi/v3", "/openapi/v3/api/v1x", "/apis/x", "/api/v2/pods", "/%", "/%ff%fe",
            "http://other/api/v1/pods", "/api/v1/" + "a/" * 3000, "/api/v1/pods;a=b", "/api/v1/pods#x",
            "/api\\v1\\pods",
        ))  # fmt: skip
    return path


def _segment(rng: random.Random) -> str:
    name = text(rng)
    match rng.randrange(3):
        case 0:
            return quote(name, safe="", errors="replace") or "%20"
        case 1:
            return "".join(f"%{byte:02x}" for byte in name.encode("utf-8", "surrogatepass")[:900])
    return "".join(each for each in name if each not in " \r\n\0?#")


def _query(rng: random.Random, method: str) -> str:
    pairs: list[tuple[str, str]] = []
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        name = rng.choice(_QUERY)
        match name:
            case "watch" | "follow" if method != "GET" or rng.random() < 0.7:
                continue
            case "labelSelector" | "fieldSelector":
                value = rng.choice(_SELECTORS)
            case "continue":
                value = _token(rng)
            case "dryRun" if rng.random() < 0.7:
                value = "All"
            case "fieldValidation" if rng.random() < 0.8:
                value = rng.choice(("Strict", "Warn", "Ignore"))
            case "resourceVersion" | "limit" | "timeoutSeconds" | "gracePeriodSeconds" if rng.random() < 0.8:
                value = rng.choice(("0", "1", "5", "-1", "99999999999", str(2**63 - 1), str(2**63), "1.5", "+1", "1e3"))
            case "resourceVersionMatch" if rng.random() < 0.8:
                value = rng.choice(("Exact", "NotOlderThan"))
            case _:
                value = text(rng)
        pairs.append((name, value))
    if method == "PATCH" and rng.random() < 0.9:
        pairs.append(("fieldManager", "me"))
    if rng.random() < 0.002:
        pairs += [(f"p{number}", "x") for number in range(3000)]
    if not pairs:
        return ""
    if rng.random() < 0.1:
        return "?" + "&".join(f"{name}={value}" for name, value in pairs).translate(_NO_SPACES)
    return "?" + "&".join(f"{quote(name)}={quote(value, safe='', errors='replace')}" for name, value in pairs)


def _token(rng: random.Random) -> str:
    content: Any = rng.choice((
        [1, "/configmaps/default/a", 0], [2, "", -1], [10**30, "", 0], [3, "/secrets/default/a", 1], [True, "", 0], [],
        {},
        [2, "/zzz", 0], [2, "\ud800", 0], "x", [[[[]]]], [1, "x" * 9000, 0], [2**63 - 1, "", 2**63 - 1], [5, "", 0],
    ))  # fmt: skip
    token = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
    return token if rng.random() < 0.8 else token[: rng.randrange(len(token))] + text(rng)


def _headers(rng: random.Random) -> list[tuple[str, str]]:
    headers = []
    if rng.random() < 0.5:
        headers.append(("Accept", rng.choice(_ACCEPT if rng.random() < 0.4 else _ACCEPT[:3])))
    if rng.random() < 0.05:
        headers.append(rng.choice(_ODD_HEADERS))
    if rng.random() < 0.01:
        headers.append((rng.choice(("User-Agent", "Host", "Impersonate-User", "Authorization")), text(rng)))
    return [(name, "".join(each for each in value if each not in "\r\n\0")) for name, value in headers]


def _body(rng: random.Random, kind: Kind, method: str, name: str) -> tuple[str, bytes]:
    """A content type and a body that goes with it."""
    if method == "PATCH":
        content = rng.choice(_PATCH_TYPES)
        raw = as_json(_patch(rng, kind, content, name))
        return content, mangled(rng, raw) if rng.random() < 0.07 else raw
    if method == "DELETE":
        return "application/json", as_json(damage.damaged(rng, _DELETE_OPTIONS))
    made = an_object(rng, kind, name)
    choice = rng.random()
    if choice < 0.75:
        content, raw = "application/json", as_json(made)
    elif choice < 0.9:
        content, raw = "application/yaml", as_yaml(made) if rng.random() < 0.7 else as_json(made)
    else:
        return "application/vnd.kubernetes.protobuf", _kubernetes_protobuf(rng, kind)
    return content, mangled(rng, raw) if rng.random() < 0.07 else raw


_DELETE_OPTIONS: Final[dict[str, Any]] = {
    "kind": "DeleteOptions",
    "apiVersion": "v1",
    "gracePeriodSeconds": 5,
    "propagationPolicy": "Background",
    "preconditions": {"uid": "x", "resourceVersion": "1"},
    "dryRun": ["All"],
}


def _patch(rng: random.Random, kind: Kind, content: str, name: str) -> Any:
    made = an_object(rng, kind, name)
    if content != "application/json-patch+json":
        if rng.random() < 0.3 and isinstance(made, dict):
            name, directive = rng.choice(damage.DIRECTIVES)
            made[name] = directive
        return made
    operations: list[Any] = []
    for _ in range(rng.randrange(1, 6)):
        operation = {
            "op": rng.choice(("add", "replace", "remove", "move", "copy", "test", "x")),
            "path": _pointer(rng, made),
            "from": _pointer(rng, made),
            "value": damage.anything(rng),
        }
        operations.append(damage.damaged(rng, operation) if rng.random() < 0.1 else operation)
    return operations


def _pointer(rng: random.Random, within: Any) -> str:
    """Where something of this kind may be, or nothing at all is."""
    if rng.random() < 0.7:
        path = ""
        while isinstance(within, dict | list) and within and rng.random() < 0.8:
            key = rng.choice(sorted(within) if isinstance(within, dict) else range(len(within)))
            path += "/" + str(key).replace("~", "~0").replace("/", "~1")
            within = within[key]
        return path
    words = ("metadata", "labels", "spec", "data", "status", "containers", "0", "-", "a", "template", "finalizers",
             "~1",             "annotations", "managedFields", "ownerReferences", "ports", *TEXTS[:20])  # fmt: skip
    return "".join(f"/{rng.choice(words)}" for _ in range(rng.randrange(5)))


def _kubernetes_protobuf(rng: random.Random, kind: Kind) -> bytes:
    """An envelope in Kubernetes' protobuf: fields by their numbers, with lengths and types that are often wrong."""
    group = f"{kind.group}/{kind.version}" if kind.group else kind.version
    named = _delimited(1, group.encode()) + _delimited(2, kind.kind.encode())
    content = _wire(rng, 4)
    if rng.random() < 0.5:
        content = _delimited(1, _delimited(1, rng.choice(NAMES).encode())) + content
    raw = MAGIC + _delimited(1, named) + _delimited(2, content)
    return mangled(rng, raw) if rng.random() < 0.2 else raw


def _wire(rng: random.Random, depth: int) -> bytes:
    pieces = []
    for _ in range(rng.randrange(5)):
        number = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 19, 100))
        match rng.randrange(6):
            case 0:
                pieces.append(_varint(number << 3) + _varint(rng.choice((0, 1, 80, 2**31, 2**63, 2**64 - 1))))
            case 1 | 2 if depth:
                pieces.append(_delimited(number, _wire(rng, depth - 1)))
            case 3:
                pieces.append(_delimited(number, rng.randbytes(rng.randrange(6))))
            case _:
                pieces.append(_delimited(number, text(rng).encode("utf-8", "surrogatepass")))
    return b"".join(pieces)


def _delimited(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _message(rng: random.Random) -> tuple[str, Message]:
    method = rng.choice(("Create", "Create", "Update", "Patch", "Patch", "Get", "List", "Delete", "Watch", "Batch",
                         "Logs",                          "Exec", "DeleteCollection"))  # fmt: skip
    kind = _kind(rng)
    name = rng.choice(NAMES)
    match method:
        case "Create":
            create = a_message(rng, CreateRequest, 0)
            assert isinstance(create, CreateRequest)
            create.object.CopyFrom(_object(rng, kind, name))
            create.subresource = rng.choice(("", "", "", "binding", "eviction", "status"))
            return method, create
        case "Update":
            update = a_message(rng, UpdateRequest, 0)
            assert isinstance(update, UpdateRequest)
            update.object.CopyFrom(_object(rng, kind, name))
            update.subresource = rng.choice(("", "", "", "status", "scale", "finalize"))
            return method, update
        case "Patch":
            patch = a_message(rng, PatchRequest, 0)
            assert isinstance(patch, PatchRequest)
            patch.key.CopyFrom(_key(rng, kind, name))
            patch.patch = as_json(_patch(rng, kind, rng.choice(_PATCH_TYPES), name))
            patch.type = rng.choice(PatchType.values())
            patch.field_manager = "me"
            patch.field_validation = ""
            patch.subresource = rng.choice(("", "", "", "status", "scale"))
            return method, patch
        case "Get":
            return method, GetRequest(key=_key(rng, kind, name), subresource=rng.choice(("", "status", "scale", "x")))
        case "Delete":
            delete = a_message(rng, DeleteRequest, 0)
            assert isinstance(delete, DeleteRequest)
            delete.key.CopyFrom(_key(rng, kind, name))
            delete.dry_run = kind.plural == "namespaces" or delete.dry_run
            return method, delete
        case "List":
            return method, _list(rng, kind)
        case "DeleteCollection":
            request = DeleteCollectionRequest(list=_list(rng, kind))
            request.options.dry_run = kind.plural == "namespaces" or rng.random() < 0.9
            return method, request
        case "Watch":
            watch = a_message(rng, WatchRequest, 0)
            assert isinstance(watch, WatchRequest)
            watch.resource = kind.resource
            watch.field_selector = watch.label_selector = ""
            return method, watch
        case "Logs":
            return method, a_message(rng, LogsRequest, 2)
        case "Exec":
            return method, a_message(rng, ExecRequest, 2)
    batch = a_message(rng, BatchRequest, 3)
    assert isinstance(batch, BatchRequest)
    for operation in batch.operations:
        if operation.HasField("delete") or operation.HasField("create"):
            operation.delete.key.resource = "configmaps"
    return "Batch", batch


def _list(rng: random.Random, kind: Kind) -> ListRequest:
    request = a_message(rng, ListRequest, 0)
    assert isinstance(request, ListRequest)
    request.resource = kind.resource
    if request.label_selector or request.field_selector:
        request.label_selector, request.field_selector = rng.choice(_SELECTORS), ""
    if rng.random() < 0.7:
        setattr(request, "continue", "")
    return request


def _key(rng: random.Random, kind: Kind, name: str) -> ObjectKey:
    if rng.random() < 0.1:
        key = a_message(rng, ObjectKey, 0)
        assert isinstance(key, ObjectKey)
        return key
    return ObjectKey(resource=kind.resource, namespace="default" if kind.namespaced else "", name=name)


def _kind(rng: random.Random) -> Kind:
    """Any kind; some are met more often, so that their objects exist."""
    chance = rng.random()
    if chance < 0.4:
        return rng.choice([each for each in all_kinds() if each.resource in _FREQUENT])
    return rng.choice(all_kinds() if chance < 0.95 else [each for each in served_kinds() if each.kind])


_FREQUENT: Final = frozenset({
    "pods", "services", "configmaps", "secrets", "deployments.apps", "nodes", "events", "poddisruptionbudgets.policy",
    "statefulsets.apps", "jobs.batch", "replicationcontrollers", "controllerrevisions.apps", "namespaces",
})  # fmt: skip


def _object(rng: random.Random, kind: Kind, name: str) -> Any:
    """An object of the schema in its wrapping: one that JSON could say, or one that only protobuf can."""
    if rng.random() < 0.5:
        for _ in range(3):
            try:
                return wrap(from_json(an_object(rng, kind, name), unknown="ignore").obj)
            except (ApiError, RecursionError):
                continue
    obj = cast(Any, a_message(rng, cast(Any, kind.message)))
    obj.metadata.name = name
    obj.metadata.namespace = "default" if kind.namespaced else ""
    return wrap(obj)


_NO_SPACES: Final = {ord(each): None for each in " \r\n\0#"}
