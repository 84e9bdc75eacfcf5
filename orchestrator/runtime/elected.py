"""Services of which only one copy may run: several processes host them, the one that holds the lease runs them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from orchestrator.clock import Clock
from orchestrator.runtime.leader import LeaderElection
from orchestrator.runtime.service import Service, Supervision


class Elected:
    """A service that stands for election and, while it leads, runs others.

    It is ready as a candidate: that it waits for its turn is no fault of the process.
    """

    def __init__(
        self, name: str, services: Sequence[Service], election: LeaderElection, clock: Clock, rng: random.Random
    ) -> None:
        self.name = name
        self._services = services
        self._election = election
        self._clock = clock
        self._rng = rng

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        await self._election.run(self._lead)

    async def _lead(self) -> None:
        await Supervision(self._services, self._clock, self._rng).run()
