"""The API objects that pods draw from, read when they are needed.

ConfigMaps and Secrets are fetched on demand and remembered for a moment, so that many pods of one template that start
together cost one read. Services, which every container's environment lists, come from an informer. When the API can't
be reached, what was read last still serves: a container that must be restarted then gets the values it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, Secret, Service
from orchestrator.client import Client, Informer
from orchestrator.client.client import UNANSWERED
from orchestrator.clock import Clock

FRESH_SECONDS = 2.0
_REMEMBERED = 4096

S = TypeVar("S", ConfigMap, Secret)


class ApiSources:
    """Sources from the API server. The owner runs `services`, the informer."""

    def __init__(self, client: Client, clock: Clock, services: Informer[Service]) -> None:
        self._client = client
        self._clock = clock
        self._services = services
        self._config_maps: dict[tuple[str, str], tuple[float, ConfigMap | None]] = {}
        self._secrets: dict[tuple[str, str], tuple[float, Secret | None]] = {}

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        return await self._read(ConfigMap, self._config_maps, namespace, name)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        return await self._read(Secret, self._secrets, namespace, name)

    async def services(self, namespace: str) -> Sequence[Service]:
        await self._services.synced()
        return self._services.list(namespace)

    async def _read(
        self, kind: type[S], remembered: dict[tuple[str, str], tuple[float, S | None]], namespace: str, name: str
    ) -> S | None:
        key = namespace, name
        known = remembered.get(key)
        if known is not None and self._clock.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        found: S | None
        try:
            found = await self._client.get(kind, name, namespace)
        except errors.NotFound:
            found = None
        except UNANSWERED:
            if known is None or known[1] is None:
                raise
            return known[1]
        remembered.pop(key, None)
        remembered[key] = self._clock.monotonic(), found
        if len(remembered) > _REMEMBERED:
            del remembered[next(iter(remembered))]
        return found
