"""Fixtures of every integration test: a running API server, and a client with the administrator's certificate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.client import Client
from orchestrator.paths import Paths
from tests.integration.running import RunningServer


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server of its own for each test."""
    server = RunningServer(Paths(tmp_path))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(api: RunningServer) -> AsyncIterator[Client]:
    async with api.connect() as connected:
        yield connected
