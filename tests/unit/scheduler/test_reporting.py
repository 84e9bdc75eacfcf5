"""The condition that says why a pod waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.v1 import Pod
from orchestrator.client.operations import AnyOperation, Update
from orchestrator.clock import FakeClock
from orchestrator.scheduler.reporting import Reporter, with_condition
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


class Server:
    """One pod, its state as the watch shows it, and a fault for the next write. A write is shown only by `show`."""

    def __init__(self) -> None:
        self.pod: Pod = make_pod()
        self.pod.metadata.resource_version = "1"
        self.shown: Pod | None = clone(self.pod)
        self.fault: errors.ApiError | None = None
        self.requests = 0

    async def batch(self, operations: Sequence[AnyOperation]) -> list[KubeObject | errors.ApiError]:
        self.requests += 1
        (operation,) = operations
        assert isinstance(operation, Update)
        assert operation.subresource == "status"
        fault, self.fault = self.fault, None
        if isinstance(fault, errors.ServiceUnavailable):
            raise fault
        if fault is not None:
            return [fault]
        assert isinstance(operation.obj, Pod)
        if operation.obj.metadata.resource_version != self.pod.metadata.resource_version:
            return [errors.Conflict.of("pods", "web")]
        self.pod = clone(operation.obj)
        self.touch()
        return [self.pod]

    def touch(self) -> None:
        """Somebody changes the pod."""
        self.pod.metadata.resource_version = str(int(self.pod.metadata.resource_version) + 1)

    def show(self) -> None:
        self.shown = clone(self.pod)

    @property
    def message(self) -> str:
        return next((each.message for each in self.pod.status.conditions if each.type == "PodScheduled"), "")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def reporter(server: Server, clock: FakeClock) -> AsyncIterator[Reporter]:
    made = Reporter(server, lambda key: server.shown if key == "default/web" else None, clock, random.Random(0))
    task = asyncio.create_task(made.run())
    yield made
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_last_word_is_written(server: Server, clock: FakeClock, reporter: Reporter) -> None:
    reporter.say(server.pod, "Unschedulable", "no room")
    reporter.say(server.pod, "Unschedulable", "no nodes")
    await clock.settle()
    assert (server.message, server.requests) == ("no nodes", 1)
    server.show()
    reporter.say(server.pod, "Unschedulable", "no nodes")
    await clock.settle()
    assert server.requests == 1


async def test_a_pod_that_changed_is_written_when_the_watch_has_shown_it(
    server: Server, clock: FakeClock, reporter: Reporter
) -> None:
    server.touch()
    reporter.say(server.pod, "Unschedulable", "no room")
    await clock.settle()
    assert (server.message, server.requests) == ("", 1)
    server.show()
    reporter.changed(server.pod.metadata.uid)
    await clock.settle()
    assert (server.message, server.requests) == ("no room", 2)
    reporter.changed(server.pod.metadata.uid)
    await clock.settle()
    assert server.requests == 2


async def test_what_is_bound_meanwhile_is_left_alone(server: Server, clock: FakeClock, reporter: Reporter) -> None:
    server.pod.spec.node_name = "n1"
    server.touch()
    reporter.say(server.pod, "Unschedulable", "no room")
    await clock.settle()
    server.show()
    reporter.changed(server.pod.metadata.uid)
    await clock.settle()
    assert (server.message, server.requests) == ("", 1)


async def test_what_is_forgotten_is_not_written(server: Server, clock: FakeClock, reporter: Reporter) -> None:
    server.touch()
    reporter.say(server.pod, "Unschedulable", "no room")
    await clock.settle()
    reporter.forget(server.pod.metadata.uid)
    server.show()
    reporter.changed(server.pod.metadata.uid)
    reporter.say(server.pod, "Unschedulable", "no nodes")
    reporter.forget(server.pod.metadata.uid)
    await clock.settle()
    assert (server.message, server.requests) == ("", 1)


async def test_without_a_server_it_tries_again(server: Server, clock: FakeClock, reporter: Reporter) -> None:
    server.fault = errors.ServiceUnavailable("gone")
    reporter.say(server.pod, "Unschedulable", "no room")
    await clock.settle()
    assert server.message == ""
    await clock.run(1.0)
    assert server.message == "no room"


async def test_what_is_refused_is_given_up(server: Server, clock: FakeClock, reporter: Reporter) -> None:
    server.fault = errors.Forbidden("not yours")
    reporter.say(server.pod, "Unschedulable", "no room")
    await clock.run(10.0)
    assert (server.message, server.requests) == ("", 1)
