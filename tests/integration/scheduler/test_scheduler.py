"""The scheduler with a real API server: bindings, what people are told, and who comes back when room appears."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from orchestrator.api.v1 import Event, Pod
from orchestrator.client import Client
from orchestrator.clock import SystemClock
from orchestrator.scheduler import Scheduler
from tests.integration.running import RunningServer
from tests.unit.scheduler.making import make_node, make_pod


@pytest.fixture
async def scheduler(api: RunningServer) -> AsyncIterator[None]:
    async with api.connect("scheduler") as client:
        ready = asyncio.Event()
        task = asyncio.create_task(Scheduler(client, SystemClock(), rng=random.Random(1)).run(ready.set))
        waiter = asyncio.create_task(ready.wait())
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
