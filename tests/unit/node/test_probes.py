"""Probes: what outcomes come to, when each probe is made, and what one attempt says."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st

from agents.cri.client import CriClient
from agents.cri.errors import CriError, CriNotFoundError, CriTimeoutError, CriUnavailableError
from agents.cri.v1 import runtime_pb2 as cri
from agents.node.notes import Health
from agents.node.probe_handlers import Outcome, ProbeSkippedError, Target, attempt
from agents.node.probe_state import ContainerProbes, ProbeKind, ProbeState, Result, health
from agents.node.probes import PodProbes
from orchestrator.api.v1 import Container, ExecAction, HTTPGetAction, HTTPHeader, Probe
from orchestrator.clock import FakeClock

STARTUP, READINESS, LIVENESS = ProbeKind.STARTUP, ProbeKind.READINESS, ProbeKind.LIVENESS
WELL = Health(started=True, ready=True)


def exec_probe(**settings: int) -> Probe:
    probe = Probe(exec=ExecAction(command=["check"]), timeout_seconds=1, period_seconds=10)
    probe.success_threshold, probe.failure_threshold = 1, 3
    for name, value in settings.items():
        setattr(probe, name, value)
    return probe


def results(probe: Probe, kind: ProbeKind, outcomes: str, *, passed: bool = False) -> str:
    """The result after each outcome: "+" success, "-" failure, "?" unknown."""
    state = ProbeState.initial(kind, passed=passed)
    shown = ""
    for outcome in outcomes:
        state = state.after(probe, outcome == "+")
        shown += {Result.SUCCESS: "+", Result.FAILURE: "-", Result.UNKNOWN: "?"}[state.result]
    return shown


@pytest.mark.parametrize(
    ("case", "probe", "kind", "outcomes", "expected"),
    [
        ("liveness survives failures below the threshold", exec_probe(), LIVENESS, "--+--+---", "++++++++-"),
        ("a success makes up for a failure", exec_probe(), LIVENESS, "---+", "++-+"),
        ("readiness begins as not ready", exec_probe(), READINESS, "-+--+", "-++++"),
        ("readiness is lost at the threshold", exec_probe(), READINESS, "+---+", "+++-+"),
        ("several successes are needed", exec_probe(success_threshold=2), READINESS, "+-++", "---+"),
        ("a single failure can be enough", exec_probe(failure_threshold=1), LIVENESS, "+-+", "+-+"),
        ("startup is open at first", exec_probe(), STARTUP, "--+", "??+"),
        ("startup fails at the threshold", exec_probe(), STARTUP, "---", "??-"),
        ("no threshold counts as one", exec_probe(failure_threshold=0), LIVENESS, "-", "-"),
    ],
)
def test_thresholds(case: str, probe: Probe, kind: ProbeKind, outcomes: str, expected: str) -> None:
    assert results(probe, kind, outcomes) == expected, case


def test_what_had_passed_before_still_holds() -> None:
    assert results(exec_probe(), READINESS, "--", passed=True) == "++"


@given(st.text("+-", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_a_result_changes_only_after_a_full_run(outcomes: str, successes: int, failures: int) -> None:
    probe = exec_probe(success_threshold=successes, failure_threshold=failures)
    shown = "-" + results(probe, READINESS, outcomes)
    for index, (before, after) in enumerate(itertools.pairwise(shown), 1):
        if before != after:
            needed = successes if after == "+" else failures
            assert outcomes[:index].endswith(after * needed)


@pytest.mark.parametrize(
    ("case", "given_results", "expected"),
    [
        ("no probes", {}, WELL),
        ("startup pending holds readiness back", {STARTUP: Result.UNKNOWN}, Health(started=False, ready=False)),
        (
            "startup failed",
            {STARTUP: Result.FAILURE, LIVENESS: Result.SUCCESS},
            Health(started=False, ready=False, fault="failed startup probe", grace=7),
        ),
        ("liveness failed", {LIVENESS: Result.FAILURE}, replace(WELL, fault="failed liveness probe", grace=7)),
        (
            "liveness does not count before the start",
            {STARTUP: Result.UNKNOWN, LIVENESS: Result.FAILURE},
            Health(started=False, ready=False),
        ),
        ("not ready", {READINESS: Result.FAILURE}, replace(WELL, ready=False)),
        ("all well", dict.fromkeys(ProbeKind, Result.SUCCESS), WELL),
    ],
)
def test_health(case: str, given_results: dict[ProbeKind, Result], expected: Health) -> None:
    probes = dict.fromkeys(ProbeKind, Probe(termination_grace_period_seconds=7))
    assert health(given_results, probes) == expected, case


def test_only_the_startup_probe_is_due_before_the_start() -> None:
    container = Container(startup_probe=exec_probe(), liveness_probe=exec_probe(), readiness_probe=exec_probe())
    probes = ContainerProbes.begin(container)
    assert [kind for kind in ProbeKind if probes.due(kind)] == [STARTUP]
    assert probes.observe(STARTUP, True)
    assert [kind for kind in ProbeKind if probes.due(kind)] == [READINESS, LIVENESS]
    assert not probes.observe(LIVENESS, True)


# The shell: which probe is made when


@dataclass
class ScriptedRuntime:
    """Answers exec_sync by the command's first word."""

    answers: dict[str, Callable[[], cri.ExecSyncResponse]] = field(default_factory=dict)
    calls: list[tuple[float, str]] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    async def exec_sync(self, container_id: str, command: Sequence[str], seconds: int) -> cri.ExecSyncResponse:
        self.calls.append((self.clock.monotonic(), command[0]))
        answer = self.answers.get(command[0])
        return answer() if answer else cri.ExecSyncResponse()

    def times(self, word: str) -> list[float]:
        return [at for at, command in self.calls if command == word]


def named(word: str, **settings: int) -> Probe:
    probe = exec_probe(**settings)
    probe.exec.command[0] = word
    return probe


def failing() -> cri.ExecSyncResponse:
    return cri.ExecSyncResponse(exit_code=1, stdout=b"not well")


@asynccontextmanager
async def probing(
    runtime: ScriptedRuntime, container: Container, *, adopted: bool = False, started: bool = False, ready: bool = False
) -> AsyncIterator[tuple[PodProbes, list[Health], list[str]]]:
    seen: list[Health] = []
    failures: list[str] = []
    probes = PodProbes(
        cast(CriClient, runtime),
        runtime.clock,
        random.Random(1),
        changed=lambda: seen.append(probes.health()["id"]),
        failed=lambda _, kind, message: failures.append(f"{kind.value}: {message}"),
    )
    probes.begin(Target(container, "id", "192.0.2.7"), adopted=adopted, started=started, ready=ready)
    try:
        yield probes, seen, failures
    finally:
        await probes.close()


async def test_a_probe_waits_its_delay_and_keeps_its_period() -> None:
    runtime = ScriptedRuntime()
    container = Container(name="main", readiness_probe=named("ready", initial_delay_seconds=5, period_seconds=3))
    async with probing(runtime, container) as (_, seen, _):
        await runtime.clock.run(12)
        assert runtime.times("ready") == [5, 8, 11]
        assert seen == [WELL]


async def test_readiness_begins_the_moment_startup_succeeds() -> None:
    runtime = ScriptedRuntime(answers={"up": failing})
    container = Container(
        name="main",
        startup_probe=named("up", period_seconds=2, failure_threshold=30),
        readiness_probe=named("ready", period_seconds=10),
        liveness_probe=named("alive", period_seconds=10),
    )
    async with probing(runtime, container) as (probes, seen, failures):
        await runtime.clock.run(3)
        assert runtime.times("ready") == runtime.times("alive") == []
        assert probes.health()["id"] == Health(started=False, ready=False)
        del runtime.answers["up"]
        await runtime.clock.run(20)
        assert runtime.times("up") == [0, 2, 4]
        assert runtime.times("ready") == runtime.times("alive") == [4, 14]
        assert seen == [Health(started=True, ready=False), WELL]
        assert failures == ["Startup: not well"] * 2


async def test_liveness_fails_after_its_threshold_and_is_told_once() -> None:
    runtime = ScriptedRuntime(answers={"alive": failing})
    async with probing(runtime, Container(name="main", liveness_probe=named("alive", period_seconds=1))) as (
        _,
        seen,
        _,
    ):
        await runtime.clock.run(10)
        assert seen == [replace(WELL, fault="failed liveness probe")]


async def test_what_ran_before_the_agent_keeps_its_health_and_is_probed_at_a_random_moment() -> None:
    runtime = ScriptedRuntime()
    container = Container(name="main", startup_probe=named("up"), readiness_probe=named("ready"))
    async with probing(runtime, container, adopted=True, started=True, ready=True) as (probes, seen, _):
        assert probes.health()["id"] == WELL
        await runtime.clock.run(30)
        assert runtime.times("up") == []
        first, *_ = runtime.times("ready")
        assert 0 < first < 10
        assert seen == []


async def test_no_probe_after_the_container_has_gone() -> None:
    runtime = ScriptedRuntime()
    async with probing(runtime, Container(name="main", liveness_probe=named("alive"))) as (probes, _, _):
        await runtime.clock.run(1)
        await probes.keep(["another"])
        await runtime.clock.run(100)
        assert runtime.times("alive") == [0]
        assert probes.health() == {}
        assert runtime.clock.sleepers == 0


async def test_a_runtime_that_is_away_is_no_failure() -> None:
    def away() -> cri.ExecSyncResponse:
        raise CriUnavailableError("connection refused")

    runtime = ScriptedRuntime(answers={"alive": away})
    async with probing(runtime, Container(name="main", liveness_probe=named("alive", failure_threshold=1))) as (
        probes,
        _,
        failures,
    ):
        await runtime.clock.run(30)
        assert len(runtime.times("alive")) == 4
        assert probes.health()["id"] == WELL
        assert failures == []


# One attempt


def target(container: Container | None = None) -> Target:
    return Target(container or Container(name="main"), "id", "127.0.0.1")


async def once(probe: Probe, runtime: ScriptedRuntime | None = None, container: Container | None = None) -> Outcome:
    return await attempt(cast(CriClient, runtime or ScriptedRuntime()), target(container), probe)


async def test_exec_outcomes() -> None:
    def raising(error: Exception) -> Callable[[], cri.ExecSyncResponse]:
        def answer() -> cri.ExecSyncResponse:
            raise error

        return answer

    cases: list[tuple[Callable[[], cri.ExecSyncResponse], Outcome]] = [
        (lambda: cri.ExecSyncResponse(stdout=b"fine"), Outcome(True, "fine")),
        (lambda: cri.ExecSyncResponse(exit_code=2, stdout=b"out ", stderr=b"err"), Outcome(False, "out err")),
        (raising(CriTimeoutError("late")), Outcome(False, "command timed out: check timed out after 1s")),
        (raising(CriError("no such file")), Outcome(False, "no such file")),
    ]
    for answer, expected in cases:
        assert await once(exec_probe(), ScriptedRuntime({"check": answer})) == expected
    with pytest.raises(ProbeSkippedError):
        await once(exec_probe(), ScriptedRuntime({"check": raising(CriNotFoundError("gone"))}))


@asynccontextmanager
async def server(answer: Callable[[bytes], bytes]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answers each request's head; returns the port and what was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(asked[-1]))
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], asked


def http_probe(port: int | str, **settings: str) -> Probe:
    action = HTTPGetAction(path=settings.get("path", "/healthz"), scheme=settings.get("scheme", "HTTP"))
    if isinstance(port, int):
        action.port.number_value = port
    else:
        action.port.string_value = port
    return Probe(http_get=action, timeout_seconds=1)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Outcome(True)),
        (b"HTTP/1.0 204 No Content\r\n\r\n", Outcome(True)),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", Outcome(True)),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n",
            Outcome(False, "HTTP probe failed with statuscode: 503"),
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", Outcome(False, "HTTP probe failed with statuscode: 404")),
    ],
)
async def test_http_statuses(answer: bytes, expected: Outcome) -> None:
    async with server(lambda _: answer) as (port, _):
        assert await once(http_probe(port)) == expected


async def test_http_that_is_none() -> None:
    for answer, words in ((b"SSH-2.0-x\r\n", "malformed HTTP response"), (b"", "EOF"), (b"HTTP/1.1", "EOF")):
        async with server(lambda _, answer=answer: answer) as (port, _):  # type: ignore[misc]
            assert await once(http_probe(port)) == Outcome(False, f'Get "http://127.0.0.1:{port}/healthz": {words}')


async def test_http_request_has_the_probes_headers_and_cannot_be_split() -> None:
    async with server(lambda _: b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        probe = http_probe("web", path="/a b\r\nX: y?q=1&r=%20")
        probe.http_get.http_headers.extend(
            [HTTPHeader(name="Host", value="example.org"), HTTPHeader(name="A", value="b\r\nC: d")]
        )
        container = Container()
        container.ports.add(name="web", container_port=port)
        assert (await once(probe, container=container)).succeeded
        lines = asked[0].decode().split("\r\n")
        assert lines[0] == "GET /a%20b%0D%0AX:%20y?q=1&r=%20 HTTP/1.1"
        assert sorted(lines[1:-2]) == [
            "A: bC: d",
            "Accept: */*",
            "Connection: close",
            "Host: example.org",
            "User-Agent: kube-probe/navarch",
        ]


async def test_a_silent_server_times_out() -> None:
    release = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        outcome = await once(http_probe(port))
        release.set()
    assert outcome == Outcome(False, "no answer within 1 s (timeoutSeconds)")


async def test_closed_and_unknown_ports() -> None:
    async with server(lambda _: b"") as (port, _):
        pass
    assert await once(http_probe(port)) == Outcome(
        False, f'Get "http://127.0.0.1:{port}/healthz": connect: connection refused'
    )
    tcp = Probe(timeout_seconds=1)
    tcp.tcp_socket.port.number_value = port
    assert await once(tcp) == Outcome(False, f"dial tcp 127.0.0.1:{port}: connect: connection refused")
    tcp.tcp_socket.port.string_value = "nope"
    assert await once(tcp) == Outcome(False, 'couldn\'t find port: "nope"')
    assert await once(http_probe("nope")) == Outcome(False, 'couldn\'t find port: "nope"')


async def test_tcp_connects() -> None:
    async with server(lambda _: b"") as (port, _):
        probe = Probe(timeout_seconds=1)
        probe.tcp_socket.port.number_value = port
        assert await once(probe) == Outcome(True)


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    async def Check(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> health_pb2.HealthCheckResponse:
        serving = request.service == "web"
        return health_pb2.HealthCheckResponse(status="SERVING" if serving else "NOT_SERVING")


async def test_grpc_health() -> None:
    running = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(HealthService(), running)
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    try:
        probe = Probe(timeout_seconds=5)
        probe.grpc.port = port
        probe.grpc.service = "web"
        assert await once(probe) == Outcome(True)
        probe.grpc.service = "other"
        assert await once(probe) == Outcome(False, 'service unhealthy (responded with "NOT_SERVING")')
    finally:
        await running.stop(None)
    assert not (await once(probe)).succeeded
