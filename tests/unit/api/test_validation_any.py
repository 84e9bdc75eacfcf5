"""Whatever the schema allows is judged: no object makes defaults or validation fail."""

from __future__ import annotations

import math

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api.allocated import keep_allocated
from orchestrator.api.defaults import set_defaults
from orchestrator.api.kinds import Kind, KubeObject, all_kinds, as_message, clone
from orchestrator.api.v1 import Deployment, Event, Node, Pod
from orchestrator.api.validation import validate, validate_status, validate_update
from tests.unit.api.schema_strategies import messages

KINDS = pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.kind)


def objects(kind: Kind) -> st.SearchStrategy[KubeObject]:
    return messages(type(as_message(kind.message())))  # type: ignore[return-value]


@KINDS
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_object_is_judged(kind: Kind, data: st.DataObject) -> None:
    old, new = data.draw(objects(kind)), data.draw(objects(kind))
    for obj in (old, new):
        set_defaults(obj)
        again = clone(obj)
        set_defaults(again)
        assert again == obj
        assert all(fault.path or fault.type for fault in validate(obj))
    assert validate_update(old, clone(old)) == []
    validate_update(new, old)
    keep_allocated(new, old)
    kept = clone(new)
    keep_allocated(kept, old)
    assert kept == new


def paths(obj: KubeObject) -> set[str]:
    return {fault.path for fault in validate(obj)}


@pytest.mark.parametrize("seconds", [-62_135_596_801, 253_402_300_800, 2**62])
def test_a_time_outside_the_calendar(seconds: int) -> None:
    event = Event()
    event.last_timestamp.seconds = seconds
    event.metadata.creation_timestamp.nanos = -1
    assert {"lastTimestamp", "metadata.creationTimestamp"} <= paths(event)
    assert "metadata.creationTimestamp" in {fault.path for fault in validate_update(event, Event())}


@pytest.mark.parametrize("seconds", [-62_135_596_800, 0, 253_402_300_799])
def test_a_time_inside_the_calendar(seconds: int) -> None:
    event = Event()
    event.last_timestamp.seconds = seconds
    assert "lastTimestamp" not in paths(event)
    MessageToDict(event)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none(number: float) -> None:
    pod = Pod()
    pod.spec.containers.add().liveness_probe.http_get.port.number_value = number
    pod.metadata.managed_fields.add().fields_v1.fields["a"].struct_value.fields["b"].number_value = number
    assert {"spec.containers[0].livenessProbe.httpGet.port", "metadata.managedFields[0].fieldsV1"} <= paths(pod)


def test_a_list_where_a_number_belongs() -> None:
    deployment = Deployment()
    deployment.spec.strategy.rolling_update.max_surge.list_value.values.add().number_value = math.nan
    set_defaults(deployment)
    found = [str(fault) for fault in validate(deployment)]
    assert (
        "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"<list>\": must be an integer or percentage (e.g '5%')"
        in found
    )


def test_a_percentage_of_many_digits() -> None:
    deployment = Deployment()
    deployment.spec.strategy.rolling_update.max_unavailable.string_value = f"{'9' * 5000}%"
    set_defaults(deployment)
    assert "spec.strategy.rollingUpdate.maxUnavailable" in paths(deployment)


def test_a_status_is_judged_by_itself() -> None:
    node = Node()
    node.status.capacity["cpu"] = "much"
    node.status.conditions.add(type="Ready").last_heartbeat_time.nanos = -1
    assert [fault.path for fault in validate_status(node)] == [
        "status.capacity[cpu]",
        "status.conditions[0].lastHeartbeatTime",
    ]
    assert validate_status(Pod()) == []
