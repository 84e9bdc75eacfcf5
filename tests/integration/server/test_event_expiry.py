"""The sweeper against a real server: old events go, renewed and young ones stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.api.v1 import Event, ObjectMeta, ObjectReference
from orchestrator.clock import FakeClock
from orchestrator.paths import Paths
from orchestrator.server.expiry import EventSweeper
from tests.integration.running import RunningServer
from tests.integration.server.objects import NAMESPACE


def event(name: str) -> Event:
    return Event(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        involved_object=ObjectReference(kind="Pod", name="web", namespace=NAMESPACE),
        reason="Started",
        type="Normal",
    )


async def test_events_expire(tmp_path: Path) -> None:
    clock = FakeClock(datetime.now(UTC))
    server = RunningServer(Paths(tmp_path), clock=clock)
    await server.start()
    try:
        async with server.connect() as client:
            await client.create(event("forgotten"))
            renewed = await client.create(event("renewed"))
            clock.advance(timedelta(minutes=50).total_seconds())
            await client.create(event("young"))
            renewed.last_timestamp.FromDatetime(clock.now())
            await client.update(renewed)
            clock.advance(timedelta(minutes=20).total_seconds())
            await EventSweeper(server.store, clock).sweep()
            left = [each.metadata.name for each in (await client.list(Event)).items]
            assert left == ["renewed", "young"]
    finally:
        await server.stop()
