"""`navctl logs` and `navctl exec` through the server to a node: which pod, which container, what comes back."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from orchestrator.api.v1 import Container, ExecReply, ExecRequest, Pod
from orchestrator.client import Client
from tests.integration.cli.commands import PATIENCE, ROOT, Navctl, line_of
from tests.integration.running import RunningServer
from tests.integration.server.objects import deployment, node, pod, service
from tests.integration.server.test_streams import FakeNode, serve


class Agent(FakeNode):
    """A node whose commands end by themselves when nobody gives them input, or at a q."""

    async def Exec(  # noqa: N802
        self,
        request_iterator: AsyncIterator[ExecRequest],
        context: grpc.aio.ServicerContext[ExecRequest, ExecReply],
    ) -> AsyncIterator[ExecReply]:
        first = await anext(request_iterator)

        async def requests() -> AsyncIterator[ExecRequest]:
            yield first
            if first.start.stdin:
                async for request in request_iterator:
                    if request.stdin == b"q":
                        return
                    yield request

        async for reply in super().Exec(requests(), context):
            yield reply


class Screen:
    """What a terminal has shown."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = ""

    async def shows(self, words: str) -> None:
        """Returns when the words have appeared, and forgets all up to them."""
        async with asyncio.timeout(PATIENCE):
            while words not in self._text:
                readable = asyncio.Event()
                asyncio.get_running_loop().add_reader(self._descriptor, readable.set)
                await readable.wait()
                asyncio.get_running_loop().remove_reader(self._descriptor)
                self._text += os.read(self._descriptor, 4096).decode()
        self._text = self._text.partition(words)[2]


@pytest.fixture(autouse=True)
async def agent(api: RunningServer, client: Client) -> AsyncIterator[FakeNode]:
    """Node n1 with an agent that tells what it was asked, and pods there: web-a and web-b, the latter ready."""
    serving = Agent()
    server, port = await serve(api, serving)
    await client.create(node("n1", address="127.0.0.1", port=port))
    for name in ("web-a", "web-b"):
        await client.create(pod(name, node="n1", labels={"app": "web"}))
    ready = await client.get(Pod, "web-b", "default")
    ready.status.phase = "Running"
    ready.status.conditions.add(type="Ready", status="True")
    await client.update(ready, subresource="status")
    both = pod("both", node="n1")
    both.spec.init_containers.append(Container(name="first", image="x"))
    both.spec.containers.append(Container(name="side", image="x"))
    await client.create(both)
    yield serving
    await server.stop(None)


async def test_logs(navctl: Navctl) -> None:
    assert await navctl.ok("logs", "web-a") == "web-a/main tail 0\n"
    assert await navctl.ok("logs", "pod/web-a", "--tail=5") == "web-a/main tail 5\n"
    assert await navctl.ok("logs", "both", "side") == "both/side tail 0\n"
    assert await navctl.ok("logs", "both", "-c", "first") == "both/first tail 0\n"
    assert await navctl.ok("logs", "both", "-c=first", "--prefix") == "[pod/both/first] both/first tail 0\n"
    assert await navctl.ok("logs", "both", "--all-containers=true") == (
        "both/first tail 0\nboth/main tail 0\nboth/side tail 0\n"
    )


async def test_logs_of_one_of_several(navctl: Navctl, client: Client) -> None:
    result = await navctl("logs", "both")
    assert (result.code, result.out) == (0, "both/main tail 0\n")
    assert result.err == 'Defaulted container "main" out of: main, side, first (init)\n'
    annotation = {"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "side"}}}
    await client.patch(Pod, "both", annotation, namespace="default")
    assert await navctl.ok("logs", "both") == "both/side tail 0\n"


async def test_logs_of_a_workload(navctl: Navctl, client: Client) -> None:
    await client.create(deployment("web"))
    await client.create(service("web"))
    for word in ("deploy/web", "svc/web"):
        result = await navctl("logs", word, "--tail=5")
        assert (result.code, result.out) == (0, "web-b/main tail 5\n"), result
        assert result.err == "Found 2 pods, using pod/web-b\n"


async def test_logs_of_a_selector(navctl: Navctl) -> None:
    assert await navctl.ok("logs", "-l", "app=web") == "web-a/main tail 10\nweb-b/main tail 10\n"
    assert await navctl.ok("logs", "-l", "app=web", "--tail=-1", "--prefix") == (
        "[pod/web-a/main] web-a/main tail 0\n[pod/web-b/main] web-b/main tail 0\n"
    )
    result = await navctl("logs", "-l", "app=nope")
    assert (result.code, result.err) == (0, "No resources found in default namespace.\n")


async def test_following_ends_with_ctrl_c(navctl: Navctl, agent: FakeNode) -> None:
    async with navctl.process("logs", "-f", "--tail=5", "web-a") as process:
        assert await line_of(process.stdout) == "web-a/main tail 5"
        process.send_signal(2)
        _, err = await process.communicate()
        assert (process.returncode, err.strip()) == (130, b"")
    await agent.ended.wait()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "error: name a pod"),
        (("web-a", "-l", "app=web"), "error: name a pod"),
        (("nope",), 'Error from server (NotFound): pods "nope" not found'),
        (("deploy/nope",), 'Error from server (NotFound): deployments.apps "nope" not found'),
        (("web-a", "-c", "nope"), "error: container nope is not valid for pod web-a"),
        (("web-a", "main", "-c", "side"), "error: only one of -c or an inline [CONTAINER] arg is allowed"),
        (("both", "-c", "main", "--all-containers"), "error: --all-containers=true should not be specified"),
        (("node/n1",), "error: cannot get the logs or processes of node/n1"),
        (("web-a", "--since=1h", "--since-time=2026-01-01T00:00:00Z"), "error: at most one of"),
        (("web-a", "--since=yesterday"), "error: Invalid value for '--since'"),
        (("web-a", "--since-time=noon"), 'error: "noon" is not a time'),
        (("web-a", "--tail=few"), "error: Invalid value for '--tail'"),
        (("web-a", "--previous"), 'Error from server (BadRequest): previous terminated container "main"'),
        (("web-a", "-n", "nowhere"), 'Error from server (NotFound): pods "web-a" not found'),
    ],
)
async def test_logs_that_cannot_be_had(navctl: Navctl, words: tuple[str, ...], said: str) -> None:
    error = await navctl.fails("logs", *words)
    assert error.startswith(said)


async def test_logs_of_a_pod_that_is_nowhere_yet(navctl: Navctl, client: Client) -> None:
    await client.create(pod("waiting"))
    assert (await navctl.fails("logs", "waiting")).startswith("Error from server (BadRequest): ")
    assert (await navctl.fails("exec", "waiting", "--", "sh")).startswith("Error from server (BadRequest): ")


async def test_a_workload_without_pods(navctl: Navctl, client: Client) -> None:
    await client.create(deployment("empty"))
    error = await navctl.fails("logs", "deploy/empty")
    assert error == "error: no pods of deployment/empty found in default namespace"


async def test_exec_passes_on_output_and_exit_code(navctl: Navctl) -> None:
    for words in (
        ("web-a", "--", "echo", "-n", "a b"),
        ("-c", "main", "pod/web-a", "--", "echo", "-n", "a b"),
        ("web-a", "-c", "main", "--", "echo", "-n", "a b"),
    ):
        async with navctl.process("exec", *words) as process:
            out, err = await process.communicate()
            assert (process.returncode, out) == (3, b"")
            assert err == b"echo -n a bcommand terminated with exit code 3\n"


async def test_exec_with_input(navctl: Navctl) -> None:
    async with navctl.process("exec", "-i", "web-a", "-q", "--", "cat") as process:
        out, err = await process.communicate(b"hello\n")
        assert (process.returncode, out, err) == (3, b"HELLO\n", b"cat")


async def test_exec_without_a_terminal_at_hand(navctl: Navctl) -> None:
    async with navctl.process("exec", "-it", "web-a", "--", "cat") as process:
        out, err = await process.communicate(b"hello\n")
        assert (process.returncode, out) == (3, b"HELLO\n")
        assert err.startswith(b"Unable to use a TTY - input is not a terminal or the right kind of file\n")


async def test_exec_with_a_terminal(navctl: Navctl) -> None:
    ours, theirs = pty.openpty()
    try:
        before = termios.tcgetattr(theirs)
        termios.tcsetwinsize(theirs, (24, 80))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.navctl", "exec", "-it", "web-a", "--", "sh"),
            cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        screen = Screen(ours)
        await screen.shows("sh")  # what the fake node says first
        await screen.shows("80x24")
        os.write(ours, b"\x03")  # Ctrl-C belongs to the command
        await screen.shows("\x03")
        termios.tcsetwinsize(theirs, (33, 100))
        process.send_signal(signal.SIGWINCH)
        await screen.shows("100x33")
        os.write(ours, b"q")
        assert await process.wait() == 3
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("web-a",), "error: you must specify at least one command for the container"),
        ((), "error: Missing argument 'POD'."),
        (("nope", "--", "sh"), 'Error from server (NotFound): pods "nope" not found'),
        (("web-a", "-c", "nope", "--", "sh"), "error: container nope is not valid for pod web-a"),
        (("svc/nope", "--", "sh"), 'Error from server (NotFound): services "nope" not found'),
    ],
)
async def test_exec_that_cannot_be(navctl: Navctl, words: tuple[str, ...], said: str) -> None:
    assert (await navctl.fails("exec", *words)).startswith(said)
