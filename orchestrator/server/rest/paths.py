"""What a URL of the Kubernetes API means: the verb, the kind, and which object or collection.

    /api/v1/namespaces/default/pods/web/log            core group
    /apis/apps/v1/namespaces/default/deployments/web   any other group

Pure: a method, a path and its query in, a `Target` out; or the error that a client gets for a path that means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from orchestrator.api import errors
from orchestrator.api.kinds import Kind, served_kinds
from orchestrator.server.rest.options import flag

_NAME = re.compile(r"[^/%\x00-\x1f\x7f]{1,253}")

# The verb of a method on one object, and on a collection.
_OBJECT_VERBS = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_COLLECTION_VERBS = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}
CONNECTED = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources that are streams: any method opens them."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one request is about."""

    verb: str
    """get, list, watch, create, update, patch, delete, deletecollection or connect."""
    kind: Kind
    namespace: str
    name: str
    """Empty: the collection."""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource: the path behind `proxy`."""


def parse_path(method: str, path: str, query: Mapping[str, str]) -> Target:
    """The target of a request below /api or /apis; `path` is as the client sent it, still encoded.

    Raises PathNotFound for a path that no resource has, MethodNotAllowed, BadRequest.
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, parts = "", parts[1:]
    else:
        group, parts = parts[1] if len(parts) > 1 else "", parts[2:]
    if len(parts) < 2:
        raise PathNotFound
    version, *parts = parts
    deprecated_watch = parts[0] == "watch"
    if deprecated_watch:
        parts = parts[1:]
    namespace, parts = _namespace(parts)
    if not parts:
        raise PathNotFound
    plural, *behind = parts
    kind = _KINDS.get((group, version, plural))
    if kind is None or (namespace and not kind.namespaced):
        raise PathNotFound
    name = _segment(behind[0]) if behind else ""
    subresource = _segment(behind[1]) if len(behind) > 1 else ""
    rest = "/".join(behind[2:])
    if rest and subresource != "proxy":
        raise PathNotFound
    watched = deprecated_watch or flag(query, "watch")
    return Target(_verb(method, kind, name, subresource, watched=watched), kind, namespace, name, subresource, rest)


def _namespace(parts: list[str]) -> tuple[str, list[str]]:
    """The namespace that a path begins with, and what is left; /namespaces/NAME alone is about the Namespace itself."""
    if parts and parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in _OF_NAMESPACES:
        return _segment(parts[1]), parts[2:]
    return "", parts


def _verb(method: str, kind: Kind, name: str, subresource: str, *, watched: bool) -> str:
    if subresource in CONNECTED:
        return "connect"
    verb = (_OBJECT_VERBS if name else _COLLECTION_VERBS).get(method)
    if verb is None or (verb == "create" and name and not subresource) or (kind.transient and verb != "create"):
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    if watched and verb in {"get", "list"} and not subresource:
        return "watch"
    return verb


def _segment(encoded: str) -> str:
    try:
        text = unquote(encoded, errors="strict") if "%" in encoded else encoded
    except UnicodeDecodeError as error:
        raise errors.BadRequest(f"invalid path segment {errors.show_value(encoded)}: {error}") from error
    if not _NAME.fullmatch(text) or text in {".", ".."}:
        raise errors.BadRequest(f"invalid path segment {errors.show_value(text)}")
    return text


class PathNotFound(errors.NotFound):
    """No resource has this path."""

    def __init__(self) -> None:
        super().__init__("the server could not find the requested resource")


_OF_NAMESPACES = frozenset({"status", "finalize"})
_KINDS = {(kind.group, kind.version, kind.plural): kind for kind in served_kinds() if kind.plural}
