"""The condition that says why a pod waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestrator.scheduler.reporting import with_condition
from tests.unit.scheduler.making import make_pod

NOW = datetime(2026, 1, 1, 12, 0, 0, 500, tzinfo=UTC)


def test_the_condition_is_added_to_a_copy() -> None:
    pod = make_pod()
    pod.status.conditions.add(type="Other", status="True")
    told = with_condition(pod, "Unschedulable", "no room", NOW)
    assert told is not None
    assert [each.type for each in told.status.conditions] == ["Other", "PodScheduled"]
    condition = told.status.conditions[1]
    assert (condition.status, condition.reason, condition.message) == ("False", "Unschedulable", "no room")
    assert condition.last_transition_time.ToJsonString() == "2026-01-01T12:00:00Z"
    assert len(pod.status.conditions) == 1


def test_the_same_again_is_no_change_and_another_message_no_transition() -> None:
    told = with_condition(make_pod(), "Unschedulable", "no room", NOW)
    assert told is not None
    later = NOW + timedelta(hours=1)
    assert with_condition(told, "Unschedulable", "no room", later) is None
    again = with_condition(told, "Unschedulable", "no nodes", later)
    assert again is not None
    assert again.status.conditions[0].last_transition_time == told.status.conditions[0].last_transition_time
    assert again.status.conditions[0].message == "no nodes"
