"""The API's description for clients: OpenAPI v3, one document for each group and version, and v2, one for all.

Derived from the schema: a definition for each message, a path for each verb of each kind. `kubectl` takes from it what
it explains, what it may ask a verb for (`fieldValidation`, `dryRun`), and how lists are merged. The documents are large
and change only with the program: they are made when first asked for, as bytes, and known by their hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orchestrator.api.documentation import describe
from orchestrator.api.kinds import Kind, served_kinds
from orchestrator.api.schema import map_value, option
from orchestrator.api.v1 import options_pb2
from orchestrator.server.rest import openapi_protobuf
from orchestrator.server.rest.bodies import APPLY_TYPES, PATCH_TYPES
from orchestrator.server.rest.discovery import BODIES, verbs_of
from orchestrator.server.rest.json_bytes import dump
from orchestrator.server.rest.paths import CONNECTED

Json: TypeAlias = dict[str, Any]

_V3: Final = "#/components/schemas/"
_V2: Final = "#/definitions/"
_GVK: Final = "x-kubernetes-group-version-kind"

_SCALARS: Final[Mapping[int, Json]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_ENUM: {"type": "string"},
}
_WELL_KNOWN: Final[Mapping[str, Json]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Value": {"x-kubernetes-int-or-string": True, "format": "int-or-string", "type": "string"},
    "google.protobuf.Struct": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "google.protobuf.ListValue": {"type": "array", "items": {"type": "object"}},
}
_IN_QUERY: Final[Mapping[str, tuple[str, str]]] = {
    "pretty": ("string", "If true, the output is indented."),
    "dryRun": ("string", "All: everything is done but the write."),
    "fieldManager": ("string", "Who makes this change, for the record of who manages which field."),
    "fieldValidation": ("string", "What becomes of unknown and repeated fields: Ignore, Warn or Strict."),
    "force": ("boolean", "In an apply: take over fields that others manage."),
    "labelSelector": ("string", "Only objects with these labels."),
    "fieldSelector": ("string", "Only objects with these fields."),
    "limit": ("integer", "At most so many objects in one answer."),
    "continue": ("string", "Where the next page begins, from the answer before."),
    "resourceVersion": ("string", "The version that is asked for, by the rule of resourceVersionMatch."),
    "resourceVersionMatch": ("string", "Exact or NotOlderThan."),
    "watch": ("boolean", "Changes as they happen instead of a list."),
    "allowWatchBookmarks": ("boolean", "In a watch: say now and then how far it is."),
    "sendInitialEvents": ("boolean", "In a watch: begin with what there is."),
    "timeoutSeconds": ("integer", "End the call after so long."),
    "gracePeriodSeconds": ("integer", "How long the object may take to end."),
    "propagationPolicy": ("string", "What becomes of dependents: Orphan, Background or Foreground."),
    "orphanDependents": ("boolean", "Deprecated: use propagationPolicy."),
}
_WRITING: Final = ("pretty", "dryRun", "fieldManager", "fieldValidation")
_LISTING: Final = (
    "pretty",
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "watch",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "timeoutSeconds",
)
_DELETING: Final = ("pretty", "dryRun", "gracePeriodSeconds", "propagationPolicy", "orphanDependents")
_METHODS: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    # verb: method, action, parameters
    "list": ("get", "list", _LISTING),
    "create": ("post", "post", _WRITING),
    "deletecollection": ("delete", "deletecollection", (*_LISTING[:7], *_DELETING)),
    "get": ("get", "get", ("pretty",)),
    "update": ("put", "put", _WRITING),
    "patch": ("patch", "patch", (*_WRITING, "force")),
    "delete": ("delete", "delete", _DELETING),
}
_ON_COLLECTION: Final = ("list", "create", "deletecollection")
_ON_OBJECT: Final = ("get", "update", "patch", "delete")


@cache
def index() -> Json:
    """/openapi/v3: where each document is. The hash in its address lets clients keep it for ever."""
    return {
        "paths": {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hashlib.sha256(document(path)).hexdigest().upper()}"}
            for path in _paths()
        }
    }


def has(path: str) -> bool:
    """Whether there is a document of this path."""
    return path in _paths()


@cache
def document(path: str) -> bytes:
    """/openapi/v3/PATH: the description of one group and version ("api/v1", "apis/apps/v1"). Raises KeyError."""
    kinds = _paths()[path]
    return dump(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "unversioned"},
            "paths": dict(entry for kind in kinds for entry in _operations(kind, _V3)),
            "components": {"schemas": _definitions(kinds, _V3)},
        }
    )


@cache
def swagger() -> bytes:
    """/openapi/v2: everything in one."""
    kinds = [kind for kind in served_kinds() if kind.plural]
    return dump({**_swagger(), "paths": dict(entry for kind in kinds for entry in _operations(kind, _V2))})


@cache
def swagger_definitions() -> bytes:
    """The same in protobuf, as far as kubectl reads it there."""
    return openapi_protobuf.encode(_swagger())


def _swagger() -> Json:
    kinds = [kind for kind in served_kinds() if kind.plural]
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "definitions": _definitions(kinds, _V2),
    }


@cache
def _paths() -> Mapping[str, Sequence[Kind]]:
    found: dict[str, list[Kind]] = {}
    for kind in served_kinds():
        if not kind.plural:
            continue
        found.setdefault(_base(kind), []).append(kind)
    return found


def _base(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


# Definitions.


def _definitions(kinds: Sequence[Kind], prefix: str) -> Json:
    """The kinds, their lists, and every message within them."""
    found: Json = {}
    waiting: list[Descriptor] = []
    for kind in kinds:
        definition = _definition(kind.descriptor, prefix, waiting)
        definition["properties"] = {**_TYPE_META, **definition["properties"]}
        definition[_GVK] = [_gvk(kind)]
        found[kind.descriptor.full_name] = definition
        found[f"{kind.descriptor.full_name}List"] = _list_definition(kind, prefix)
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name not in found:
            found[descriptor.full_name] = _definition(descriptor, prefix, waiting)
    return dict(sorted(found.items()))


def _definition(descriptor: Descriptor, prefix: str, waiting: list[Descriptor]) -> Json:
    properties = {each.json_name: _property(each, prefix, waiting) for each in descriptor.fields}
    return {"description": describe(descriptor), "type": "object", "properties": properties}


def _list_definition(kind: Kind, prefix: str) -> Json:
    items = {"type": "array", "items": {"$ref": prefix + kind.descriptor.full_name}}
    return {
        "description": f"Objects of kind {kind.kind}.",
        "type": "object",
        "required": ["items"],
        "properties": {**_TYPE_META, "metadata": {"type": "object"}, "items": items},
        _GVK: [{**_gvk(kind), "kind": f"{kind.kind}List"}],
    }


def _property(each: FieldDescriptor, prefix: str, waiting: list[Descriptor]) -> Json:
    text = describe(each)
    value = map_value(each)
    if value is not None:
        return {
            "description": text,
            "type": "object",
            "additionalProperties": _value(value, prefix, waiting, described=""),
        }
    if not each.is_repeated:
        return _value(each, prefix, waiting, described=text)
    shown: Json = {"description": text, "type": "array", "items": _value(each, prefix, waiting, described="")}
    merge_key = option(each, options_pb2.merge_key)
    if not merge_key:
        shown["x-kubernetes-list-type"] = "atomic"
        return shown
    retains = option(each, options_pb2.retain_keys)
    shown["x-kubernetes-patch-strategy"] = "merge,retainKeys" if retains else "merge"
    if merge_key == "-":
        shown["x-kubernetes-list-type"] = "set"
    else:
        shown["x-kubernetes-patch-merge-key"] = merge_key
        shown["x-kubernetes-list-type"] = "map"
        shown["x-kubernetes-list-map-keys"] = [merge_key]
    return shown


def _value(each: FieldDescriptor, prefix: str, waiting: list[Descriptor], *, described: str) -> Json:
    about = {"description": described} if described else {}
    if each.message_type is None:
        return {**about, **_SCALARS[each.type]}
    known = _WELL_KNOWN.get(each.message_type.full_name)
    if known is not None:
        return {**about, **known}
    waiting.append(each.message_type)
    reference = {"$ref": prefix + each.message_type.full_name}
    if not about or prefix == _V2:
        return {**about, **reference}
    # In v3 nothing may stand beside a reference.
    return {**about, "allOf": [reference]}


def _gvk(kind: Kind) -> Json:
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}


_TYPE_META: Final[Json] = {
    "apiVersion": {"description": "The group and version of the schema that this object follows.", "type": "string"},
    "kind": {"description": "What kind of object this is.", "type": "string"},
}


# Paths.


def _operations(kind: Kind, prefix: str) -> Iterator[tuple[str, Json]]:
    base = f"/{_base(kind)}"
    inside = f"{base}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
    scope = [_path_parameter("namespace", prefix)] if kind.namespaced else []
    named = [*scope, _path_parameter("name", prefix)]
    if kind.namespaced and not kind.transient:
        yield f"{base}/{kind.plural}", _path_item(kind, ("list",), "", [], prefix)
    if kind.transient:
        yield inside, _path_item(kind, ("create",), "", scope, prefix)
        return
    yield inside, _path_item(kind, _ON_COLLECTION, "", scope, prefix)
    yield f"{inside}/{{name}}", _path_item(kind, _ON_OBJECT, "", named, prefix)
    for subresource in kind.subresources:
        if subresource not in CONNECTED:
            yield (
                f"{inside}/{{name}}/{subresource}",
                _path_item(kind, verbs_of(subresource), subresource, named, prefix),
            )


def _path_item(kind: Kind, verbs: Sequence[str], subresource: str, parameters: Sequence[Json], prefix: str) -> Json:
    item: Json = {"parameters": list(parameters)} if parameters else {}
    for verb in verbs:
        method, action, query = _METHODS[verb]
        item[method] = _operation(kind, verb, action, subresource, query, prefix, namespaced=bool(parameters))
    return item


def _operation(
    kind: Kind, verb: str, action: str, subresource: str, query: Sequence[str], prefix: str, *, namespaced: bool
) -> Json:
    group, version, name = BODIES.get(subresource, (kind.group, kind.version, kind.kind))
    own = (group, version, name) == (kind.group, kind.version, kind.kind)
    schema: Json = {"$ref": prefix + kind.descriptor.full_name} if own else {"type": "object"}
    answer = {"$ref": f"{prefix}{kind.descriptor.full_name}List"} if verb == "list" else schema
    where = "" if namespaced else "ForAllNamespaces" if kind.namespaced else ""
    parameters = [_query_parameter(each, prefix) for each in query]
    operation: Json = {
        "operationId": f"{verb}{_camel(kind)}{subresource.capitalize()}{where}",
        "tags": [_tag(kind)],
        "parameters": parameters,
        "responses": {"200": _response(answer, prefix)},
        "x-kubernetes-action": action,
        _GVK: {"group": group, "kind": name, "version": version},
    }
    media_types = (*PATCH_TYPES, *sorted(APPLY_TYPES)) if verb == "patch" else ("application/json", "application/yaml")
    if verb in {"create", "update", "patch"}:
        body = {"type": "object"} if verb == "patch" else schema
        if prefix == _V3:
            operation["requestBody"] = {"content": {each: {"schema": body} for each in media_types}, "required": True}
        else:
            operation["consumes"] = list(media_types)
            parameters.append({"name": "body", "in": "body", "required": True, "schema": body})
    if prefix == _V2:
        operation["produces"] = ["application/json", "application/yaml"]
    return operation


def _response(schema: Json, prefix: str) -> Json:
    if prefix == _V3:
        return {"description": "OK", "content": {"application/json": {"schema": schema}}}
    return {"description": "OK", "schema": schema}


def _query_parameter(name: str, prefix: str) -> Json:
    kind, text = _IN_QUERY[name]
    return {"name": name, "in": "query", "description": text, **_typed(kind, prefix)}


def _path_parameter(name: str, prefix: str) -> Json:
    return {"name": name, "in": "path", "required": True, **_typed("string", prefix)}


def _typed(kind: str, prefix: str) -> Json:
    if prefix == _V3:
        return {"schema": {"type": kind, "uniqueItems": True}}
    return {"type": kind, "uniqueItems": True}


def _camel(kind: Kind) -> str:
    group = kind.group.partition(".")[0].capitalize() or "Core"
    return f"{group}{kind.version.capitalize()}{'Namespaced' if kind.namespaced else ''}{kind.kind}"


def _tag(kind: Kind) -> str:
    return f"{kind.group.partition('.')[0] or 'core'}_{kind.version}"
