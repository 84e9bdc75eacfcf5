"""Where an object lives in the store, and what a request means by its resource, namespace and name.

A key is `/<resource>/<namespace>/<name>` ("/pods/default/web", "/nodes//n1"), so that all objects of a kind, and all of
a kind in one namespace, are a range. Allocations live beside them under `/allocations/`.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.api import errors
from orchestrator.api.kinds import Kind, kind_for_resource
from orchestrator.api.v1 import ObjectKey

NAMESPACES = "namespaces"


@dataclass(frozen=True, slots=True)
class Key:
    """One object: its kind, its namespace (empty for kinds without one) and its name."""

    kind: Kind
    namespace: str
    name: str

    @property
    def path(self) -> str:
        return f"/{self.kind.resource}/{self.namespace}/{self.name}"

    def not_found(self) -> errors.NotFound:
        return errors.NotFound.of(self.kind.resource, self.name)


def key_from(message: ObjectKey) -> Key:
    """The object a request names. Raises BadRequest where a part is missing or makes no sense for the kind."""
    return object_key(kind_for_resource(message.resource), message.namespace, message.name)


def request_key(key: Key) -> ObjectKey:
    """The key as requests carry it."""
    return ObjectKey(resource=key.kind.resource, namespace=key.namespace, name=key.name)


def object_key(kind: Kind, namespace: str, name: str) -> Key:
    """A checked key. Raises BadRequest."""
    if not name:
        raise errors.BadRequest(f"resource name may not be empty ({kind.resource})")
    if kind.namespaced and not namespace:
        raise errors.BadRequest(f"an empty namespace may not be set for {kind.resource}")
    if not kind.namespaced and namespace:
        raise errors.BadRequest(f"{kind.resource} have no namespace: leave it empty")
    if "/" in name or "/" in namespace:
        raise errors.BadRequest(f"invalid name \"{namespace}/{name}\": may not contain '/'")
    return Key(kind, namespace, name)


def prefix_of(kind: Kind, namespace: str) -> str:
    """The range of a collection: a kind everywhere, or in one namespace. Raises BadRequest."""
    if not kind.namespaced:
        if namespace:
            raise errors.BadRequest(f"{kind.resource} have no namespace: leave it empty")
        return f"/{kind.resource}//"
    if "/" in namespace:
        raise errors.BadRequest(f"invalid namespace \"{namespace}\": may not contain '/'")
    return f"/{kind.resource}/{namespace}/" if namespace else f"/{kind.resource}/"


def namespace_path(name: str) -> str:
    """The key of the Namespace object that must exist before anything is made in it."""
    return f"/{NAMESPACES}//{name}"


def split_path(path: str) -> tuple[str, str, str]:
    """(resource, namespace, name) of an object's key."""
    _, resource, namespace, name = path.split("/", 3)
    return resource, namespace, name
