"""Events live for an hour after they were last seen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import Event, ObjectMeta
from orchestrator.server.encoding import encode
from orchestrator.server.expiry import expired, last_seen
from orchestrator.store import KeyValue

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


def event(*setters: Callable[[Event], None]) -> Event:
    made = Event(metadata=ObjectMeta(name="e", namespace="default"))
    for setter in setters:
        setter(made)
    return made


def created(ago: timedelta) -> Callable[[Event], None]:
    return lambda made: made.metadata.creation_timestamp.FromDatetime(NOW - ago)


def last(ago: timedelta) -> Callable[[Event], None]:
    return lambda made: made.last_timestamp.FromDatetime(NOW - ago)


def series(ago: timedelta) -> Callable[[Event], None]:
    return lambda made: made.series.last_observed_time.FromDatetime(NOW - ago)


def at(ago: timedelta) -> Callable[[Event], None]:
    return lambda made: made.event_time.FromDatetime(NOW - ago)


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("seen", "old"),
    [
        (event(created(61 * MINUTE)), True),
        (event(created(59 * MINUTE)), False),
        (event(created(90 * MINUTE), last(30 * MINUTE)), False),
        (event(created(90 * MINUTE), last(70 * MINUTE)), True),
        (event(created(90 * MINUTE), at(80 * MINUTE), series(5 * MINUTE)), False),
        (event(created(5 * MINUTE), last(90 * MINUTE)), False),
        (event(), True),
    ],
    ids=["old", "young", "seen again", "seen again long ago", "a series", "reported late", "without any time"],
)
def test_age(seen: Event, old: bool) -> None:
    stored = KeyValue("/events/default/e", encode(kind_of(Event), seen), 2, 2)
    assert bool(expired([stored], NOW)) is old


def test_the_latest_time_counts() -> None:
    assert last_seen(event(created(9 * MINUTE), last(3 * MINUTE), series(5 * MINUTE))) == NOW - 3 * MINUTE
