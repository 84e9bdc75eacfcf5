"""Events against a real server and its store's clock: old ones go, renewed and young ones stay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import Event, ObjectMeta, ObjectReference
from orchestrator.clock import FakeClock
from orchestrator.paths import Paths
from orchestrator.server.encoding import encode
from orchestrator.server.event_leases import LIFE_SECONDS, SHARED_SECONDS
from orchestrator.store import Put
from tests.integration.running import RunningServer
from tests.integration.server.objects import NAMESPACE


def event(name: str) -> Event:
    return Event(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        involved_object=ObjectReference(kind="Pod", name="web", namespace=NAMESPACE),
        reason="Started",
        type="Normal",
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC))


@pytest.fixture
async def api(tmp_path: Path, clock: FakeClock) -> AsyncIterator[RunningServer]:
    server = RunningServer(Paths(tmp_path), clock=clock)
    await server.start()
    yield server
    await server.stop()


async def deleted(server: RunningServer, after: int, count: int) -> list[str]:
    """The names of so many events, as they go."""
    watch = server.store.watch("/events/", after=after)
    names: list[str] = []
    while len(names) < count:
        names += [each.key.rpartition("/")[2] for each in await anext(watch) if each.value is None]
    watch.close()
    return names


async def test_events_expire_an_hour_after_they_were_written_last(api: RunningServer, clock: FakeClock) -> None:
    async with api.connect() as client:
        await client.create(event("forgotten"))
        renewed = await client.create(event("renewed"))
        clock.advance(50 * 60)
        await client.create(event("young"))
        renewed.count = 2
        await client.update(renewed)
        before = api.store.status().revision
        clock.advance(12 * 60)
        assert await deleted(api, before, 1) == ["forgotten"]
        assert [each.metadata.name for each in (await client.list(Event)).items] == ["renewed", "young"]
        clock.advance(LIFE_SECONDS)
        assert await deleted(api, before + 1, 2) == ["renewed", "young"]
        assert api.store.status().leases == 0


async def test_events_of_a_minute_share_a_lease(api: RunningServer, clock: FakeClock) -> None:
    async with api.connect() as client:
        for name in ("a", "b"):
            await client.create(event(name))
        assert api.store.status().leases == 1
        clock.advance(SHARED_SECONDS)
        await client.create(event("c"))
        assert api.store.status().leases == 2


async def test_a_lease_is_shared_by_so_many_events(api: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.server.event_leases.SHARED_EVENTS", 3)
    async with api.connect() as client:
        for number in range(7):
            await client.create(event(f"e{number}"))
    assert api.store.status().leases == 3


async def test_an_event_whose_lease_is_gone_is_written_with_another(api: RunningServer) -> None:
    async with api.connect() as client:
        await client.create(event("a"))
        (stored,) = (await api.store.range("/events/")).items
        await api.store.revoke_lease(stored.lease)
        with pytest.raises(errors.ServiceUnavailable, match="lease"):
            await client.create(event("b"))
        await client.create(event("b"))
        assert [each.metadata.name for each in (await client.list(Event)).items] == ["b"]


async def test_events_written_before_there_were_leases_expire_too(api: RunningServer, clock: FakeClock) -> None:
    old = event("old")
    path = f"/events/{NAMESPACE}/old"
    await api.store.txn([], [Put(path, encode(kind_of(Event), old))])
    await api.restart()
    watch = api.store.watch("/events/", after=api.store.status().compacted_revision)
    while not (found := await api.store.get(path)) or not found.lease:
        await anext(watch)
    before = api.store.status().revision
    clock.advance(LIFE_SECONDS + SHARED_SECONDS)
    assert await deleted(api, before, 1) == ["old"]
