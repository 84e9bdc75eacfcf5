"""One informer per kind and process, whoever asks: the caches are shared, so memory and watches are paid once."""

from __future__ import annotations

from typing import Any

from orchestrator.api.kinds import K
from orchestrator.client import Client, Informer
from orchestrator.clock import Clock


class Informers:
    """Makes informers when they are first asked for."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._made: dict[type, Informer[Any]] = {}

    def of(self, kind: type[K]) -> Informer[K]:
        if kind not in self._made:
            self._made[kind] = Informer(self._client, kind, clock=self._clock)
        informer: Informer[K] = self._made[kind]
        return informer
