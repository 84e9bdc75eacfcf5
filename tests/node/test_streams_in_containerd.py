"""Logs and exec through the node's PodStreams service: real TLS, real containers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from agents.cri.client import CriClient
from agents.node.streams import Streams
from orchestrator.api import errors
from orchestrator.api.v1 import ExecReply, ExecRequest, ExecStart, LogsRequest, Pod, TerminalSize
from orchestrator.api.v1.streams_pb2_grpc import PodStreamsStub
from orchestrator.client.channel import api_error
from orchestrator.clock import SystemClock
from orchestrator.pki import ensure_pki
from tests.node.conftest import RuntimeLab
from tests.node.pods import PodRunner, make_pod

if TYPE_CHECKING:
    from orchestrator.api.v1.streams_pb2_grpc import PodStreamsAsyncStub


@dataclass
class Node:
    """A serving node and the pods it knows."""

    pods: PodRunner
    known: dict[str, Pod]
    streams: Streams

    async def start(self, pod: Pod) -> dict[str, str]:
        self.known[pod.metadata.name] = pod
        return await self.pods.start(pod)

    @contextlib.asynccontextmanager
    async def client(self, role: str = "server") -> AsyncIterator[PodStreamsAsyncStub]:
        pki = self.pods.paths.pki
        credentials = grpc.ssl_channel_credentials(
            (pki / "ca.crt").read_bytes(), (pki / f"{role}.key").read_bytes(), (pki / f"{role}.crt").read_bytes()
        )
        address = f"localhost:{self.streams.port}"
        async with grpc.aio.secure_channel(address, credentials) as channel:
            yield PodStreamsStub(channel)

    async def logs(self, name: str = "web", **options: object) -> str:
        async with self.client() as client:
            request = LogsRequest(namespace="default", pod=name, **options)  # type: ignore[arg-type]
            return b"".join([chunk.data async for chunk in client.Logs(request)]).decode()


@pytest.fixture
async def node(runtime_lab: RuntimeLab, cri: CriClient) -> AsyncIterator[Node]:
    # The runtime is shared with other tests, which leave certificates of authorities of their own.
    shutil.rmtree(runtime_lab.paths.pki, ignore_errors=True)
    ensure_pki(runtime_lab.paths, node_name="n1", addresses=["127.0.0.1"])
    known: dict[str, Pod] = {}
    left_by_a_killed_agent = runtime_lab.paths.run / "exec" / "exec-old"
    left_by_a_killed_agent.mkdir(parents=True)
    streams = Streams(runtime_lab.paths, cri, lambda _, name: known.get(name), SystemClock(), listen="127.0.0.1:0")
    serving = asyncio.Event()
    running = asyncio.ensure_future(streams.run(serving.set))
    await asyncio.wait_for(serving.wait(), 10)
    runner = PodRunner(runtime_lab.paths, cri)
    yield Node(runner, known, streams)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for pod in known.values():
        if pod.metadata.uid in runner.sandboxes:
            await runner.stop(pod)
    assert not list((runtime_lab.paths.run / "exec").glob("*")), "pipes of an exec were left behind"


COUNTING = ["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; echo error $i >&2; done"]


async def test_logs_of_a_container_that_has_ended(node: Node) -> None:
    ids = await node.start(make_pod(main=COUNTING))
    await node.pods.exited(ids["main"])
    lines = (await node.logs()).splitlines()
    assert [line for line in lines if line.startswith("line")] == [f"line {i}" for i in range(1, 6)]
    assert len(lines) == 10
    assert len((await node.logs(tail_lines=3)).splitlines()) == 3
    assert await node.logs(tail_lines=0) == ""
    assert len(await node.logs(limit_bytes=7)) == 7
    # Following what has ended is reading it.
    assert len((await node.logs(follow=True)).splitlines()) == 10
    stamped = (await node.logs(timestamps=True, tail_lines=1)).split(" ", 1)
    moment = datetime.fromisoformat(stamped[0][:19] + "+00:00")
    assert abs(moment - SystemClock().now()) < timedelta(minutes=1)
    assert await node.logs(since_seconds=3600) == await node.logs()


async def test_following_brings_lines_as_they_are_written_and_ends_with_the_container(node: Node) -> None:
    script = "echo first; read line < /dev/null; until [ -e /go ]; do sleep 0.02; done; echo second; printf torn"
    ids = await node.start(make_pod(main=["sh", "-c", script]))
    async with node.client() as client:
        call = client.Logs(LogsRequest(namespace="default", pod="web", follow=True))
        chunks = aiter(call)
        assert (await asyncio.wait_for(anext(chunks), 10)).data == b"first\n"
        await node.pods.run(ids["main"], "touch /go")
        rest = b"".join([chunk.data async for chunk in chunks])
    assert rest == b"second\ntorn"


async def test_a_long_line_arrives_whole(node: Node) -> None:
    ids = await node.start(make_pod(main=["sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo; echo end"]))
    await node.pods.exited(ids["main"])
    assert await node.logs() == "x" * 50000 + "\nend\n"
    assert await node.logs(tail_lines=2) == "x" * 50000 + "\nend\n"
    assert await node.logs(tail_lines=1) == "end\n"


async def test_logs_of_the_container_before(node: Node) -> None:
    pod = make_pod(main=["sh", "-c", "cat /proc/sys/kernel/random/uuid"])
    ids = await node.start(pod)
    await node.pods.exited(ids["main"])
    before = await node.logs()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await node.logs(previous=True)
    assert refused.value.details() == 'previous terminated container "main" in pod "web" not found'
    again = await node.pods.start_container(pod, pod.spec.containers[0], attempt=1)
    await node.pods.exited(again)
    assert await node.logs(previous=True) == before
    assert await node.logs() != before


async def test_bad_requests_are_told_apart(node: Node) -> None:
    await node.start(make_pod(one=["sleep", "60"], two=["true"]))

    async def error(**options: object) -> errors.ApiError:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await node.logs(**options)  # type: ignore[arg-type]
        return api_error(refused.value, "the node")

    missing = await error(name="absent")
    assert isinstance(missing, errors.NotFound)
    assert missing.message == 'pods "absent" not found'
    assert (await error()).message == "a container name must be specified for pod web, choose one of: [one two]"
    assert (await error(container="three")).message == "container three is not valid for pod web"


async def test_only_the_api_server_is_answered(node: Node) -> None:
    await node.start(make_pod(main=["sleep", "60"]))
    for role in ("scheduler", "node", "admin"):
        async with node.client(role) as client:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                async for _ in client.Logs(LogsRequest(namespace="default", pod="web")):
                    pass
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


class Exec:
    """One exec call: sends as told, gathers what comes."""

    def __init__(self, call: grpc.aio.StreamStreamCall[ExecRequest, ExecReply]) -> None:
        self.call = call
        self.stdout = b""
        self.stderr = b""
        self.exit_code: int | None = None

    async def send(self, request: ExecRequest) -> None:
        await self.call.write(request)

    async def until(self, text: bytes) -> None:
        """Reads on until the output has that text."""
        while text not in self.stdout:
            assert await self._read(), f"ended before {text!r} came: {self.stdout!r}"

    async def finish(self) -> int | None:
        while await self._read():
            pass
        return self.exit_code

    async def _read(self) -> bool:
        reply = await asyncio.wait_for(self.call.read(), 20)
        if not isinstance(reply, ExecReply):
            return False
        self.stdout += reply.stdout
        self.stderr += reply.stderr
        if reply.HasField("exit_code"):
            self.exit_code = reply.exit_code
        return True


@contextlib.asynccontextmanager
async def executing(node: Node, *command: str, tty: bool = False, stdin: bool = False) -> AsyncIterator[Exec]:
    async with node.client() as client:
        call = client.Exec()  # type: ignore[call-arg] # the stubs don't know that the requests may come by `write`
        start = ExecStart(
            namespace="default", pod="web", command=command, tty=tty, stdin=stdin, stdout=True, stderr=not tty
        )
        await call.write(ExecRequest(start=start))
        try:
            yield Exec(call)
        finally:
            call.cancel()


async def test_a_command_gives_its_output_and_exit_code(node: Node) -> None:
    await node.start(make_pod(main=["sleep", "60"]))
    async with executing(node, "sh", "-c", "echo out; echo err >&2; exit 7") as run:
        assert await run.finish() == 7
    assert (run.stdout, run.stderr) == (b"out\n", b"err\n")


async def test_input_ends_when_the_client_closes_it(node: Node) -> None:
    await node.start(make_pod(main=["sleep", "60"]))
    data = bytes(range(256)) * 4096
    async with executing(node, "sh", "-c", "cat", stdin=True) as run:
        for offset in range(0, len(data), 32 << 10):
            await run.send(ExecRequest(stdin=data[offset : offset + (32 << 10)]))
        await run.send(ExecRequest(close_stdin=True))
        assert await run.finish() == 0
    assert run.stdout == data


async def test_a_terminal_has_a_size_and_one_output(node: Node) -> None:
    await node.start(make_pod(main=["sleep", "60"]))
    async with executing(node, "sh", tty=True, stdin=True) as run:
        await run.send(ExecRequest(resize=TerminalSize(width=91, height=33)))
        await run.send(ExecRequest(stdin=b"tty; echo $TERM; stty size; echo err >&2; exit 4\n"))
        assert await run.finish() == 4
    assert run.stderr == b""
    assert b"/dev/pts/" in run.stdout
    assert b"33 91\r\n" in run.stdout
    assert b"err\r\n" in run.stdout


async def test_a_command_that_does_not_exist_says_so(node: Node) -> None:
    await node.start(make_pod(main=["sleep", "60"]))
    async with executing(node, "no-such-command") as run:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await run.finish()
    assert "no-such-command" in (refused.value.details() or "")


async def test_a_command_ends_when_its_client_goes_away(node: Node) -> None:
    ids = await node.start(make_pod(main=["sleep", "60"]))
    async with executing(node, "sh", "-c", "echo begun; exec sleep 4321") as run:
        await run.until(b"begun")
        assert "sleep 4321" in await node.pods.run(ids["main"], "ps -o args")
    async with asyncio.timeout(10):
        while "sleep 4321" in await node.pods.run(ids["main"], "ps -o args | grep -v grep"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_child_that_keeps_the_output_open_does_not_hold_the_caller(node: Node) -> None:
    await node.start(make_pod(main=["sleep", "60"]))
    async with executing(node, "sh", "-c", "sleep 30 & echo done") as run:
        assert await run.finish() == 0
    assert run.stdout == b"done\n"


async def test_nothing_runs_in_a_container_that_has_ended(node: Node) -> None:
    ids = await node.start(make_pod(main=["true"]))
    await node.pods.exited(ids["main"])
    async with executing(node, "true") as run:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await run.finish()
    assert refused.value.details() == 'container "main" in pod "web" is not running'


async def test_following_goes_on_over_a_rotation(node: Node) -> None:
    script = "echo one; until [ -e /go ]; do sleep 0.02; done; echo two"
    pod = make_pod(main=["sh", "-c", script])
    ids = await node.start(pod)
    file: Path = node.pods.log_file(pod, "main")
    async with node.client() as client:
        chunks = aiter(client.Logs(LogsRequest(namespace="default", pod="web", follow=True)))
        assert (await asyncio.wait_for(anext(chunks), 10)).data == b"one\n"
        file.rename(file.with_suffix(".log.old"))
        await node.pods.runtime.reopen_container_log(ids["main"])
        await node.pods.run(ids["main"], "touch /go")
        assert b"".join([chunk.data async for chunk in chunks]) == b"two\n"


@pytest.mark.parametrize(
    "odd", [{"since_seconds": 2**62}, {"since_seconds": -1}, {"tail_lines": -1}, {"limit_bytes": -(2**63)}]
)
async def test_options_that_make_no_sense(node: Node, odd: dict[str, Any]) -> None:
    ids = await node.start(make_pod(main=COUNTING))
    await node.pods.exited(ids["main"])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await node.logs(**odd)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
