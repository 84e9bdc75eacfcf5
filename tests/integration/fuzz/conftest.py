"""A server of its own for each file of named attacks: what it took from one must not show in the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.fuzz.raw_http import request
from tests.integration.fuzz.subject import Subject, resident_bytes, serving

MOST_GROWTH = 200 << 20
"""Bytes that a test's requests may cost for good. An attack that works costs gigabytes."""


@pytest.fixture
async def subject(tmp_path: Path) -> AsyncIterator[Subject]:
    """A server that has to be well afterwards: nothing logged as an error, a healthy request answered, memory flat."""
    async with serving(tmp_path) as running:
        before = resident_bytes()
        yield running
        healthy = await running.rest(request("GET", "/api/v1/namespaces/default"), alone=True)
        assert healthy is not None
        assert healthy.status == 200
        assert running.complaints() == []
        assert resident_bytes() - before < MOST_GROWTH
