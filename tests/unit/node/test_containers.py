"""Which container a stream means, when one ends, and which logs are put aside: against a runtime that is a fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from agents.cri.client import CriClient
from agents.cri.v1 import runtime_pb2 as cri
from agents.cri.v1 import task_events_pb2 as task
from agents.node.containers import ContainerFinder, Endings, LogFile
from agents.node.log_rotation import LogRotation, surplus
from orchestrator.api import errors
from orchestrator.api.v1 import Pod
from orchestrator.clock import FakeClock, SystemClock
from orchestrator.paths import Paths
from tests.unit.cri.fake_runtime import FakeRuntime


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[FakeRuntime]:
    made = FakeRuntime(tmp_path / "runtime.sock")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def client(runtime: FakeRuntime) -> AsyncIterator[CriClient]:
    async with CriClient(runtime.socket) as made:
        yield made


def pod(*containers: str) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = "web", "shop", "u-1"
    for name in containers:
        made.spec.containers.add(name=name)
    return made


def container(attempt: int, state: cri.ContainerState.ValueType) -> cri.Container:
    made = cri.Container(id=f"id-{attempt}", state=state)
    made.metadata.attempt = attempt
    made.labels.update(
        {
            "io.kubernetes.pod.name": "web",
            "io.kubernetes.pod.namespace": "shop",
            "io.kubernetes.pod.uid": "u-1",
            "io.kubernetes.container.name": "main",
        }
    )
    return made


def listing(*containers: cri.Container) -> cri.ListContainersResponse:
    return cri.ListContainersResponse(containers=containers)


EXITED, RUNNING = cri.CONTAINER_EXITED, cri.CONTAINER_RUNNING


@pytest.mark.parametrize(
    ("containers", "files", "previous", "found"),
    [
        ([container(0, RUNNING)], [0], False, ("0.log", "id-0", True)),
        ([container(0, EXITED), container(1, RUNNING)], [0, 1], False, ("1.log", "id-1", True)),
        ([container(1, EXITED), container(0, EXITED)], [0, 1], False, ("1.log", "id-1", False)),
        ([container(2, RUNNING)], [1, 2], True, ("1.log", "", False)),
        # Removed from the runtime; its log is still there.
        ([], [3, 10], False, ("10.log", "", False)),
        ([container(0, RUNNING)], [0], True, 'previous terminated container "main" in pod "web" not found'),
        ([container(2, RUNNING)], [2], True, 'previous terminated container "main" in pod "web" not found'),
        ([], [], False, 'container "main" in pod "web" is waiting to start: ImagePullBackOff'),
        ([], [], True, 'previous terminated container "main" in pod "web" not found'),
    ],
)
async def test_the_log_that_is_meant(
    runtime: FakeRuntime,
    client: CriClient,
    tmp_path: Path,
    containers: Sequence[cri.Container],
    files: Sequence[int],
    previous: bool,
    found: tuple[str, str, bool] | str,
) -> None:
    asking = pod("main")
    asking.status.container_statuses.add(name="main").state.waiting.reason = "ImagePullBackOff"
    runtime.answers["ListContainers"] = lambda _: listing(*containers)
    directory = Paths(tmp_path).pod_logs / "shop_web_u-1" / "main"
    directory.mkdir(parents=True)
    for number in files:
        (directory / f"{number}.log").touch()
    finder = ContainerFinder(Paths(tmp_path), client, lambda *_: asking)
    if isinstance(found, str):
        with pytest.raises(errors.BadRequest) as error:
            await finder.log_file("shop", "web", "", previous=previous)
        assert error.value.message == found
    else:
        name, container_id, running = found
        expected = LogFile(directory / name, container_id, running)
        assert await finder.log_file("shop", "web", "main", previous=previous) == expected


async def test_only_a_running_container_takes_commands(runtime: FakeRuntime, client: CriClient, tmp_path: Path) -> None:
    finder = ContainerFinder(Paths(tmp_path), client, lambda _, name: pod("main") if name == "web" else None)
    runtime.answers["ListContainers"] = lambda _: listing(container(0, EXITED), container(1, RUNNING))
    assert await finder.running("shop", "web", "") == "id-1"
    runtime.answers["ListContainers"] = lambda _: listing(container(0, EXITED))
    with pytest.raises(errors.BadRequest, match='container "main" in pod "web" is not running'):
        await finder.running("shop", "web", "main")
    with pytest.raises(errors.NotFound, match='pods "db" not found'):
        await finder.running("shop", "db", "")


async def test_an_ending_is_told_once_the_runtime_has_noted_it(runtime: FakeRuntime, client: CriClient) -> None:
    states = {"a": RUNNING, "b": RUNNING}
    asked = 0

    def status(raw: bytes) -> Message:
        nonlocal asked
        asked += 1
        wanted = cri.ContainerStatusRequest.FromString(raw).container_id
        # The event is faster than the runtime's own notes.
        if asked == 6:
            states["a"] = EXITED
        return cri.ContainerStatusResponse(status=cri.ContainerStatus(id=wanted, state=states[wanted]))

    runtime.answers["ContainerStatus"] = status
    endings = Endings(client, SystemClock())
    running = asyncio.ensure_future(endings.run())
    first, second = (asyncio.ensure_future(endings.of(name)) for name in ("a", "b"))
    try:
        async with asyncio.timeout(10):
            # Both have looked, and the stream of events has begun, upon which they look again.
            while asked < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            runtime.emit("/tasks/exit", task.TaskExit(container_id="a", id="a"))
            await first
        assert not second.done()
    finally:
        for each in (running, second):
            each.cancel()
        await asyncio.gather(running, second, return_exceptions=True)


async def test_the_ending_of_a_container_that_is_gone_is_now(runtime: FakeRuntime, client: CriClient) -> None:
    runtime.answers["ContainerStatus"] = grpc.StatusCode.NOT_FOUND
    await asyncio.wait_for(Endings(client, SystemClock()).of("a"), 10)


async def test_a_large_log_is_put_aside_and_the_oldest_go(
    runtime: FakeRuntime, client: CriClient, tmp_path: Path
) -> None:
    runtime.answers["ListContainers"] = lambda _: listing(container(0, RUNNING))
    directory = tmp_path / "shop_web_u-1" / "main"
    directory.mkdir(parents=True)
    file = directory / "0.log"

    def reopen(_: bytes) -> Message:
        file.write_bytes(b"")
        return cri.ReopenContainerLogResponse()

    runtime.answers["ReopenContainerLog"] = reopen
    clock = FakeClock()
    rotation = LogRotation(tmp_path, client, clock, largest=100)
    file.write_bytes(b"x" * 100)
    await rotation.rotate()
    assert [path.name for path in directory.iterdir()] == ["0.log"]
    for round_number in range(6):
        file.write_bytes(str(round_number).encode() * 101)
        clock.advance(1)
        await rotation.rotate()
    assert file.read_bytes() == b""
    aside = sorted(directory.glob("0.log.*"))
    assert [path.read_bytes()[:1] for path in aside] == [b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize(
    ("aside", "deleted"), [([], []), (["a"], []), (list("dcba"), []), (list("fedcba"), ["a", "b"])]
)
def test_which_logs_are_too_many(aside: list[str], deleted: list[str]) -> None:
    assert list(surplus(aside)) == deleted
