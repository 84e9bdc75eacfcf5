"""Services, and a process full of them.

A daemon is a service: an object with a name and one `run`, which returns only when cancelled. A process hosts one or
several. `Supervision` keeps them running: one that fails is logged and started again after a growing delay while the
others go on; one that raises `Fatal` ends them all. They are stopped one after the other in reverse order, so those
that depend on an earlier one can still say goodbye to it.

`run_services` is the whole life of a process: event loop, signals, health endpoint, notifications to systemd, exit
code.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from orchestrator.client.backoff import Backoff
from orchestrator.clock import Clock, SystemClock
from orchestrator.fatal import Fatal, fatal_in
from orchestrator.logs import fields
from orchestrator.runtime import metrics
from orchestrator.runtime.health import HealthServer
from orchestrator.runtime.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger("service")

FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
# A service that ran this long was well: its next failure is its first.
WELL_SECONDS = 60.0
STOP_SECONDS = 25.0


class Service(Protocol):
    """Something that runs until it is cancelled."""

    @property
    def name(self) -> str: ...

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until cancelled, then clean up. Calls `ready` once it does what others rely on."""
        ...


@runtime_checkable
class Examined(Protocol):
    """A service that may be unable to do its work although it runs, as one that depends on something elsewhere."""

    def problem(self) -> str:
        """What is the matter now; empty: nothing."""
        ...


@dataclass(slots=True)
class State:
    """How a service does."""

    ready: bool = False
    restarts: int = 0
    error: str = ""


class Supervision:
    """Keeps services running until cancelled, or until all have returned by themselves."""

    def __init__(
        self,
        services: Sequence[Service],
        clock: Clock,
        rng: random.Random,
        *,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        names = [service.name for service in services]
        if len(set(names)) != len(names):
            raise ValueError(f"two services of one process have the same name: {', '.join(names)}")
        self._services = services
        self._clock = clock
        self._rng = rng
        self._on_ready = on_ready
        self.states = {name: State() for name in names}

    @property
    def ready(self) -> bool:
        return all(state.ready for state in self.states.values())

    def checks(self) -> dict[str, str]:
        """For each service: empty when it is ready and well, otherwise what is the matter."""
        return {service.name: self._check(service) for service in self._services}

    def _check(self, service: Service) -> str:
        state = self.states[service.name]
        if not state.ready:
            return state.error or "starting"
        return service.problem() if isinstance(service, Examined) else ""

    async def run(self) -> None:
        """Raises Fatal when a service does."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._keep_running(service), name=service.name) for service in self._services
                ]
                try:
                    await asyncio.wait(tasks)
                finally:
                    for task in reversed(tasks):
                        task.cancel()
                        await asyncio.wait((task,))
        except* Fatal as group_error:
            fatal = fatal_in(group_error)
        else:
            fatal = None
        if fatal is not None:
            raise fatal

    async def _keep_running(self, service: Service) -> None:
        state = self.states[service.name]
        backoff = Backoff(self._rng, first=FIRST_RESTART_SECONDS, limit=LONGEST_RESTART_SECONDS)

        def ready() -> None:
            state.ready, state.error = True, ""
            if self.ready and self._on_ready is not None:
                self._on_ready()

        while True:
            began = self._clock.monotonic()
            try:
                await service.run(ready)
                log.info("service finished", extra=fields(service=service.name))
                return
            except asyncio.CancelledError:
                if _asked_to_stop():
                    raise
                # Something inside was cancelled, not this task: a failure like others.
                state.error = "cancelled from inside"
                log.exception("service failed", extra=fields(service=service.name))
            except Exception as error:
                fatal = fatal_in(error)
                if fatal is not None:
                    state.error = str(fatal)
                    raise fatal from error
                known, state.error = state.error, _words(error)
                # The place in the code is told once: what fails again and again is for a person to read.
                same = state.error == known
                told = fields(service=service.name, error=state.error) if same else fields(service=service.name)
                log.error("service failed", exc_info=not same, extra=told)
            finally:
                state.ready = False
            state.restarts += 1
            metrics.service_restarts.labels(service.name).inc()
            if self._clock.monotonic() - began >= WELL_SECONDS:
                backoff.reset()
            delay = backoff.next()
            log.info("service restarts", extra=fields(service=service.name, seconds=delay))
            await self._clock.sleep(delay)


Services = Sequence[Service] | Callable[[], AbstractAsyncContextManager[Sequence[Service]]]


def run_services(services: Services, *, health_address: str | None) -> int:
    """Run a process's services until a signal ends it, and return its exit code for `sys.exit`.

    `services` may be a function that opens an async context around them: the place for clients, which belong to the
    event loop. SIGTERM and SIGINT stop gracefully (exit code 0); a second one, or a stop that takes too long, ends at
    once.
    """
    import uvloop  # here, since it is wanted only by processes that live long

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_process(services, health_address))


async def _process(services: Services, health_address: str | None) -> int:
    notifier = Notifier()
    stop = _stop_on_signals(notifier)
    clock = SystemClock()
    supervision: Supervision | None = None

    def checks() -> dict[str, str]:
        return {"process": "starting"} if supervision is None else supervision.checks()

    def on_ready() -> None:
        log.info("ready", extra=fields(services=",".join(supervision.states) if supervision else ""))
        notifier.ready()

    try:
        async with _opened(services) as opened, asyncio.TaskGroup() as group:
            supervision = Supervision(opened, clock, random.Random(), on_ready=on_ready)
            beating = group.create_task(notifier.beat(clock))
            health = HealthServer(health_address, checks) if health_address else None
            if health is not None:
                await health.start()
            try:
                await _until(supervision.run(), stop.wait())
            finally:
                beating.cancel()
                if health is not None:
                    await health.close()
    except Exception as error:
        fatal = fatal_in(error)
        if fatal is None:
            log.exception("process failed")
            return 1
        log.error("ends", extra=fields(error=fatal))
        return fatal.exit_code
    log.info("stopped")
    return 0


async def _until(work: Awaitable[None], end: Awaitable[object]) -> None:
    """Run `work` until it is done or `end` has come; then cancel it and wait for its cleaning up."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(end)
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        ending.cancel()
        working.cancel()
        await asyncio.gather(working, ending, return_exceptions=True)


@asynccontextmanager
async def _opened(services: Services) -> AsyncIterator[Sequence[Service]]:
    if callable(services):
        async with services() as opened:
            yield opened
    else:
        yield services


def _stop_on_signals(notifier: Notifier) -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def give_up() -> None:
        log.error("does not stop: ending now", extra=fields(seconds=STOP_SECONDS))
        os._exit(1)

    def asked(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("ending now", extra=fields(signal=number.name))
            os._exit(128 + number)
        log.info("stopping", extra=fields(signal=number.name))
        notifier.stopping()
        stop.set()
        loop.call_later(STOP_SECONDS, give_up)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, asked, each)
    return stop


def _words(error: BaseException) -> str:
    """What went wrong, without the groups that tasks wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def _asked_to_stop() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
