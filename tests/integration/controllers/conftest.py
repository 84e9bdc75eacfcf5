"""A cluster for each test: in real time, or with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orchestrator.client import Client
from orchestrator.clock import SystemClock
from tests.integration.controllers.cluster import Cluster, FlowingClock


@pytest.fixture
async def cluster(client: Client) -> AsyncIterator[Cluster]:
    async with Cluster(client, SystemClock()).running() as running:
        yield running


@pytest.fixture
async def timed(client: Client) -> AsyncIterator[Cluster]:
    """`timed.clock` is a FlowingClock."""
    async with Cluster(client, FlowingClock()).running() as running:
        yield running
