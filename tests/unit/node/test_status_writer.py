"""Writing statuses: the newest of each, one write at a time, nothing of others' wiped out, nothing lost."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from agents.node.status_writer import StatusWriter
from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.v1 import Pod, PodStatus
from orchestrator.client import Client, Update
from orchestrator.clock import FakeClock


@dataclass
class Server:
    """Stores pods by uid, as the API would: a write must name the version it was made from."""

    pods: dict[str, Pod] = field(default_factory=dict)
    revision: int = 1
    requests: list[list[str]] = field(default_factory=list)
    faults: deque[errors.ApiError] = field(default_factory=deque)
    refusals: deque[errors.ApiError] = field(default_factory=deque)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, uid: str, phase: str = "") -> Pod:
        self.revision += 1
        pod = self.pods.setdefault(uid, Pod())
        pod.metadata.name, pod.metadata.uid, pod.metadata.namespace = uid, uid, "default"
        pod.metadata.resource_version = str(self.revision)
        if phase:
            pod.status.phase = phase
        return clone(pod)

    async def batch(self, operations: Sequence[Update]) -> list[KubeObject | errors.ApiError]:
        self.requests.append([f"{_pod(each).metadata.uid}={_pod(each).status.phase}" for each in operations])
        await self.open.wait()
        if self.faults:
            raise self.faults.popleft()
        return [self._update(_pod(each)) for each in operations]

    def _update(self, pod: Pod) -> Pod | errors.ApiError:
        if self.refusals:
            return self.refusals.popleft()
        stored = self.pods.get(pod.metadata.uid)
        if stored is None:
            return errors.NotFound.of("pods", pod.metadata.name)
        if stored.metadata.resource_version != pod.metadata.resource_version:
            return errors.Conflict.of("pods", pod.metadata.name)
        stored.status.CopyFrom(pod.status)
        return self.put(pod.metadata.uid)


def _pod(update: Update) -> Pod:
    assert isinstance(update.obj, Pod)
    assert update.subresource == "status"
    return update.obj


def phase(word: str) -> PodStatus:
    return PodStatus(phase=word)


@asynccontextmanager
async def writing(server: Server) -> AsyncIterator[tuple[StatusWriter, FakeClock]]:
    clock = FakeClock()
    server.open.set()
    writer = StatusWriter(cast(Client, server), clock, random.Random(1))
    running = asyncio.create_task(writer.run())
    try:
        yield writer, clock
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_many_pods_go_in_one_request() -> None:
    server = Server()
    async with writing(server) as (writer, clock):
        for uid in "abc":
            writer.offer(server.put(uid), phase("Running"))
        await clock.settle()
    assert server.requests == [["a=Running", "b=Running", "c=Running"]]
    assert {pod.status.phase for pod in server.pods.values()} == {"Running"}


async def test_what_the_server_has_is_not_written() -> None:
    server = Server()
    async with writing(server) as (writer, clock):
        writer.offer(server.put("a", "Running"), phase("Running"))
        await clock.settle()
    assert server.requests == []


async def test_while_a_write_is_under_way_only_the_last_is_kept() -> None:
    server = Server()
    async with writing(server) as (writer, clock):
        server.open.clear()
        pod = server.put("a")
        writer.offer(pod, phase("Pending"))
        await clock.settle()
        for word in ("Running", "Failed", "Succeeded"):
            writer.offer(pod, phase(word))
        await clock.settle()
        server.open.set()
        await clock.settle()
    assert server.requests == [["a=Pending"], ["a=Succeeded"]]
    assert server.pods["a"].status.phase == "Succeeded"


async def test_after_a_conflict_it_waits_for_the_newer_object() -> None:
    server = Server()
    async with writing(server) as (writer, clock):
        old = server.put("a")
        new = server.put("a")
        writer.offer(old, phase("Running"))
        await clock.run(60)
        assert server.requests == [["a=Running"]]
        writer.offer(new, phase("Running"))
        await clock.settle()
    assert server.pods["a"].status.phase == "Running"


async def test_nothing_is_lost_while_the_server_is_away() -> None:
    server = Server(faults=deque([errors.ServiceUnavailable("away"), errors.Timeout("late")]))
    async with writing(server) as (writer, clock):
        pod = server.put("a")
        writer.offer(pod, phase("Pending"))
        await clock.settle()
        writer.offer(pod, phase("Running"))
        await clock.run(10)
    assert server.requests == [["a=Pending"], ["a=Running"], ["a=Running"]]
    assert server.pods["a"].status.phase == "Running"


async def test_one_that_is_refused_is_not_tried_without_end() -> None:
    server = Server(refusals=deque([errors.BadRequest("no")]))
    async with writing(server) as (writer, clock):
        writer.offer(server.put("a"), phase("Running"))
        await clock.run(600)
        assert len(server.requests) == 1
        writer.offer(server.put("a"), phase("Running"))
        await clock.settle()
    assert server.pods["a"].status.phase == "Running"


async def test_a_pod_that_is_gone_is_forgotten() -> None:
    server = Server()
    async with writing(server) as (writer, clock):
        pod = server.put("a")
        del server.pods["a"]
        writer.offer(pod, phase("Running"))
        await clock.run(60)
        writer.offer(server.put("b"), phase("Running"))
        writer.forget("b")
        await clock.run(60)
    assert server.requests == [["a=Running"]]


async def test_large_numbers_go_in_several_requests() -> None:
    server = Server()
    async with writing(server) as (writer, clock):
        for number in range(150):
            writer.offer(server.put(f"p{number}"), phase("Running"))
        await clock.settle()
    assert [len(request) for request in server.requests] == [64, 64, 22]
