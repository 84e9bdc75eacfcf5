"""Makes the probes of the running containers, each at its own pace, and tells what they come to.

One task for each probe of each container. It begins with the container, ends with it, and wakes the pod's worker when
the container's health changes; what is to be done then is decided by `plan.py` and `status.py`. A container that was
running before this agent keeps the health the API knows of, and its probes begin at a random moment of their period,
so that an agent that was restarted neither takes pods out of their services nor probes them all at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agents.cri.client import CriClient
from agents.node.notes import Health
from agents.node.probe_handlers import Outcome, ProbeSkippedError, Target, attempt
from agents.node.probe_state import ContainerProbes, ProbeKind
from orchestrator.clock import Clock
from orchestrator.logs import fields

log = logging.getLogger("node.probes")

# Told of each failed attempt, for the event: the container's id, the probe, and what went wrong.
OnFailure = Callable[[str, ProbeKind, str], None]


@dataclass(slots=True)
class _Watched:
    target: Target
    probes: ContainerProbes
    # Set when the startup probe has succeeded: the others begin at that moment, not at their next period.
    started: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class PodProbes:
    """The probes of one pod's containers. `changed` is called when the health of one changes."""

    def __init__(
        self,
        cri: CriClient,
        clock: Clock,
        rng: random.Random,
        *,
        changed: Callable[[], None],
        failed: OnFailure,
    ) -> None:
        self._cri = cri
        self._clock = clock
        self._rng = rng
        self._changed = changed
        self._failed = failed
        self._watched: dict[str, _Watched] = {}

    def health(self) -> dict[str, Health]:
        """By container id, for those being probed."""
        return {each: watched.probes.health for each, watched in self._watched.items()}

    def begin(self, target: Target, *, adopted: bool = False, started: bool = False, ready: bool = False) -> None:
        """Probe a running container from now on; what is being probed already goes on.

        `adopted`: it ran before this agent did, and the API has it as `started` and `ready`.
        """
        if target.container_id in self._watched:
            return
        watched = _Watched(target, ContainerProbes.begin(target.container, started=started, ready=ready))
        if not watched.probes.probes:
            return
        if watched.probes.health.started:
            watched.started.set()
        self._watched[target.container_id] = watched
        for kind in watched.probes.probes:
            name = f"{kind.value.lower()} probe {target.container.name}"
            watched.tasks.append(asyncio.create_task(self._probe(watched, kind, adopted), name=name))

    async def keep(self, container_ids: Iterable[str]) -> None:
        """Stop probing all other containers."""
        for gone in set(self._watched) - set(container_ids):
            await self._stop(self._watched.pop(gone))

    async def close(self) -> None:
        await self.keep(())

    async def _stop(self, watched: _Watched) -> None:
        for task in watched.tasks:
            task.cancel()
        await asyncio.gather(*watched.tasks, return_exceptions=True)

    async def _probe(self, watched: _Watched, kind: ProbeKind, adopted: bool) -> None:
        probe = watched.probes.probes[kind]
        period = float(max(probe.period_seconds, 1))
        if adopted:
            await self._clock.sleep(self._rng.random() * period)
        else:
            await self._clock.sleep(probe.initial_delay_seconds)
        while True:
            if kind is not ProbeKind.STARTUP:
                await watched.started.wait()
            elif not watched.probes.due(kind):
                return
            began = self._clock.monotonic()
            outcome = await self._attempt(watched, kind)
            if outcome is not None:
                self._observe(watched, kind, outcome)
            await self._clock.sleep(period - (self._clock.monotonic() - began))

    async def _attempt(self, watched: _Watched, kind: ProbeKind) -> Outcome | None:
        try:
            return await attempt(self._cri, watched.target, watched.probes.probes[kind])
        except ProbeSkippedError as error:
            log.info(
                "probe skipped",
                extra=fields(container=watched.target.container.name, probe=kind.value, error=error),
            )
            return None

    def _observe(self, watched: _Watched, kind: ProbeKind, outcome: Outcome) -> None:
        if not outcome.succeeded:
            self._failed(watched.target.container_id, kind, outcome.message)
        if watched.probes.observe(kind, outcome.succeeded):
            if watched.probes.health.started:
                watched.started.set()
            self._changed()
