"""Bytes in, the same bytes out.

An object is stored as a serialized `Object` without its resourceVersion, which is only known once the write has its
revision. Concatenated protobuf messages parse as one merged message, so appending a few bytes adds the
resourceVersion on the way out, and replies, list items and watch events are framed around stored bytes without decoding
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor

from orchestrator.api.kinds import Kind, KubeObject
from orchestrator.api.v1 import BatchReply, ListReply, Object, ObjectMeta, ObjectReply, Status, WatchEvent

_LENGTH_DELIMITED = 2


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the store has it. `revision` is its last write's, 0 for one that was not written (a dry run)."""

    kind: Kind
    value: bytes
    revision: int
    removed: bool = False
    """The object is gone; this is its last state."""

    def wire(self) -> bytes:
        """The serialized Object a client gets, resourceVersion included."""
        return self.value + revision_suffix(self.kind, self.revision) if self.revision else self.value

    def decode(self) -> KubeObject:
        """A fresh message, the caller's to change, with its resourceVersion set."""
        return decode(self.kind, self.wire())


def encode(kind: Kind, obj: KubeObject) -> bytes:
    """The bytes to store: a serialized Object, the same for equal objects, without resourceVersion."""
    if obj.metadata.resource_version:
        obj.metadata.ClearField("resource_version")
    return delimited(_kind_tags(kind.field)[0], obj.SerializeToString(deterministic=True))


def decode(kind: Kind, value: bytes) -> KubeObject:
    """The object in stored bytes, as a message of its own."""
    obj: KubeObject = getattr(Object.FromString(value), kind.field)
    return obj


def revision_suffix(kind: Kind, revision: int) -> bytes:
    """What, appended to the bytes of an Object of this kind, sets metadata.resourceVersion."""
    kind_tag, metadata_tag = _kind_tags(kind.field)
    version = delimited(_RESOURCE_VERSION, str(revision).encode())
    return delimited(kind_tag, delimited(metadata_tag, version))


def object_reply(stored: Stored, warnings: Iterable[str] = ()) -> bytes:
    """A serialized ObjectReply."""
    reply = delimited(_REPLY_OBJECT, stored.wire())
    extra = list(warnings)
    return reply + ObjectReply(warnings=extra).SerializeToString() if extra else reply


def list_item(stored: Stored) -> tuple[bytes, ...]:
    """One item of a serialized ListReply, in pieces: a reply of many is put together, and copied, once."""
    suffix = revision_suffix(stored.kind, stored.revision) if stored.revision else b""
    return _LIST_ITEMS, varint(len(stored.value) + len(suffix)), stored.value, suffix


def batch_result(result: Stored | Status) -> bytes:
    """One result of a serialized BatchReply."""
    if isinstance(result, Stored):
        inner = delimited(_RESULT_OBJECT, result.wire())
    else:
        inner = delimited(_RESULT_ERROR, result.SerializeToString())
    return delimited(_BATCH_RESULTS, inner)


def watch_event(event_type: WatchEvent.Type.ValueType, wire: bytes) -> bytes:
    """A serialized WatchEvent around the serialized Object `wire`."""
    head = WatchEvent(type=event_type).SerializeToString()
    return head + delimited(_WATCHED_OBJECT, wire)


def bookmark(kind: Kind, revision: int, *, initial_events_end: bool = False) -> bytes:
    """A serialized BOOKMARK: the watch has sent everything up to `revision`."""
    marked = bookmarked(kind, revision, initial_events_end=initial_events_end)
    return watch_event(WatchEvent.BOOKMARK, marked.wire())


def bookmarked(kind: Kind, revision: int, *, initial_events_end: bool) -> Stored:
    """The object of a BOOKMARK: nothing but how far the watch is."""
    obj = kind.message()
    if initial_events_end:
        obj.metadata.annotations["k8s.io/initial-events-end"] = "true"
    return Stored(kind, encode(kind, obj), revision)


def delimited(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field."""
    return tag + varint(len(payload)) + payload


def varint(number: int) -> bytes:
    """Protobuf's variable-length form of a number that is not negative."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _tag(descriptor: Descriptor | None, field: str) -> bytes:
    if descriptor is None:
        raise TypeError(f"not a message: it has no {field}")
    return varint(descriptor.fields_by_name[field].number << 3 | _LENGTH_DELIMITED)


@cache
def _kind_tags(field: str) -> tuple[bytes, bytes]:
    """The tags of a kind in Object, and of the metadata in that kind."""
    message = Object.DESCRIPTOR.fields_by_name[field].message_type
    return _tag(Object.DESCRIPTOR, field), _tag(message, "metadata")


_RESOURCE_VERSION = _tag(ObjectMeta.DESCRIPTOR, "resource_version")
_REPLY_OBJECT = _tag(ObjectReply.DESCRIPTOR, "object")
_LIST_ITEMS = _tag(ListReply.DESCRIPTOR, "items")
_RESULT_OBJECT = _tag(BatchReply.Result.DESCRIPTOR, "object")
_RESULT_ERROR = _tag(BatchReply.Result.DESCRIPTOR, "error")
_BATCH_RESULTS = _tag(BatchReply.DESCRIPTOR, "results")
_WATCHED_OBJECT = _tag(WatchEvent.DESCRIPTOR, "object")
