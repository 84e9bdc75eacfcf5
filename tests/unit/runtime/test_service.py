"""Supervision: what fails is started again, what is fatal ends all, what stops stops in order; and whole processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.clock import FakeClock
from orchestrator.runtime import Fatal, Service, Supervision
from orchestrator.runtime.systemd import Notifier, watchdog_interval

REPOSITORY = Path(__file__).parents[3]


class Scripted:
    """A service whose runs are given: each is a coroutine function, the last one repeats."""

    def __init__(self, name: str, *runs: Callable[[], Awaitable[None]], told: list[str] | None = None) -> None:
        self.name = name
        self.runs = list(runs)
        self.began = 0
        self.told = told if told is not None else []

    async def run(self, ready: Callable[[], None]) -> None:
        self.began += 1
        run = self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]
        ready()
        try:
            await run()
        finally:
            self.told.append(f"{self.name} ended")


async def forever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise RuntimeError("a bug")


async def is_fatal() -> None:
    async with asyncio.TaskGroup() as group:
        # Wrapped, as it comes out of a service that has tasks.
        group.create_task(_raise(Fatal("the disk is full", exit_code=7)))


async def _raise(error: Exception) -> None:
    raise error


async def is_cancelled_inside() -> None:
    raise asyncio.CancelledError


def supervise(*services: Service, clock: FakeClock | None = None) -> tuple[Supervision, asyncio.Future[None]]:
    supervision = Supervision(services, clock or FakeClock(), random.Random(1))
    return supervision, asyncio.ensure_future(supervision.run())


async def cancelled(task: asyncio.Future[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("failing", [fails, is_cancelled_inside])
async def test_what_fails_is_started_again_while_others_go_on(failing: Callable[[], Awaitable[None]]) -> None:
    clock = FakeClock()
    bad, good = Scripted("bad", failing, failing, forever), Scripted("good", forever)
    supervision, task = supervise(bad, good, clock=clock)
    await clock.settle()
    assert [name for name, problem in supervision.checks().items() if problem] == ["bad"]
    await clock.run(5)
    assert (bad.began, good.began) == (3, 1)
    assert supervision.ready
    assert supervision.states["bad"].restarts == 2
    await cancelled(task)


class Unable:
    """Can't even start."""

    name = "unable"

    async def run(self, ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_raise(RuntimeError("the store is damaged at offset 7")))


async def test_the_place_of_a_failure_is_told_once_and_its_reason_every_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    supervision, task = supervise(Unable(), clock=clock)
    await clock.run(5)
    first, *later = [record for record in caplog.records if record.message == "service failed"]
    assert first.exc_info
    assert later and not any(record.exc_info for record in later)
    assert "the store is damaged at offset 7" in str(vars(later[0]))
    assert supervision.checks() == {"unable": "the store is damaged at offset 7"}
    await cancelled(task)


async def test_restarts_become_rare_and_a_good_run_is_rewarded() -> None:
    clock = FakeClock()
    bad = Scripted("bad", fails)
    _, task = supervise(bad, clock=clock)
    await clock.run(600)
    rare = bad.began
    assert 20 < rare < 50
    await cancelled(task)

    async def well() -> None:
        await clock.sleep(61)
        raise RuntimeError("after a while")

    often = Scripted("bad", well)
    _, task = supervise(often, clock=clock)
    await clock.run(620)
    # Nearly all of the time is spent running: the delays do not grow.
    assert often.began >= 10
    await cancelled(task)


async def test_a_service_that_runs_may_say_that_it_is_unwell() -> None:
    class Examined(Scripted):
        trouble = ""

        def problem(self) -> str:
            return self.trouble

    service = Examined("server", forever)
    ready = asyncio.Event()
    others = Scripted("scheduler", forever)
    supervision = Supervision([service, others], FakeClock(), random.Random(1), on_ready=ready.set)
    task = asyncio.create_task(supervision.run())
    await ready.wait()
    assert supervision.checks() == {"server": "", "scheduler": ""}
    service.trouble = "the store has no leader"
    assert supervision.checks() == {"server": "the store has no leader", "scheduler": ""}
    service.trouble = ""
    assert supervision.checks() == {"server": "", "scheduler": ""}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert supervision.checks()["server"] == "starting", "not asked when it does not run"


async def test_fatal_ends_all() -> None:
    told: list[str] = []
    other = Scripted("other", forever, told=told)
    _, task = supervise(other, Scripted("bad", is_fatal, told=told))
    with pytest.raises(Fatal, match="the disk is full") as raised:
        await task
    assert raised.value.exit_code == 7
    assert told == ["bad ended", "other ended"]


async def test_services_stop_in_reverse_order() -> None:
    told: list[str] = []
    seen_running: list[bool] = []
    server = Scripted("server", forever, told=told)

    class Client(Scripted):
        async def run(self, ready: Callable[[], None]) -> None:
            ready()
            try:
                await forever()
            finally:
                # Says goodbye to the server, which must still be there.
                for _ in range(5):
                    await asyncio.sleep(0)
                seen_running.append("server ended" not in told)
                told.append("client ended")

    _, task = supervise(server, Client("client", forever))
    await asyncio.sleep(0.01)
    await cancelled(task)
    assert told == ["client ended", "server ended"] and seen_running == [True]


async def test_services_that_return_are_done() -> None:
    async def returns() -> None:
        return

    once = Scripted("once", returns)
    _, task = supervise(once)
    await task
    assert once.began == 1


def test_names_are_distinct() -> None:
    with pytest.raises(ValueError, match="same name"):
        Supervision([Scripted("a", forever), Scripted("a", forever)], FakeClock(), random.Random(1))


PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from orchestrator import logs
from orchestrator.runtime import Fatal, run_services

class Service:
    name = "worker"
    async def run(self, ready):
        mode = sys.argv[1]
        if mode == "fatal":
            raise Fatal("no use", exit_code=7)
        ready()
        try:
            await asyncio.Event().wait()
        finally:
            if mode == "stubborn":
                await asyncio.Event().wait()
            print("cleaned up", flush=True)

@asynccontextmanager
async def services():
    yield [Service()]
    print("closed", flush=True)

logs.setup()
sys.exit(run_services(services, health_address=sys.argv[2] or None))
"""


class Systemd:
    """The other end of the notification socket."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(20)

    def hears(self) -> str:
        return self.socket.recv(100).decode()


def started(mode: str, systemd: Systemd, health: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, mode, health],
        cwd=REPOSITORY,
        env={**os.environ, "NOTIFY_SOCKET": str(systemd.path), "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_tells_systemd_and_stops_gracefully(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path)
    with started("good", systemd) as process:
        assert systemd.hears() == "READY=1"
        process.send_signal(signal.SIGTERM)
        assert systemd.hears() == "STOPPING=1"
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "cleaned up\nclosed\n")
    assert "INFO service stopping signal=SIGTERM" in err


def test_a_second_signal_ends_a_stubborn_process(tmp_path: Path) -> None:
    systemd = Systemd(tmp_path)
    with started("stubborn", systemd) as process:
        assert systemd.hears() == "READY=1"
        process.send_signal(signal.SIGINT)
        assert systemd.hears() == "STOPPING=1"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT


def test_a_fatal_service_gives_the_exit_code(tmp_path: Path) -> None:
    with started("fatal", Systemd(tmp_path)) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 7
    assert 'error="no use"' in err and "Traceback" not in err


def test_a_taken_health_address_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with started("good", Systemd(tmp_path), address) as process:
            _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"can't listen on {address}" in err and "--health-address" in err


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 10.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval(environment: dict[str, str], interval: float | None) -> None:
    assert watchdog_interval(environment) == interval


async def test_the_watchdog_is_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd, clock = Systemd(tmp_path), FakeClock()
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    notifier = Notifier({"WATCHDOG_USEC": "4000000"})
    task = asyncio.ensure_future(notifier.beat(clock))
    await clock.run(4)
    assert [systemd.hears() for _ in range(3)] == ["WATCHDOG=1"] * 3
    notifier.ready()
    notifier.ready()
    notifier.stopping()
    assert [systemd.hears(), systemd.hears()] == ["READY=1", "STOPPING=1"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
