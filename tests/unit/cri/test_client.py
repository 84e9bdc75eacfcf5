"""The client's errors and the stream of events, over a real socket with a runtime that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from agents.cri.client import CriClient
from agents.cri.errors import CriError, CriNotFoundError, CriTimeoutError, CriUnavailableError, CriUnsupportedError
from agents.cri.events import ContainerEvent, ContainerEvents, EventType, Resync, container_event
from agents.cri.v1 import events_pb2 as events
from agents.cri.v1 import runtime_pb2 as cri
from agents.cri.v1 import task_events_pb2 as task
from orchestrator.clock import SystemClock
from tests.unit.cri.fake_runtime import FakeRuntime


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[FakeRuntime]:
    made = FakeRuntime(tmp_path / "runtime.sock")
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.NOT_FOUND, CriNotFoundError),
        (grpc.StatusCode.UNAVAILABLE, CriUnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, CriTimeoutError),
        (grpc.StatusCode.UNIMPLEMENTED, CriUnsupportedError),
        (grpc.StatusCode.UNKNOWN, CriError),
    ],
)
async def test_refusals_keep_the_runtimes_words(
    runtime: FakeRuntime, code: grpc.StatusCode, error: type[CriError]
) -> None:
    runtime.answers["ContainerStatus"] = code
    async with CriClient(runtime.socket) as client:
        with pytest.raises(CriError) as refused:
            await client.container_status("x")
    assert type(refused.value) is error
    assert (refused.value.message, refused.value.code) == ("ContainerStatus was refused", code)


async def test_a_runtime_that_is_away_is_unavailable(tmp_path: Path) -> None:
    async with CriClient(tmp_path / "absent.sock") as client:
        with pytest.raises(CriUnavailableError):
            await client.version()


async def test_an_image_that_is_not_here_is_none(runtime: FakeRuntime) -> None:
    answers = [cri.ImageStatusResponse(), cri.ImageStatusResponse(image=cri.Image(id="sha256:1"))]
    runtime.answers["ImageStatus"] = lambda _: answers.pop(0)
    async with CriClient(runtime.socket) as client:
        assert await client.image_status("a") is None
        assert await client.image_status("a") == cri.Image(id="sha256:1")


def envelope(topic: str, event: task.TaskStart | task.TaskExit | task.TaskOOM) -> events.Envelope:
    made = events.Envelope(topic=topic)
    made.event.type_url = event.DESCRIPTOR.full_name
    made.event.value = event.SerializeToString()
    return made


@pytest.mark.parametrize(
    ("given", "event"),
    [
        (envelope("/tasks/start", task.TaskStart(container_id="c")), ContainerEvent("c", EventType.STARTED)),
        (
            envelope("/tasks/exit", task.TaskExit(container_id="c", id="c", exit_status=3)),
            ContainerEvent("c", EventType.EXITED, 3),
        ),
        (
            envelope("/tasks/exit", task.TaskExit(container_id="c", exit_status=0)),
            ContainerEvent("c", EventType.EXITED, 0),
        ),
        (envelope("/tasks/exit", task.TaskExit(container_id="c", id="an-exec")), None),
        (envelope("/tasks/oom", task.TaskOOM(container_id="c")), ContainerEvent("c", EventType.OOM)),
        (envelope("/tasks/paused", task.TaskOOM(container_id="c")), None),
        # A type that doesn't fit its topic.
        (envelope("/tasks/exit", task.TaskStart(container_id="c")), None),
    ],
)
def test_what_an_event_says(given: events.Envelope, event: ContainerEvent | None) -> None:
    assert container_event(given) == event


async def test_events_begin_with_a_resync_and_go_on_after_a_break(runtime: FakeRuntime) -> None:
    async with CriClient(runtime.socket) as client:
        stream = aiter(ContainerEvents(client.channel, SystemClock()))

        async def following() -> ContainerEvent | Resync:
            return await asyncio.wait_for(anext(stream), 10)

        assert await following() == Resync()
        runtime.emit("/tasks/start", task.TaskStart(container_id="a"))
        assert await following() == ContainerEvent("a", EventType.STARTED)
        runtime.end_streams()
        assert await following() == Resync()
        runtime.emit("/tasks/exit", task.TaskExit(container_id="a", id="a", exit_status=1))
        assert await following() == ContainerEvent("a", EventType.EXITED, 1)
        await runtime.stop()
        again = FakeRuntime(runtime.socket)
        waiting = asyncio.ensure_future(following())
        await again.start()
        try:
            assert await waiting == Resync()
            assert all("namespace==k8s.io" in each for each in again.filters)
        finally:
            await again.stop()


async def test_the_resync_comes_only_once_the_subscription_holds(runtime: FakeRuntime) -> None:
    runtime.subscribing.clear()
    async with CriClient(runtime.socket) as client:
        stream = aiter(ContainerEvents(client.channel, SystemClock()))
        first = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(10):
            # Markers are published into the void as long as nobody is subscribed.
            while runtime.calls.count("Publish") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not first.done()
        runtime.subscribing.set()
        assert await asyncio.wait_for(first, 10) == Resync()
        published = runtime.calls.count("Publish")
        runtime.emit("/tasks/oom", task.TaskOOM(container_id="a"))
        assert await asyncio.wait_for(anext(stream), 10) == ContainerEvent("a", EventType.OOM)
        # One may have been under way when the first came back.
        assert runtime.calls.count("Publish") <= published + 1
