"""What goes back to a client, as bytes: objects, lists, tables, watch events and errors.

The shape is the request's choice (`negotiation`); the objects' JSON is made once (`json_bytes`). An answer of many
objects is given in pieces, so that a large list is neither held twice nor made in one go.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.api import errors
from orchestrator.api.codec import to_json
from orchestrator.api.kinds import Kind, KubeObject, as_view
from orchestrator.api.manifest import to_yaml
from orchestrator.api.v1 import WatchEvent
from orchestrator.server.encoding import Stored, bookmarked
from orchestrator.server.forms import Form
from orchestrator.server.rest.json_bytes import JsonBytes, dump
from orchestrator.server.rest.negotiation import YAML, Wanted
from orchestrator.server.rest.tables import Include, column_definitions, partial, rows

Json: TypeAlias = dict[str, Any]
Now: TypeAlias = Callable[[], datetime]

_TYPES: Final = {
    WatchEvent.ADDED: b"ADDED",
    WatchEvent.MODIFIED: b"MODIFIED",
    WatchEvent.DELETED: b"DELETED",
    WatchEvent.BOOKMARK: b"BOOKMARK",
}
_WARNING_BYTES: Final = 4096
"""All warnings of an answer together: they travel in its headers."""
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]+")
_MESSAGE_CHARACTERS: Final = 64 << 10
_CAUSES_CHARACTERS: Final = 256 << 10
"""An error must not be larger than what it is about: of a message, and of many causes, this much is told."""


@dataclass(frozen=True, slots=True)
class ListHead:
    """What a list says about itself."""

    revision: int
    next_token: str = ""
    remaining: int | None = None

    def json(self) -> Json:
        head: Json = {"resourceVersion": str(self.revision)}
        if self.next_token:
            head["continue"] = self.next_token
        if self.remaining is not None:
            head["remainingItemCount"] = self.remaining
        return head


class Shape(Form, Protocol):
    """One way to show objects: alone, in lists, and in watches."""

    def one(self, stored: Stored) -> bytes: ...

    def begin(self, kind: Kind, head: ListHead) -> bytes:
        """A list up to its first item."""

    def item(self, stored: Stored) -> bytes:
        """One item; commas between them are the caller's."""

    end: bytes


class _Events(ABC):
    """A watch event is the object with a word before it, one line."""

    @abstractmethod
    def one(self, stored: Stored) -> bytes: ...

    def event(self, event_type: WatchEvent.Type.ValueType, stored: Stored) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (_TYPES[event_type], self.one(stored))

    def bookmark(self, kind: Kind, revision: int, *, initial_events_end: bool = False) -> bytes:
        marked = bookmarked(kind, revision, initial_events_end=initial_events_end)
        return self.event(WatchEvent.BOOKMARK, marked)


class PlainShape(_Events):
    """Objects as they are."""

    end = b"]}"

    def __init__(self, known: JsonBytes) -> None:
        self._known = known

    def one(self, stored: Stored) -> bytes:
        return self._known.of(stored)

    def begin(self, kind: Kind, head: ListHead) -> bytes:
        opened = dump(
            {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": head.json(), "items": []}
        )
        return opened[:-2]

    def item(self, stored: Stored) -> bytes:
        # What the list says of all its items, they do not repeat.
        kind = stored.kind
        said = len(f'{{"apiVersion":"{kind.api_version}","kind":"{kind.kind}",')
        return b"{" + self._known.of(stored)[said:]


class PartialShape(_Events):
    """The objects' metadata."""

    end = b"]}"

    def one(self, stored: Stored) -> bytes:
        return dump(partial(stored.decode()))

    def begin(self, kind: Kind, head: ListHead) -> bytes:
        named = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return dump({**named, "metadata": head.json(), "items": []})[:-2]

    item = one


class TableShape(_Events):
    """Rows for people. The ages in them are those of the moment, so nothing of it is kept."""

    end = b"]}"

    def __init__(self, include: Include, now: Now) -> None:
        self._include = include
        self._now = now

    def one(self, stored: Stored) -> bytes:
        return self.begin(stored.kind, ListHead(stored.revision)) + self.item(stored) + self.end

    def begin(self, kind: Kind, head: ListHead) -> bytes:
        named = {"kind": "Table", "apiVersion": "meta.k8s.io/v1"}
        definitions = list(column_definitions(kind))
        return dump({**named, "metadata": head.json(), "columnDefinitions": definitions, "rows": []})[:-2]

    def item(self, stored: Stored) -> bytes:
        obj: KubeObject = stored.decode()
        return dump(rows(stored.kind, [obj], self._now(), self._include)[0])


class ViewShape(PlainShape):
    """Stored objects in the words of a view of their kind. Views are rare: their JSON is not kept."""

    def __init__(self, view: Kind) -> None:
        self._view = view

    def one(self, stored: Stored) -> bytes:
        return dump(to_json(as_view(self._view, stored.decode())))

    def begin(self, kind: Kind, head: ListHead) -> bytes:
        return super().begin(self._view, head)

    item = one


class Shapes:
    """The shapes a server answers in; each is made once, so that watchers share what was made in it."""

    def __init__(self, now: Now) -> None:
        self.plain = PlainShape(JsonBytes())
        self._partial = PartialShape()
        self._views: dict[Kind, ViewShape] = {}
        self._tables = {include: TableShape(include, now) for include in _INCLUDED}

    def wanted(self, wanted: Wanted, include: Include, kind: Kind) -> Shape:
        """The shape for a request about objects of this kind."""
        match wanted.shape:
            case "Table":
                return self._tables[include]
            case "PartialObjectMetadata" | "PartialObjectMetadataList":
                return self._partial
            case _ if kind.view_of:
                return self._views.setdefault(kind, ViewShape(kind))
            case _:
                return self.plain


def in_media_type(body: bytes, wanted: Wanted) -> bytes:
    """A whole answer in JSON, or the same in YAML."""
    if wanted.media_type != YAML:
        return body
    return to_yaml(json.loads(body)).encode()


def joined(shape: Shape, items: Sequence[Stored]) -> Iterator[bytes]:
    """Items with commas between them."""
    for number, stored in enumerate(items):
        if number:
            yield b","
        yield shape.item(stored)


def failure(error: errors.ApiError) -> Json:
    """An error as a Status, in words that can be sent whatever the client has sent."""
    about = error.details
    details: Json = {}
    for name, value in (("name", about.name), ("group", about.group), ("kind", about.kind), ("uid", about.uid)):
        if value:
            details[name] = _told(value)
    if about.causes:
        details["causes"] = list(_causes(about.causes))
    if error.retry_after:
        details["retryAfterSeconds"] = error.retry_after
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": _told(error.message),
        "reason": error.reason,
        "details": details,
        "code": error.http,
    }


def _causes(causes: Iterable[errors.Cause]) -> Iterator[Json]:
    """The first of them, as many as there is room for."""
    room = _CAUSES_CHARACTERS
    for cause in causes:
        texts = (("reason", cause.reason), ("message", cause.message), ("field", cause.field))
        shown = {name: _told(value) for name, value in texts if value}
        room -= sum(map(len, shown.values()))
        if room < 0:
            return
        yield shown


def _told(text: str) -> str:
    """The beginning of a long text, and no halves of characters."""
    if len(text) > _MESSAGE_CHARACTERS:
        text = text[:_MESSAGE_CHARACTERS] + "..."
    return text if text.isascii() else text.encode(errors="replace").decode()


def failed_watch(error: errors.ApiError) -> bytes:
    """The last event of a watch that fails."""
    return b'{"type":"ERROR","object":%b}\n' % dump(failure(error))


def deleted(stored: Stored) -> bytes:
    """What a client is told of an object that is gone."""
    kind, meta = stored.kind, stored.decode().metadata
    details = {"name": meta.name, "group": kind.group, "kind": kind.plural, "uid": meta.uid}
    about = {name: value for name, value in details.items() if value}
    return dump({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about})


def done(code: int) -> bytes:
    """What a client is told that did something to an object and gets no object."""
    return dump({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})


def warning_headers(warnings: Iterable[str]) -> Iterator[tuple[str, str]]:
    """One header for each warning, as RFC 7234 writes them; too many are cut off."""
    room = _WARNING_BYTES
    for warning in warnings:
        text = _UNPRINTABLE.sub(" ", warning).replace("\\", "\\\\").replace('"', '\\"')
        text = text.encode(errors="replace").decode()
        room -= len(text.encode())
        if room < 0:
            return
        yield "Warning", f'299 - "{text}"'


_INCLUDED: Final[Sequence[Include]] = ("None", "Metadata", "Object")
