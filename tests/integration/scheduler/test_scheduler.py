"""The scheduler with a real API server: bindings, what people are told, and who comes back when room appears."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject
from orchestrator.api.v1 import Event, Pod
from orchestrator.client import Bind, Client, Create
from orchestrator.client.operations import AnyOperation
from orchestrator.clock import SystemClock
from orchestrator.scheduler import Scheduler
from tests.integration.running import RunningServer
from tests.unit.scheduler.making import make_node, make_pod


@asynccontextmanager
async def running(service: Scheduler) -> AsyncIterator[None]:
    ready = asyncio.Event()
    task = asyncio.create_task(service.run(ready.set))
    waiter = asyncio.create_task(ready.wait())
    await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    yield
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def scheduler(api: RunningServer) -> AsyncIterator[None]:
    async with api.connect("scheduler") as client, running(Scheduler(client, SystemClock(), rng=random.Random(1))):
        yield


def pod(name: str, cpu: str = "0") -> Pod:
    made = make_pod(name, cpu=cpu)
    made.metadata.ClearField("uid")
    return made


async def seen(client: Client, name: str, holds: Callable[[Pod], bool]) -> Pod:
    """The pod as soon as that holds of it."""
    async with asyncio.timeout(15), aclosing(client.watch(Pod, field_selector=f"metadata.name={name}")) as changes:
        async for change in changes:
            if change.object.metadata.name == name and holds(change.object):
                return change.object
    raise AssertionError("the watch ended")


def condition(found: Pod) -> tuple[str, str, str]:
    for each in found.status.conditions:
        if each.type == "PodScheduled":
            return each.status, each.reason, each.message
    return "", "", ""


async def told(client: Client, name: str, reason: str) -> str:
    async with asyncio.timeout(15), aclosing(client.watch(Event)) as changes:
        async for change in changes:
            event = change.object
            if event.involved_object.name == name and event.reason == reason:
                return event.message
    raise AssertionError("the watch ended")


async def test_a_pod_is_bound_and_people_are_told(client: Client, scheduler: None) -> None:
    await client.create(make_node("n1"))
    await client.create(pod("web", cpu="1"))
    bound = await seen(client, "web", lambda each: bool(each.spec.node_name))
    assert bound.spec.node_name == "n1"
    assert condition(bound)[0] == "True"
    assert await told(client, "web", "Scheduled") == "Successfully assigned default/web to n1"


async def test_a_pod_without_room_says_why_and_is_bound_when_there_is_room(client: Client, scheduler: None) -> None:
    await client.create(make_node("n1", cpu="1"))
    await client.create(pod("first", cpu="1"))
    await seen(client, "first", lambda each: bool(each.spec.node_name))
    await client.create(pod("second", cpu="1"))
    message = "0/1 nodes are available: 1 Insufficient cpu."
    refused = await seen(client, "second", lambda each: condition(each)[0] == "False")
    assert condition(refused) == ("False", "Unschedulable", message)
    assert await told(client, "second", "FailedScheduling") == message
    await client.delete(Pod, "first", namespace="default", grace_period_seconds=0)
    await seen(client, "second", lambda each: each.spec.node_name == "n1")


async def test_a_gated_pod_waits_for_its_gate(client: Client, scheduler: None) -> None:
    await client.create(make_node("n1"))
    gated = pod("web")
    gated.spec.scheduling_gates.add(name="example.com/hold")
    await client.create(gated)
    waiting = await seen(client, "web", lambda each: condition(each)[1] == "SchedulingGated")
    assert not waiting.spec.node_name
    del waiting.spec.scheduling_gates[:]
    await client.update(waiting)
    await seen(client, "web", lambda each: each.spec.node_name == "n1")


async def test_a_new_node_helps(client: Client, scheduler: None) -> None:
    await client.create(pod("web"))
    refused = await seen(client, "web", lambda each: condition(each)[0] == "False")
    assert condition(refused)[2] == "no nodes available to schedule pods"
    await client.create(make_node("n1"))
    await seen(client, "web", lambda each: each.spec.node_name == "n1")


async def test_many_pods_never_overcommit_a_node(client: Client, scheduler: None) -> None:
    for number in range(3):
        await client.create(make_node(f"n{number}", cpu="2"))
    await asyncio.gather(*(client.create(pod(f"p{number}", cpu="1")) for number in range(8)))
    states: dict[str, Pod] = {}
    async with asyncio.timeout(15), aclosing(client.watch(Pod)) as changes:
        async for change in changes:
            states[change.object.metadata.name] = change.object
            if sum(condition(each)[0] != "" for each in states.values()) == 8:
                break
    on_nodes = [each.spec.node_name for each in states.values() if each.spec.node_name]
    assert sorted(on_nodes) == ["n0", "n0", "n1", "n1", "n2", "n2"]


async def test_cordoned_and_tainted_nodes_get_nothing_until_they_are_free(client: Client, scheduler: None) -> None:
    cordoned = await client.create(make_node("n1", unschedulable=True))
    await client.create(make_node("n2", taints=[("dedicated", "db", "NoSchedule")]))
    await client.create(pod("web"))
    refused = await seen(client, "web", lambda each: condition(each)[0] == "False")
    assert condition(refused)[2] == (
        "0/2 nodes are available: 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable."
    )
    tolerant = pod("database")
    tolerant.spec.tolerations.add(key="dedicated", operator="Equal", value="db", effect="NoSchedule")
    await client.create(tolerant)
    await seen(client, "database", lambda each: each.spec.node_name == "n2")
    cordoned.spec.unschedulable = False
    await client.update(cordoned)
    await seen(client, "web", lambda each: each.spec.node_name == "n1")


async def test_a_finished_pod_makes_room(client: Client, scheduler: None) -> None:
    await client.create(make_node("n1", cpu="1"))
    await client.create(pod("job", cpu="1"))
    running = await seen(client, "job", lambda each: bool(each.spec.node_name))
    await client.create(pod("next", cpu="1"))
    await seen(client, "next", lambda each: condition(each)[0] == "False")
    running.status.phase = "Succeeded"
    await client.update(running, subresource="status")
    await seen(client, "next", lambda each: each.spec.node_name == "n1")


async def test_other_schedulers_pods_are_left_alone(client: Client, scheduler: None) -> None:
    await client.create(make_node("n1"))
    foreign = pod("foreign")
    foreign.spec.scheduler_name = "example.com/other"
    await client.create(foreign)
    # Created later and bound: the earlier one was seen and left.
    await client.create(pod("web"))
    await seen(client, "web", lambda each: bool(each.spec.node_name))
    left = await client.get(Pod, "foreign", "default")
    assert not left.spec.node_name
    assert not left.status.conditions


async def test_a_condition_is_written_only_when_it_changes(client: Client, scheduler: None) -> None:
    await client.create(pod("web"))
    first = await seen(client, "web", lambda each: condition(each)[0] == "False")
    await client.create(make_node("n1", unschedulable=True))
    second = await seen(client, "web", lambda each: each.metadata.resource_version != first.metadata.resource_version)
    assert condition(second)[2] == "0/1 nodes are available: 1 node(s) were unschedulable."
    assert second.status.conditions[0].last_transition_time == first.status.conditions[0].last_transition_time
    # One more node changes the message again; a look with the same outcome in between has written nothing.
    await client.create(make_node("n2", unschedulable=True))
    third = await seen(client, "web", lambda each: each.metadata.resource_version != second.metadata.resource_version)
    assert condition(third)[2] == "0/2 nodes are available: 2 node(s) were unschedulable."


async def test_a_pod_that_changes_while_its_condition_is_written(client: Client, scheduler: None) -> None:
    """Labels and conditions are written by different hands at the same time: neither is lost."""
    await asyncio.gather(*(client.create(pod(f"p{number}")) for number in range(10)))
    await asyncio.gather(
        *(
            client.patch(Pod, f"p{number}", {"metadata": {"labels": {"round": str(round)}}}, namespace="default")
            for number in range(10)
            for round in range(3)
        )
    )
    for number in range(10):
        found = await seen(client, f"p{number}", lambda each: condition(each)[0] == "False")
        assert found.metadata.labels["round"] in {"0", "1", "2"}


async def test_the_more_important_pods_get_the_room(api: RunningServer, client: Client) -> None:
    await client.create(make_node("n1", cpu="3"))
    for number in range(3):
        await client.create(pod(f"plain{number}", cpu="1"))
        important = pod(f"important{number}", cpu="1")
        important.spec.priority = 10
        await client.create(important)
    async with api.connect("scheduler") as connected, running(Scheduler(connected, SystemClock())):
        for number in range(3):
            await seen(client, f"important{number}", lambda each: each.spec.node_name == "n1")
            await seen(client, f"plain{number}", lambda each: "1 Insufficient cpu" in condition(each)[2])


async def test_bound_by_somebody_else(client: Client, scheduler: None) -> None:
    """What others put on a node counts, and frees its room when it goes."""
    placed = pod("own", cpu="1")
    placed.spec.node_name = "n1"
    await client.create(placed)
    await client.create(make_node("n1", cpu="1"))
    await client.create(pod("web", cpu="1"))
    await seen(client, "web", lambda each: "1 Insufficient cpu" in condition(each)[2])
    await client.delete(Pod, "own", namespace="default", grace_period_seconds=0)
    await seen(client, "web", lambda each: each.spec.node_name == "n1")


async def test_the_server_restarts_in_the_middle(api: RunningServer, client: Client, scheduler: None) -> None:
    """Every pod is bound once, and no node gets more than it holds, whenever the server goes."""
    for number in range(4):
        await client.create(make_node(f"n{number}", cpu="10"))
    for round_number in range(2):
        names = [f"p{round_number}-{number}" for number in range(20)]
        results = await client.batch([Create(pod(name, cpu="1")) for name in names])
        assert all(isinstance(result, Pod) for result in results)
        await api.restart()
        async with asyncio.timeout(30):
            await client.connected()
        for name in names:
            await seen(client, name, lambda each: bool(each.spec.node_name))
    listed = await client.list(Pod)
    assert Counter(each.spec.node_name for each in listed.items) == {f"n{number}": 10 for number in range(4)}


class Faulty:
    """Stands in for the batches of a client: the first one with bindings goes wrong, in a way of the test's choice."""

    def __init__(self, client: Client, fault: str) -> None:
        self._batch = client.batch
        self._fault = fault

    async def batch(self, operations: Sequence[AnyOperation]) -> list[KubeObject | errors.ApiError]:
        fault = self._fault
        if not fault or not isinstance(operations[0], Bind):
            return await self._batch(operations)
        self._fault = ""
        match fault:
            case "answer lost":
                await self._batch(operations)
                raise errors.ServiceUnavailable("connection lost")
            case "request lost":
                raise errors.ServiceUnavailable("connection lost")
            case _:
                return [errors.Conflict.of("pods", "web") for _ in operations]


@pytest.mark.parametrize("fault", ["answer lost", "request lost", "conflict"])
async def test_a_binding_that_went_wrong(
    api: RunningServer, client: Client, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod is bound in the end, its room is counted once, and people hear of it."""
    await client.create(make_node("n1", cpu="2"))
    async with api.connect("scheduler") as connected:
        monkeypatch.setattr(connected, "batch", Faulty(connected, fault).batch)
        async with running(Scheduler(connected, SystemClock())):
            await client.create(pod("web", cpu="1"))
            await seen(client, "web", lambda each: each.spec.node_name == "n1")
            assert await told(client, "web", "Scheduled") == "Successfully assigned default/web to n1"
            await client.create(pod("second", cpu="1"))
            await seen(client, "second", lambda each: each.spec.node_name == "n1")
            await client.create(pod("third", cpu="1"))
            await seen(client, "third", lambda each: "1 Insufficient cpu" in condition(each)[2])


async def test_a_new_scheduler_takes_over(api: RunningServer, client: Client) -> None:
    """The second run of a service starts from what the server has: nothing the first one knew is missed."""
    await client.create(make_node("n1", cpu="2"))
    async with api.connect("scheduler") as connected:
        service = Scheduler(connected, SystemClock())
        for number in range(3):
            async with running(service):
                await client.create(pod(f"p{number}", cpu="1"))
                if number < 2:
                    await seen(client, f"p{number}", lambda each: bool(each.spec.node_name))
                else:
                    await seen(client, f"p{number}", lambda each: "1 Insufficient cpu" in condition(each)[2])


async def test_latency(client: Client, scheduler: None) -> None:
    """One pod after the other: create answered -> binding seen; the median is far below any batching delay."""
    await client.create(make_node("n1"))
    times = []
    async with aclosing(client.watch(Pod)) as changes:
        for number in range(20):
            created = asyncio.create_task(client.create(pod(f"p{number}")))
            began = time.perf_counter()
            async for change in changes:
                if change.object.metadata.name == f"p{number}" and change.object.spec.node_name:
                    break
            times.append(time.perf_counter() - began)
            await created
    print(f"p50 {statistics.median(times) * 1000:.1f} ms, max {max(times) * 1000:.1f} ms")
    assert statistics.median(times) < 0.1
