"""Lifecycle hooks: a command, a request, a pause; and an end for those that have none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from agents.cri.client import CriClient
from agents.cri.errors import CriError, CriNotFoundError
from agents.cri.v1 import runtime_pb2 as cri
from agents.node.hooks import run_hook
from agents.node.probe_handlers import Outcome, Target
from orchestrator.api.v1 import Container, ExecAction, HTTPGetAction, LifecycleHandler, SleepAction
from orchestrator.clock import FakeClock

TARGET = Target(Container(name="main"), "id", "127.0.0.1")
COMMAND = LifecycleHandler(exec=ExecAction(command=["drain", "now"]))


@dataclass
class ScriptedRuntime:
    answer: cri.ExecSyncResponse | CriError = field(default_factory=cri.ExecSyncResponse)
    never: bool = False
    asked: list[tuple[str, tuple[str, ...], int]] = field(default_factory=list)

    async def exec_sync(self, container_id: str, command: Sequence[str], seconds: int) -> cri.ExecSyncResponse:
        self.asked.append((container_id, tuple(command), seconds))
        if self.never:
            await asyncio.get_running_loop().create_future()
        if isinstance(self.answer, CriError):
            raise self.answer
        return self.answer


async def run(
    handler: LifecycleHandler,
    runtime: ScriptedRuntime | None = None,
    clock: FakeClock | None = None,
    seconds: float = 30,
) -> Outcome:
    return await run_hook(cast(CriClient, runtime or ScriptedRuntime()), clock or FakeClock(), handler, TARGET, seconds)


async def test_a_command_runs_in_the_container_within_what_is_left() -> None:
    runtime = ScriptedRuntime()
    assert await run(COMMAND, runtime, seconds=2.5) == Outcome(True)
    assert runtime.asked == [("id", ("drain", "now"), 3)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (cri.ExecSyncResponse(exit_code=3, stderr=b"busy"), "busy"),
        (CriError("no such file"), "no such file"),
        (CriNotFoundError("no such container"), "no such container"),
    ],
)
async def test_a_command_that_fails(answer: cri.ExecSyncResponse | CriError, message: str) -> None:
    assert await run(COMMAND, ScriptedRuntime(answer)) == Outcome(False, message)


async def test_a_command_that_never_ends_is_given_up() -> None:
    clock = FakeClock()
    running = asyncio.create_task(run(COMMAND, ScriptedRuntime(never=True), clock, seconds=5))
    await clock.run(4)
    assert not running.done()
    await clock.run(2)
    assert await running == Outcome(False, "not done within 5 s")


async def test_sleep() -> None:
    clock = FakeClock()
    running = asyncio.create_task(run(LifecycleHandler(sleep=SleepAction(seconds=7)), clock=clock))
    await clock.run(6)
    assert not running.done()
    await clock.run(2)
    assert await running == Outcome(True)


async def test_sleep_ends_with_the_grace_period() -> None:
    clock = FakeClock()
    running = asyncio.create_task(run(LifecycleHandler(sleep=SleepAction(seconds=70)), clock=clock))
    await clock.run(31)
    assert not (await running).succeeded


async def test_a_request() -> None:
    paths: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        paths.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
        writer.write(b"HTTP/1.1 500 No\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        action = HTTPGetAction(path="/stop")
        action.port.number_value = server.sockets[0].getsockname()[1]
        outcome = await run(LifecycleHandler(http_get=action))
    assert outcome == Outcome(False, "HTTP probe failed with statuscode: 500")
    assert paths == [b"/stop"]


async def test_a_handler_that_is_not_carried_out_is_a_success() -> None:
    handler = LifecycleHandler()
    handler.tcp_socket.port.number_value = 1
    assert await run(handler) == Outcome(True)
