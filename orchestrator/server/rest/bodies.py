"""What a client sends: an object, a patch, or how to delete. Pure: bytes and headers in, requests or errors out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor

from orchestrator.api import errors
from orchestrator.api.codec import from_json, unknown_fields
from orchestrator.api.decoding import describe
from orchestrator.api.kinds import Kind, KubeObject, kind_for
from orchestrator.api.manifest import read_json, read_value
from orchestrator.api.v1 import DeleteRequest, PatchType
from orchestrator.server.rest import kubernetes_protobuf
from orchestrator.server.rest.discovery import BODIES
from orchestrator.server.rest.options import flag, is_dry_run, number
from orchestrator.server.rest.paths import Target

_YAML_TYPES: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
_YAML_WEIGHT: Final = 50
_JSON_TYPES: Final = frozenset({"", "application/json", "text/plain", "*/*"})
PATCH_TYPES: Final[Mapping[str, PatchType.ValueType]] = {
    "application/merge-patch+json": PatchType.MERGE,
    "application/strategic-merge-patch+json": PatchType.STRATEGIC,
    "application/json-patch+json": PatchType.JSON,
}
APPLY_TYPES: Final = frozenset({"application/apply-patch+yaml", "application/apply-patch+json"})


class UnsupportedMediaType(errors.ApiError):
    """The body is in a form that is not read here."""

    reason = "UnsupportedMediaType"
    http = 415


@dataclass(frozen=True, slots=True)
class Sent:
    """An object from a body, in the target's namespace, and what was odd about it."""

    obj: KubeObject
    warnings: tuple[str, ...]


def weight(body: bytes, content_type: str) -> int:
    """How dear reading a body is, in bytes of JSON: YAML takes as long as far more."""
    return len(body) * _YAML_WEIGHT if content_type in _YAML_TYPES else len(body)


def read_object(target: Target, body: bytes, content_type: str, query: Mapping[str, str]) -> Sent:
    """The object that a create or update sends. Raises BadRequest, UnsupportedMediaType."""
    expected = _body_kind(target)
    data = _read(body, content_type)
    if not isinstance(data, Mapping):
        raise errors.BadRequest(f"the request body must be an object, not {describe(data)}")
    named = {"apiVersion": expected.api_version, "kind": expected.kind, **{k: v for k, v in data.items() if v != ""}}
    if named["apiVersion"] != expected.api_version:
        raise errors.BadRequest(
            f"the API version in the data ({_shown(named['apiVersion'])}) does not match the expected API version "
            f"({expected.api_version})"
        )
    if named["kind"] != expected.kind:
        raise errors.BadRequest(
            f"the kind in the data ({_shown(named['kind'])}) does not match the expected kind ({expected.kind})"
        )
    unknown = unknown_fields(query.get("fieldValidation", ""))
    try:
        decoded = from_json(named, unknown=unknown)
    except errors.BadRequest as error:
        what = f'{expected.kind} in version "{expected.version}" cannot be handled as a {expected.kind}'
        raise errors.BadRequest(f"{what}: {error.message}") from error
    meta = decoded.obj.metadata
    if target.namespace:
        if meta.namespace not in {"", target.namespace}:
            raise errors.BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        meta.namespace = target.namespace
    if target.name:
        if meta.name not in {"", target.name}:
            raise errors.BadRequest(
                f"the name of the object ({meta.name}) does not match the name on the URL ({target.name})"
            )
        meta.name = target.name
    return Sent(decoded.obj, decoded.warnings)


def patch_type(content_type: str) -> PatchType.ValueType:
    """Raises UnsupportedMediaType."""
    found = PATCH_TYPES.get(content_type)
    if found is None:
        supported = ", ".join((*PATCH_TYPES, *sorted(APPLY_TYPES)))
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {supported}"
        )
    return found


def read_delete(body: bytes, content_type: str, query: Mapping[str, str]) -> DeleteRequest:
    """How to delete, from the body's DeleteOptions, or from the query where there is no body. Raises BadRequest."""
    data = _read(body, content_type) if body.strip() else {}
    if not isinstance(data, Mapping):
        raise errors.BadRequest(f"the request body must be DeleteOptions, not {describe(data)}")
    if data.get("kind", "DeleteOptions") != "DeleteOptions":
        raise errors.BadRequest(
            f"the kind in the data ({_shown(data['kind'])}) does not match the expected kind (DeleteOptions)"
        )
    request = DeleteRequest()
    grace = _number(data, "gracePeriodSeconds") if "gracePeriodSeconds" in data else number(query, "gracePeriodSeconds")
    if grace is not None:
        request.grace_period_seconds = grace
    orphan = data.get("orphanDependents", flag(query, "orphanDependents") if "orphanDependents" in query else None)
    policy = _text(data, "propagationPolicy") or query.get("propagationPolicy", "")
    if not isinstance(orphan, bool | None):
        raise errors.BadRequest(f"orphanDependents: must be true or false, not {describe(orphan)}")
    if orphan is not None:
        if policy:
            raise errors.BadRequest("orphanDependents and propagationPolicy can't be set at the same time")
        policy = "Orphan" if orphan else "Background"
    if policy:
        request.propagation_policy = policy
    conditions = data.get("preconditions") or {}
    if not isinstance(conditions, Mapping):
        raise errors.BadRequest(f"preconditions: must be an object, not {describe(conditions)}")
    request.uid, request.resource_version = _text(conditions, "uid"), _text(conditions, "resourceVersion")
    dry_run = data.get("dryRun") or []
    if not isinstance(dry_run, list) or any(each != "All" for each in dry_run):
        raise errors.BadRequest('invalid dryRun: supported values: "All"')
    request.dry_run = bool(dry_run) or is_dry_run(query.get("dryRun", ""))
    return request


def _body_kind(target: Target) -> Kind:
    """A subresource may have a kind of its own: a Scale, a Binding."""
    named = BODIES.get(target.subresource)
    if named is None:
        return target.kind
    group, version, kind = named
    return kind_for(f"{group}/{version}" if group else version, kind)


def _read(body: bytes, content_type: str) -> object:
    if content_type == kubernetes_protobuf.MEDIA_TYPE:
        return kubernetes_protobuf.read(body, _descriptor)
    if content_type in _YAML_TYPES:
        return read_value(_decoded(body), "the request body")
    if content_type in _JSON_TYPES or content_type.endswith("+json"):
        return read_json(_decoded(body))
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format ({content_type}) - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def _descriptor(api_version: str, kind: str) -> Descriptor | None:
    try:
        return kind_for(api_version, kind).descriptor
    except errors.UnknownKind:
        return None


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise errors.BadRequest(f"the request body is not UTF-8: {error}") from error


def _shown(value: object) -> str:
    return value[: errors.MAX_SHOWN] if isinstance(value, str) else describe(value)


def _number(data: Mapping[str, object], name: str) -> int | None:
    value = data[name]
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63):
        return value
    raise errors.BadRequest(f"{name}: must be a number, not {describe(value)}")


def _text(data: Mapping[str, object], name: str) -> str:
    value = data.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    raise errors.BadRequest(f"{name}: must be a string, not {describe(value)}")
