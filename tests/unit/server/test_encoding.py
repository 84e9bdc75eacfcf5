"""Bytes framed by hand are the bytes protobuf would have made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.kinds import Kind, all_kinds, kind_of, unwrap, wrap
from orchestrator.api.status import to_status
from orchestrator.api.v1 import BatchReply, ConfigMap, ListReply, Object, ObjectMeta, ObjectReply, Pod, WatchEvent
from orchestrator.server import encoding
from orchestrator.server.encoding import Stored


def a_map(size: int) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name="x", namespace="default", labels={"a": "b"}), data={"v": "x" * size})


@pytest.mark.parametrize("kind", all_kinds(), ids=str)
def test_the_version_is_appended_for_every_kind(kind: Kind) -> None:
    obj = kind.message()
    obj.metadata.name = "x"
    obj.metadata.resource_version = "3"
    value = encoding.encode(kind, obj)
    assert unwrap(Object.FromString(value)).metadata.resource_version == ""
    read = unwrap(Object.FromString(Stored(kind, value, 1234567).wire()))
    obj.metadata.resource_version = "1234567"
    assert read == obj
    assert encoding.decode(kind, value).metadata.name == "x"


@given(st.integers(min_value=0, max_value=70_000), st.integers(min_value=1, max_value=2**62))
def test_replies(size: int, revision: int) -> None:
    kind = kind_of(ConfigMap)
    obj = a_map(size)
    stored = Stored(kind, encoding.encode(kind, obj), revision)
    obj.metadata.resource_version = str(revision)
    reply = ObjectReply.FromString(encoding.object_reply(stored, ["careful"]))
    assert reply == ObjectReply(object=wrap(obj), warnings=["careful"])
    listed = ListReply.FromString(b"".join(encoding.list_item(stored) * 2))
    assert [unwrap(item) for item in listed.items] == [obj, obj]
    event = WatchEvent.FromString(encoding.watch_event(WatchEvent.DELETED, stored.wire()))
    assert event == WatchEvent(type=WatchEvent.DELETED, object=wrap(obj))
    status = to_status(errors.NotFound.of("pods", "web"))
    batch = BatchReply.FromString(encoding.batch_result(stored) + encoding.batch_result(status))
    assert (unwrap(batch.results[0].object), batch.results[1].error) == (obj, status)


def test_equal_objects_are_equal_bytes() -> None:
    one, other = a_map(1), a_map(1)
    for i in range(20):
        one.data[f"k{i}"] = "v"
        other.data[f"k{19 - i}"] = "v"
    assert encoding.encode(kind_of(ConfigMap), one) == encoding.encode(kind_of(ConfigMap), other)


def test_what_was_not_written_has_no_version() -> None:
    kind = kind_of(ConfigMap)
    assert Stored(kind, encoding.encode(kind, a_map(1)), 0).decode().metadata.resource_version == ""


def test_bookmarks() -> None:
    event = WatchEvent.FromString(encoding.bookmark(kind_of(Pod), 9, initial_events_end=True))
    assert event.type == WatchEvent.BOOKMARK
    assert event.object.pod == Pod(
        metadata=ObjectMeta(resource_version="9", annotations={"k8s.io/initial-events-end": "true"})
    )


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_varints(number: int) -> None:
    assert ListReply(remaining_item_count=number).SerializeToString() == b"\x20" + encoding.varint(number)
