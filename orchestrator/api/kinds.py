"""The kinds of objects there are, read once from the schema's `(resource)` options.

A kind is a message in the `Object` oneof with that option; nothing else lists them. `find_kind` understands what people
type ("po", "deployments.apps", "Deployment"), `kind_for` what manifests say (apiVersion and kind), `kind_of` tells it
from a message. `wrap` and `unwrap` go between a typed object and the `Object` that travels and is stored.

Most kinds are stored. Transient ones are answered when they are created, as bodies of subresources (Binding) or as
questions (TokenReview). A view shows the stored objects of another kind in its own words (events.k8s.io's Event those
of the core group): `stored_form` and `as_view` turn one into the other. Objects travel, wrapped, in the stored form.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from orchestrator.api import v1
from orchestrator.api.errors import BadRequest, UnknownKind
from orchestrator.api.v1 import Object, ObjectMeta, options_pb2


class KubeObject(Protocol):
    """A protobuf message that is a kind: it has metadata. All generated kinds satisfy this."""

    @property
    def metadata(self) -> ObjectMeta: ...
    def CopyFrom(self, other_msg: Self) -> None: ...  # noqa: N802 - protobuf's names
    def MergeFrom(self, other_msg: Self) -> None: ...  # noqa: N802
    def ParseFromString(self, serialized: bytes) -> int: ...  # noqa: N802
    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...  # noqa: N802
    def ByteSize(self) -> int: ...  # noqa: N802


K = TypeVar("K", bound=KubeObject)


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind. There is one instance for each, so they compare by identity."""

    descriptor: Descriptor
    kind: str
    group: str
    version: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    namespaced: bool
    subresources: tuple[str, ...]
    field: str
    """The name of its field in `Object`."""
    transient: bool = False
    """Answered when it is created, never stored."""
    view_of: str = ""
    """The resource whose stored objects it shows; empty for kinds that are stored in their own form."""
    unsupported: str = ""
    """Why objects of this kind have no effect yet; empty when they have."""

    @cached_property
    def message(self) -> type[KubeObject]:
        # Made when it is first needed: a program has to do with few kinds.
        return cast("type[KubeObject]", getattr(v1, self.descriptor.name))

    @property
    def api_version(self) -> str:
        """What manifests say: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The plural with the group: "pods", "deployments.apps". The first part of keys in the store."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """The kind with the group: "Pod", "Deployment.apps"; how error messages call it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def stored(self) -> bool:
        """Whether its objects are kept, and in this form."""
        return not self.transient and not self.view_of

    @property
    def storage(self) -> Kind:
        """The kind in whose form its objects are stored: itself, but for views."""
        return _BY_RESOURCE[self.view_of] if self.view_of else self

    def __str__(self) -> str:
        return self.resource if self.stored else self.kind


def _read(field: FieldDescriptor) -> Kind | None:
    descriptor = field.message_type
    if descriptor is None:
        return None
    options = descriptor.GetOptions()
    if not options.HasExtension(options_pb2.resource):
        return None
    resource = options.Extensions[options_pb2.resource]
    return Kind(
        descriptor=descriptor,
        kind=resource.kind,
        group=resource.group,
        version=resource.version,
        plural=resource.plural,
        singular=resource.singular,
        short_names=tuple(resource.short_names),
        categories=tuple(resource.categories),
        namespaced=resource.scope == options_pb2.NAMESPACED,
        subresources=tuple(resource.subresources),
        field=field.name,
        transient=resource.transient,
        view_of=resource.view_of,
        unsupported=resource.unsupported,
    )


_KINDS: Sequence[Kind] = tuple(kind for field in Object.DESCRIPTOR.fields if (kind := _read(field)) is not None)
_STORED: Sequence[Kind] = tuple(kind for kind in _KINDS if kind.stored)
_BY_MESSAGE: dict[type, Kind] = {}
_BY_DESCRIPTOR: Mapping[str, Kind] = {kind.descriptor.full_name: kind for kind in _KINDS}
_BY_FIELD: Mapping[str, Kind] = {kind.field: kind for kind in _KINDS}
_BY_NAME: Mapping[tuple[str, str], Kind] = {(kind.api_version, kind.kind): kind for kind in _KINDS}
_BY_RESOURCE: Mapping[str, Kind] = {kind.resource: kind for kind in _KINDS if kind.plural and not kind.transient}


def _words() -> Mapping[str, Kind]:
    words: dict[str, Kind] = {}
    for kind in _STORED:
        for word in (kind.plural, kind.singular, kind.kind.lower(), *kind.short_names):
            words.setdefault(word, kind)
            if kind.group:
                words[f"{word}.{kind.group}"] = kind
                words[f"{word}.{kind.version}.{kind.group}"] = kind
    for view in (kind for kind in _KINDS if kind.view_of):
        for word in (view.plural, view.singular):
            words[f"{word}.{view.group}"] = view.storage
    return words


_WORDS = _words()


def all_kinds() -> Sequence[Kind]:
    """The kinds that are stored and served, in the schema's order."""
    return _STORED


def served_kinds() -> Sequence[Kind]:
    """Everything with an apiVersion and a kind: the stored ones, their views, and what is answered and never stored."""
    return _KINDS


def kinds_in_category(category: str) -> Sequence[Kind]:
    """The kinds that a word such as "all" stands for; none for other words."""
    return tuple(kind for kind in _STORED if category in kind.categories)


def kind_of(message: KubeObject | type[KubeObject]) -> Kind:
    """The kind of an object or of its class."""
    cls = message if isinstance(message, type) else type(message)
    found = _BY_MESSAGE.get(cls)
    if found is None:
        descriptor = cast(Descriptor, cast("type[Message]", cls).DESCRIPTOR)
        found = _BY_MESSAGE[cls] = _BY_DESCRIPTOR[descriptor.full_name]
    return found


def kind_for(api_version: str, kind: str) -> Kind:
    """The kind a manifest means; UnknownKind when there is none, saying what was probably meant."""
    found = _BY_NAME.get((api_version, kind))
    if found is not None:
        return found
    message = f'no matches for kind "{kind}" in version "{api_version}"'
    versions = [other.api_version for other in _STORED if other.kind == kind]
    if versions:
        raise UnknownKind(f'{message} (did you mean version "{versions[0]}"?)')
    near = difflib.get_close_matches(kind, [other.kind for other in _STORED], n=1, cutoff=0.6)
    if near:
        meant = next(other for other in _STORED if other.kind == near[0])
        raise UnknownKind(f'{message} (did you mean "{meant.kind}" in version "{meant.api_version}"?)')
    raise UnknownKind(message)


def find_kind(word: str) -> Kind:
    """The kind a person means: a plural, singular, short name or kind, with or without the group, in any case."""
    found = _WORDS.get(word.lower())
    if found is not None:
        return found
    message = f'the server doesn\'t have a resource type "{word}"'
    near = difflib.get_close_matches(word.lower(), _WORDS, n=1, cutoff=0.6)
    raise UnknownKind(f'{message} (did you mean "{near[0]}"?)' if near else message)


def kind_for_resource(resource: str) -> Kind:
    """The stored kind of an exact resource name as requests carry it: "pods", "deployments.apps"."""
    found = _BY_RESOURCE.get(resource)
    return found.storage if found is not None else find_kind(resource)


def kind_of_wrapped(wrapped: Object) -> Kind:
    """The kind inside an `Object`; BadRequest when it is empty."""
    field = wrapped.WhichOneof("kind")
    if field is None:
        raise BadRequest("the request carries no object, or one of a kind this version does not know")
    return _BY_FIELD[field]


def stored_form(obj: KubeObject) -> KubeObject:
    """The object as it is stored: itself, but for a view, of which it is a copy in other words."""
    kind = kind_of(obj)
    return obj if kind.storage is kind else _reread(kind.storage.message, obj)


def as_view(kind: Kind, obj: KubeObject) -> KubeObject:
    """A stored object in the words of a view of its kind, a copy; for any other kind the object itself."""
    return _reread(kind.message, obj) if kind.view_of and kind_of(obj) is kind.storage else obj


def _reread(message: type[K], obj: KubeObject) -> K:
    # Both forms have the same fields by number (the schema promises it), so the bytes are the same.
    form = message()
    form.ParseFromString(obj.SerializeToString())
    return form


def wrap(obj: KubeObject) -> Object:
    """The `Object` with a copy of `obj` inside, in its stored form."""
    obj = stored_form(obj)
    wrapped = Object()
    cast(KubeObject, getattr(wrapped, kind_of(obj).field)).CopyFrom(obj)
    return wrapped


def unwrap(wrapped: Object) -> KubeObject:
    """The typed object inside: the same memory, not a copy. BadRequest when there is none."""
    return cast(KubeObject, getattr(wrapped, kind_of_wrapped(wrapped).field))


def clone(obj: K) -> K:
    """A copy to change; objects out of a cache must not be."""
    copy = type(obj)()
    copy.CopyFrom(obj)
    return copy


def as_message(obj: KubeObject) -> Message:
    """The object as protobuf sees it, for HasField, ListFields and descriptors."""
    return cast(Message, obj)


def key_of(obj: KubeObject) -> str:
    """ "namespace/name", or "name" for objects without a namespace."""
    metadata = obj.metadata
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
