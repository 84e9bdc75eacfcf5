"""The objects of the API that a pod's environment and volumes draw from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.api.v1 import ConfigMap, Secret, Service


class Sources(Protocol):
    """Reads objects; an object that does not exist is None, a server that can't be reached is an ApiError."""

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None: ...

    async def secret(self, namespace: str, name: str) -> Secret | None: ...

    async def services(self, namespace: str) -> Sequence[Service]: ...
