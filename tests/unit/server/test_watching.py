"""A watcher's picture, built from what it is sent, is always what a list with its selection would show."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.kinds import kind_of, unwrap
from orchestrator.api.selectors import FieldQuery, LabelQuery
from orchestrator.api.v1 import ObjectMeta, Pod, PodSpec, WatchEvent
from orchestrator.server import watching
from orchestrator.server.encoding import encode
from orchestrator.server.forms import WIRE
from orchestrator.server.watching import ChangeSeen, Selection, Subscription, Watchers
from orchestrator.store import Event, KeyValue

POD = kind_of(Pod)


def a_pod(name: str, app: str, node: str) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="default", labels={"app": app}), spec=PodSpec(node_name=node))


def changes(history: list[tuple[str, tuple[str, str] | None]]) -> Iterator[ChangeSeen]:
    """The changes a store would tell of: each step writes or deletes one of a few pods."""
    there: dict[str, KeyValue] = {}
    for revision, (name, state) in enumerate(history, start=2):
        key = f"/pods/default/{name}"
        before = there.pop(key, None)
        if state is None:
            if before is None:
                continue
            value = None
        else:
            value = encode(POD, a_pod(name, *state))
            there[key] = KeyValue(key, value, revision, revision)
        yield ChangeSeen(POD, "default", Event(key, value, revision, before))


HISTORIES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.one_of(st.none(), st.tuples(st.sampled_from(["web", "db"]), st.sampled_from(["", "n1", "n2"]))),
    ),
    max_size=25,
)
SELECTIONS = [
    Selection(POD, "", LabelQuery.parse(labels), FieldQuery.parse(fields))
    for labels, fields in [
        ("", ""),
        ("app=web", ""),
        ("app!=web", "spec.nodeName!=n1"),
        ("", "spec.nodeName=n1"),
        ("app=web", "spec.nodeName=n1"),
    ]
]


@given(HISTORIES, st.sampled_from(SELECTIONS))
def test_the_picture_is_the_list(history: list[tuple[str, tuple[str, str] | None]], selection: Selection) -> None:
    picture: dict[str, Pod] = {}
    truth: dict[str, Pod] = {}
    for change in changes(history):
        name = change.event.key.rpartition("/")[2]
        if isinstance(change.current, Pod) and selection.matches(change.current):
            truth[name] = change.current
        else:
            truth.pop(name, None)
        encoded = change.seen_by(selection, WIRE)
        if encoded is not None:
            event = WatchEvent.FromString(encoded)
            obj = unwrap(event.object)
            assert isinstance(obj, Pod)
            assert obj.metadata.resource_version == str(change.event.revision)
            assert (event.type == WatchEvent.ADDED) == (name not in picture)
            assert selection.matches(obj), "also a deleted object is shown as it was in the selection"
            obj.metadata.resource_version = ""
            if event.type == WatchEvent.DELETED:
                del picture[name]
            else:
                picture[name] = obj
        assert picture == truth


@given(HISTORIES)
def test_the_index_leaves_out_only_who_is_not_concerned(history: list[tuple[str, tuple[str, str] | None]]) -> None:
    selections = [
        *SELECTIONS,
        Selection(POD, "default", LabelQuery(), FieldQuery()),
        Selection(POD, "other", LabelQuery(), FieldQuery()),
        Selection(POD, "default", LabelQuery(), FieldQuery.parse("spec.nodeName=n1")),
        Selection(POD, "other", LabelQuery(), FieldQuery.parse("spec.nodeName=n1")),
    ]
    watchers = Watchers()
    subscriptions = [Subscription(each, after=0, bookmarks=True) for each in selections]
    for each in subscriptions:
        watchers.add(each)
    for change in changes(history):
        told = list(watchers.concerned(change))
        assert len(told) == len(set(told))
        for each in subscriptions:
            if each.selection.namespace in {"", "default"} and change.seen_by(each.selection, WIRE) is not None:
                assert each in told
            if each.selection.node_name and each.selection.node_name not in change.nodes:
                assert each not in told
            if each.selection.namespace == "other":
                assert each not in told
    for each in subscriptions:
        watchers.remove(each)
    assert list(watchers.everyone()) == []
    assert not watchers.by_node
    assert not watchers.by_namespace


async def test_a_full_backlog_ends_the_watch_after_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_BACKLOG", 3)
    subscription = Subscription(SELECTIONS[0], after=0, bookmarks=True)
    for number in range(5):
        subscription.put(bytes([number]))
    received = []
    with pytest.raises(errors.ServiceUnavailable, match="fell too far behind"):
        async for each in subscription:
            received.append(each)
            subscription.put(b"late")
    assert received == [b"\0", b"\1", b"\2"], "nothing from behind the gap"


async def test_a_backlog_of_large_events_is_bounded_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_BACKLOG_BYTES", 100)
    subscription = Subscription(SELECTIONS[0], after=0, bookmarks=True)
    reader = aiter(subscription)
    for _ in range(20):
        subscription.put(b"x" * 60)
        assert await anext(reader) == b"x" * 60, "what has been read does not count"
    for _ in range(3):
        subscription.put(b"x" * 60)
    assert [await anext(reader), await anext(reader)] == [b"x" * 60] * 2
    with pytest.raises(errors.ServiceUnavailable):
        await anext(reader)


async def test_what_the_watcher_knows_is_not_repeated() -> None:
    subscription = Subscription(SELECTIONS[0], after=3, bookmarks=True)
    for change in changes([("a", ("web", "")), ("b", ("web", "")), ("c", ("web", ""))]):
        subscription.offer(change)
    subscription.end(errors.ServiceUnavailable("over"))
    received = []
    with pytest.raises(errors.ServiceUnavailable, match="over"):
        async for each in subscription:
            received.append(WatchEvent.FromString(each).object.pod.metadata.name)
    assert received == ["c"]


async def test_a_waiting_reader_is_woken() -> None:
    subscription = Subscription(SELECTIONS[0], after=0, bookmarks=True)
    reader = asyncio.ensure_future(anext(aiter(subscription)))
    await asyncio.sleep(0)
    subscription.put(b"x")
    assert await asyncio.wait_for(reader, 5) == b"x"
