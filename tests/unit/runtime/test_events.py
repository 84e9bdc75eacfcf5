"""The event recorder: counts repeats, survives lost answers and expired events, and never floods."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.api import errors
from orchestrator.api.v1 import Event, Node, ObjectMeta, Pod
from orchestrator.clock import FakeClock
from orchestrator.runtime.events import BURST, WAITING_LIMIT, EventRecorder
from orchestrator.runtime.plan import EventRecord
from tests.unit.client.fake_api import FakeApi


def happened(message: str = "it did", *, pod: str = "web") -> EventRecord:
    about = Pod(metadata=ObjectMeta(namespace="default", name=pod, uid=f"{pod}-uid", resource_version="7"))
    return EventRecord(about, "Normal", "Happened", message)


@asynccontextmanager
async def recording(api: FakeApi) -> AsyncIterator[tuple[FakeClock, EventRecorder]]:
    clock = FakeClock()
    recorder = EventRecorder(api, "tester", clock, random.Random(1), host="n1")
    task = asyncio.ensure_future(recorder.run())
    try:
        yield clock, recorder
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def events(api: FakeApi) -> list[tuple[str, int]]:
    return [(event.message, event.count) for event in api.of(Event).values()]


async def test_an_event_says_what_when_and_who() -> None:
    api = FakeApi()
    async with recording(api) as (clock, recorder):
        clock.advance(90)
        recorder.record(happened())
        await recorder.flushed()
        (event,) = api.of(Event).values()
    about = event.involved_object
    assert (about.kind, about.api_version, about.namespace, about.name) == ("Pod", "v1", "default", "web")
    assert (about.uid, about.resource_version) == ("web-uid", "7")
    assert (event.type, event.reason, event.message, event.count) == ("Normal", "Happened", "it did", 1)
    assert (event.source.component, event.source.host, event.reporting_component) == ("tester", "n1", "tester")
    assert event.metadata.namespace == "default" and event.metadata.name.startswith("web.")
    assert event.first_timestamp == event.last_timestamp
    assert event.first_timestamp.ToJsonString() == "2026-01-01T00:01:30Z"


async def test_of_things_without_a_namespace() -> None:
    api = FakeApi()
    async with recording(api) as (_, recorder):
        recorder.record(EventRecord(Node(metadata=ObjectMeta(name="n1")), "Normal", "Ready", "it is"))
        await recorder.flushed()
    (event,) = api.of(Event).values()
    assert event.metadata.namespace == "default" and event.involved_object.namespace == ""


async def test_repeats_are_counted() -> None:
    api = FakeApi()
    async with recording(api) as (_, recorder):
        for _ in range(3):
            recorder.record(happened())
        await recorder.flushed()
        assert events(api) == [("it did", 3)]
        recorder.record(happened())
        recorder.record(happened("something else"))
        await recorder.flushed()
        assert sorted(events(api)) == [("it did", 4), ("something else", 1)]


async def test_an_expired_event_begins_anew() -> None:
    api = FakeApi()
    async with recording(api) as (_, recorder):
        recorder.record(happened())
        await recorder.flushed()
        api.remove(Event, next(iter(api.of(Event))))
        recorder.record(happened())
        await recorder.flushed()
        assert events(api) == [("it did", 1)]
        recorder.record(happened())
        await recorder.flushed()
        assert events(api) == [("it did", 2)]


async def test_a_lost_answer_makes_no_second_event() -> None:
    api = FakeApi(lose_answers=1)
    async with recording(api) as (clock, recorder):
        recorder.record(happened())
        await clock.run(10)
        await recorder.flushed()
        assert len(api.called("batch")) == 2
        assert events(api) == [("it did", 1)]


async def test_a_server_that_stays_away_costs_events_not_memory() -> None:
    api = FakeApi()
    api.fail("batch", *[errors.ServiceUnavailable("down")] * 5)
    async with recording(api) as (clock, recorder):
        recorder.record(happened())
        await clock.run(60)
        await recorder.flushed()
        assert events(api) == []
        recorder.record(happened("later"))
        await recorder.flushed()
        assert events(api) == [("later", 1)]


async def test_what_waits_is_bounded() -> None:
    api = FakeApi()
    recorder = EventRecorder(api, "tester", FakeClock(), random.Random(1))
    for number in range(WAITING_LIMIT + 10):
        recorder.record(happened(pod=f"p{number}"))
    assert recorder.dropped == 10


async def test_one_object_can_not_flood() -> None:
    api = FakeApi()
    async with recording(api) as (clock, recorder):
        for number in range(BURST + 5):
            recorder.record(happened(str(number)))
        recorder.record(happened("of another", pod="other"))
        await recorder.flushed()
        assert len(events(api)) == BURST + 1 and recorder.dropped == 5
        clock.advance(600)
        for number in range(3):
            recorder.record(happened(f"later {number}"))
        await recorder.flushed()
        assert len(events(api)) == BURST + 3


async def test_a_refused_event_is_let_go() -> None:
    api = FakeApi(allow=lambda obj: errors.Forbidden("the namespace is being terminated"))
    async with recording(api) as (_, recorder):
        recorder.record(happened())
        await recorder.flushed()
        assert events(api) == [] and len(api.called("batch")) == 1


async def test_long_messages_are_cut_at_a_character() -> None:
    api = FakeApi()
    async with recording(api) as (_, recorder):
        recorder.record(happened("é" * 2000))
        await recorder.flushed()
    ((message, _),) = events(api)
    assert len(message.encode()) <= 1024 and message.endswith("é...")
