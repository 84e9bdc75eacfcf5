"""events.k8s.io's Event is the core group's in other words: the same object, stored once."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given

from orchestrator.api.codec import from_json, to_json
from orchestrator.api.kinds import (
    all_kinds,
    as_view,
    find_kind,
    kind_for,
    kind_for_resource,
    kind_of,
    served_kinds,
    stored_form,
    unwrap,
    wrap,
)
from orchestrator.api.v1 import Event, EventView, Pod
from tests.unit.api.schema_strategies import messages

VIEWS = [kind for kind in served_kinds() if kind.view_of]


def _shape(each: FieldDescriptor) -> tuple[Any, ...]:
    inner = each.message_type.full_name if each.message_type is not None else ""
    return each.number, each.type, each.is_repeated, each.has_presence, inner


def test_both_forms_have_the_same_fields_by_number() -> None:
    assert [kind.group_kind for kind in VIEWS] == ["Event.events.k8s.io"]
    for kind in VIEWS:
        mine = [_shape(each) for each in kind.descriptor.fields]
        assert mine == [_shape(each) for each in kind.storage.descriptor.fields]


def test_one_object_two_forms() -> None:
    view = from_json(
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "x", "namespace": "default"},
            "regarding": {"kind": "Pod", "name": "web", "namespace": "default"},
            "note": "it happened",
            "reportingController": "example.com/c",
            "eventTime": "2026-01-01T00:00:00.000001Z",
        }
    ).obj
    event = stored_form(view)
    assert isinstance(event, Event)
    assert (event.involved_object.name, event.message, event.reporting_component) == (
        "web",
        "it happened",
        "example.com/c",
    )
    assert as_view(kind_of(EventView), event) == view
    assert to_json(event)["kind"] == to_json(view)["kind"] == "Event"


@given(messages(Event))
def test_nothing_gets_lost(event: Event) -> None:
    view = as_view(kind_of(EventView), event)
    assert isinstance(view, EventView)
    assert stored_form(view) == event


def test_a_view_travels_in_the_stored_form() -> None:
    view = EventView(note="n")
    assert wrap(view).WhichOneof("kind") == "event"
    assert unwrap(wrap(view)) == Event(message="n")
    assert as_view(kind_of(EventView), unwrap(wrap(view))) == view


def test_a_view_is_found_by_its_own_name_and_kept_under_the_other() -> None:
    assert kind_for("events.k8s.io/v1", "Event") is kind_of(EventView)
    assert find_kind("events.events.k8s.io") is kind_for_resource("events.events.k8s.io") is kind_of(Event)
    assert kind_of(EventView) not in all_kinds()
    assert as_view(kind_of(Pod), pod := Pod()) is pod
