"""The watch hub of one server of several: it waits for what was seen elsewhere, and lets nobody watch in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import kind_of
from orchestrator.api.selectors import FieldQuery, LabelQuery
from orchestrator.api.v1 import ConfigMap, ObjectMeta, WatchEvent
from orchestrator.clock import SystemClock
from orchestrator.server.encoding import encode
from orchestrator.server.watching import Selection, WatchHub
from orchestrator.store import Put, ReplicatedStore, open_store

KIND = kind_of(ConfigMap)
EVERYTHING = Selection(KIND, "", LabelQuery.parse(""), FieldQuery.parse("", KIND.kind))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReplicatedStore]:
    store = await open_store(tmp_path, clock=SystemClock())
    yield store
    await store.close()


@pytest.fixture
async def hub(store: ReplicatedStore) -> AsyncIterator[WatchHub]:
    hub = WatchHub(store, SystemClock())
    task = asyncio.create_task(hub.run())
    yield hub
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def put(store: ReplicatedStore, name: str) -> int:
    value = encode(KIND, ConfigMap(metadata=ObjectMeta(name=name, namespace="default")))
    return (await store.txn([], [Put(f"/configmaps/default/{name}", value)])).revision


def name_of(encoded: bytes) -> str:
    return WatchEvent.FromString(encoded).object.config_map.metadata.name


async def test_a_revision_seen_elsewhere_is_waited_for(
    store: ReplicatedStore, hub: WatchHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    arrived = asyncio.Event()

    async def reach(self: ReplicatedStore, revision: int) -> None:
        asked.set_result(revision)
        await arrived.wait()

    monkeypatch.setattr(ReplicatedStore, "reach", reach)
    seen = await put(store, "seen") + 1
    watch = hub.subscribe(EVERYTHING, after=seen, bookmarks=False)
    first = asyncio.ensure_future(anext(watch))
    assert await asked == seen
    # What comes meanwhile is what the watcher has seen elsewhere.
    assert await put(store, "seen-too") == seen
    assert not first.done()
    arrived.set()
    await asyncio.sleep(0)
    await put(store, "new")
    assert name_of(await first) == "new"
    await watch.aclose()


async def test_a_server_that_is_cut_off_ends_its_watches_and_takes_no_more(
    store: ReplicatedStore, hub: WatchHub
) -> None:
    revision = await put(store, "first")
    watch = hub.subscribe(EVERYTHING, after=revision - 1, bookmarks=False)
    assert name_of(await anext(watch)) == "first"
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    hub.suspend("the store has no leader")
    with pytest.raises(errors.ServiceUnavailable, match="the store has no leader"):
        await waiting
    with pytest.raises(errors.ServiceUnavailable, match="the store has no leader"):
        await anext(hub.subscribe(EVERYTHING, after=revision, bookmarks=False))
    hub.resume()
    again = hub.subscribe(EVERYTHING, after=revision - 1, bookmarks=False)
    assert name_of(await anext(again)) == "first"
    await again.aclose()
