"""The informer against the real server: restarts, compaction, selectors, and the revisions of its own writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.api.kinds import clone
from orchestrator.api.v1 import ConfigMap, ObjectMeta
from orchestrator.client import Client, Create, Informer
from orchestrator.clock import SystemClock
from orchestrator.paths import Paths
from tests.integration.running import RunningServer

PATIENCE = 20.0


def config(name: str, value: str = "", **labels: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="default", name=name, labels=labels), data={"value": value})


@asynccontextmanager
async def running(informer: Informer[ConfigMap]) -> AsyncIterator[Informer[ConfigMap]]:
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await informer.synced()
        yield informer
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reach(informer: Informer[ConfigMap], written: ConfigMap) -> None:
    async with asyncio.timeout(PATIENCE):
        await informer.reached(int(written.metadata.resource_version))


async def test_sees_its_own_writes(client: Client) -> None:
    for number in range(7):
        await client.create(config(f"c{number}"))
    async with running(Informer(client, ConfigMap, namespace="default", page_size=3)) as informer:
        assert {obj.metadata.name for obj in informer.list("default")} >= {f"c{n}" for n in range(7)}
        created = await client.create(config("new", "1"))
        await reach(informer, created)
        assert informer.get("default", "new") == created
        created.data["value"] = "2"
        updated = await client.update(created)
        await reach(informer, updated)
        assert informer.get_by_key("default/new") == updated
        deleted = await client.delete(ConfigMap, "new", namespace="default")
        await reach(informer, deleted)
        assert informer.get("default", "new") is None


async def test_lives_through_restarts_of_the_server(api: RunningServer, client: Client) -> None:
    told: list[tuple[str, str]] = []
    informer = Informer(client, ConfigMap, namespace="default")
    async with running(informer):
        informer.subscribe(
            lambda old, new: told.append((new.metadata.name, new.data["value"]) if new else ("gone", ""))
        )
        expected = []
        for round_number in range(3):
            await reach(informer, await client.create(config(f"before-{round_number}", "1")))
            expected.append((f"before-{round_number}", "1"))
            await api.restart()
            # Somebody else is faster to come back, and writes before the informer has its watch again.
            async with api.connect() as other:
                async with asyncio.timeout(PATIENCE):
                    await other.connected()
                written = await other.create(config(f"after-{round_number}", "2"))
            expected.append((f"after-{round_number}", "2"))
            await reach(informer, written)
        assert told == expected


async def test_compaction_while_disconnected(api: RunningServer, client: Client) -> None:
    for name in ("same", "changed", "gone"):
        await client.create(config(name, "old"))
    informer = Informer(client, ConfigMap, namespace="default")
    async with running(informer):
        same = informer.get("default", "same")
        told: list[tuple[str | None, str | None]] = []
        informer.subscribe(lambda old, new: told.append((old and old.data["value"], new and new.data["value"])))
        blocked = asyncio.Event()
        # The informer stays away until history it needs is gone.
        held = asyncio.Event()
        original = client.connected

        async def connected() -> None:
            blocked.set()
            await held.wait()
            await original()

        client.connected = connected  # type: ignore[method-assign]
        await api.restart()
        async with asyncio.timeout(PATIENCE):
            await blocked.wait()
        async with api.connect() as other:
            async with asyncio.timeout(PATIENCE):
                await other.connected()
            changed = clone(await other.get(ConfigMap, "changed", "default"))
            changed.data["value"] = "new"
            await other.update(changed)
            await other.delete(ConfigMap, "gone", namespace="default")
            added = await other.create(config("added", "young"))
        await api.store.compact(int(added.metadata.resource_version))
        held.set()
        await reach(informer, added)
        assert sorted(told, key=str) == sorted([("old", None), ("old", "new"), (None, "young")], key=str)
        assert informer.get("default", "same") is same


async def test_a_selector_shows_what_matches_and_when_it_stops_matching(client: Client) -> None:
    async with running(Informer(client, ConfigMap, namespace="default", label_selector="tier=front")) as informer:
        front = await client.create(config("a", tier="front"))
        await client.create(config("b", tier="back"))
        await reach(informer, front)
        assert [obj.metadata.name for obj in informer.list()] == ["a"]
        front.metadata.labels["tier"] = "back"
        moved = await client.update(front)
        await reach(informer, moved)
        assert informer.list() == []


class HastyClock(SystemClock):
    """Nobody waits long, so that the server's intervals pass quickly."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.1))


async def test_bookmarks_tell_that_nothing_happened(tmp_path: Path) -> None:
    api = RunningServer(Paths(tmp_path), clock=HastyClock())
    await api.start()
    async with api.connect() as client:
        async with running(Informer(client, ConfigMap, namespace="kube-public")) as informer:
            elsewhere = await client.create(config("elsewhere"))
            # No event concerns this informer; the server says so with its next bookmark.
            await reach(informer, elsewhere)
    await api.stop()


async def test_a_thousand_changes_arrive_in_order(client: Client) -> None:
    async with running(Informer(client, ConfigMap, namespace="default")) as informer:
        revisions: list[int] = []
        informer.subscribe(lambda old, new: revisions.append(int(new.metadata.resource_version) if new else 0))
        results = await client.batch([Create(config(f"c{number}")) for number in range(1000)])
        written = [obj for obj in results if isinstance(obj, ConfigMap)]
        assert len(written) == 1000
        await reach(informer, max(written, key=lambda obj: int(obj.metadata.resource_version)))
        assert len(revisions) == 1000 and revisions == sorted(revisions)
        assert len(informer) >= 1000


async def test_refresh(client: Client) -> None:
    async with running(Informer(client, ConfigMap, namespace="default")) as informer:
        await client.create(config("a"))
        async with asyncio.timeout(PATIENCE):
            await informer.refresh()
        assert informer.get("default", "a") is not None
