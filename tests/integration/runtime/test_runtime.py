"""Plans, reconcilers, events and leases against the real server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from datetime import datetime

import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone, key_of
from orchestrator.api.v1 import ConfigMap, Event, Lease, ObjectMeta
from orchestrator.client import Client, Create, Delete, Informer, Patch, Update
from orchestrator.clock import SystemClock
from orchestrator.runtime import (
    Deletion,
    EventRecord,
    EventRecorder,
    LeaderElection,
    Plan,
    Reconciler,
    apply_plan,
)
from orchestrator.runtime.reconciler import AnyInformer
from tests.integration.running import RunningServer

PATIENCE = 20.0


def config(name: str, value: str = "") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="default", name=name), data={"value": value})


async def test_errors_come_back_as_what_they_are(client: Client) -> None:
    with pytest.raises(errors.NotFound, match='configmaps "none" not found'):
        await client.get(ConfigMap, "none", "default")
    created = await client.create(config("a"))
    with pytest.raises(errors.AlreadyExists):
        await client.create(config("a"))
    await client.update(created)
    created.data["value"] = "changed"
    moved = await client.update(created)
    with pytest.raises(errors.Conflict, match="please apply your changes to the latest version"):
        stale = clone(moved)
        stale.metadata.resource_version = "1"
        await client.update(stale)
    with pytest.raises(errors.Invalid) as raised:
        await client.create(config("Not_A_Name"))
    assert [cause.field for cause in raised.value.details.causes] == ["metadata.name"]


async def test_an_absent_server_is_named_with_the_next_step(api: RunningServer, client: Client) -> None:
    await client.list(ConfigMap)
    await api.stop()
    with pytest.raises(errors.ServiceUnavailable, match=f"{api.address}.*navctl up"):
        # The first call may still meet the closing connection.
        for _ in range(5):
            try:
                await client.list(ConfigMap)
            except errors.ServiceUnavailable as error:
                if "refused" in error.message.lower():
                    raise
                await asyncio.sleep(0.05)


async def test_a_batch_has_a_result_for_each(client: Client) -> None:
    kept = await client.create(config("kept", "1"))
    changed = clone(kept)
    changed.data["value"] = "2"
    results = await client.batch(
        [
            Create(config("new")),
            Create(config("kept")),
            Update(changed),
            Patch(ConfigMap, "new2", {"data": {"x": "y"}}, "default"),
            Delete(ConfigMap, "none", "default"),
        ]
    )
    kinds = [type(result) for result in results]
    assert kinds == [ConfigMap, errors.AlreadyExists, ConfigMap, errors.NotFound, errors.NotFound]


async def test_a_plan_is_carried_out_and_shows_in_the_caches(client: Client) -> None:
    doomed = await client.create(config("doomed"))
    kept = await client.create(config("kept", "1"))
    kept.data["value"] = "2"
    plan = Plan(create=[config("a"), config("b")], update=[kept], delete=[Deletion(doomed)])
    informer = Informer(client, ConfigMap, namespace="default")
    task = asyncio.create_task(informer.run())
    async with asyncio.timeout(PATIENCE):
        await informer.synced()
        applied = await apply_plan(client, plan)
        await informer.reached(applied.revisions[ConfigMap])
    assert not applied.errors and not applied.look_again
    assert informer.get("default", "doomed") is None
    assert informer.get("default", "a") is not None and informer.get("default", "b") is not None
    again = await apply_plan(client, plan)
    # Only the update, whose version is old by now, asks for another look.
    assert again.look_again and not again.errors and not again.revisions
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Copier:
    """For each ConfigMap named x there shall be one named x-copy."""

    name = "copier"

    def __init__(self, client: Client) -> None:
        self.configs = Informer(client, ConfigMap, namespace="default")

    def informers(self) -> Sequence[AnyInformer]:
        return (self.configs,)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        return (key_of(obj).removesuffix("-copy"),)

    def observe(self, key: str) -> tuple[ConfigMap | None, ConfigMap | None] | None:
        return self.configs.get_by_key(key), self.configs.get_by_key(f"{key}-copy")

    def decide(self, seen: tuple[ConfigMap | None, ConfigMap | None], now: datetime) -> Plan:
        original, copy = seen
        if original is not None and copy is None:
            made = config(f"{original.metadata.name}-copy")
            return Plan(create=[made], events=[EventRecord(original, "Normal", "Copied", "made a copy")])
        if original is None and copy is not None:
            return Plan(delete=[Deletion(copy)])
        return Plan()


async def test_a_reconciler_keeps_its_subject_through_a_restart(api: RunningServer, client: Client) -> None:
    reconciler = Reconciler(Copier(client), client, SystemClock())
    ready = asyncio.Event()
    task = asyncio.create_task(reconciler.run(ready.set))
    watcher = Informer(client, ConfigMap, namespace="default")
    watching = asyncio.create_task(watcher.run())
    changed = asyncio.Event()
    watcher.subscribe(lambda old, new: changed.set())

    async def until(*names: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while {obj.metadata.name for obj in watcher.list()} - {"kube-root-ca.crt"} != set(names):
                changed.clear()
                await changed.wait()

    async with asyncio.timeout(PATIENCE):
        await ready.wait()
        await watcher.synced()
    await client.create(config("a"))
    await until("a", "a-copy")
    await api.restart()
    async with asyncio.timeout(PATIENCE):
        await client.connected()
    await client.create(config("b"))
    await client.delete(ConfigMap, "a", namespace="default")
    await until("b", "b-copy")
    for each in (task, watching):
        each.cancel()
    await asyncio.gather(task, watching, return_exceptions=True)


async def test_events_are_written_and_counted(client: Client) -> None:
    about = await client.create(config("a"))
    recorder = EventRecorder(client, "tester", SystemClock(), random.Random(1))
    task = asyncio.create_task(recorder.run())
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            recorder.record(EventRecord(about, "Warning", "Failed", "again and again"))
            await recorder.flushed()
    found = (await client.list(Event, namespace="default")).items
    assert [(each.reason, each.count, each.involved_object.name, each.source.component) for each in found] == [
        ("Failed", 3, "a", "tester")
    ]
    assert found[0].involved_object.uid == about.metadata.uid
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_leadership_is_handed_over(api: RunningServer, client: Client) -> None:
    working: asyncio.Queue[str] = asyncio.Queue()

    def candidate(name: str) -> asyncio.Task[None]:
        async def work() -> None:
            working.put_nowait(name)
            await asyncio.Event().wait()

        election = LeaderElection(client, "test", name, SystemClock())
        return asyncio.create_task(election.run(work))

    first = candidate("a")
    async with asyncio.timeout(PATIENCE):
        assert await working.get() == "a"
        second = candidate("b")
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await working.get() == "b"
        lease = await client.get(Lease, "test", "kube-system")
        assert lease.spec.holder_identity == "b" and lease.spec.lease_transitions == 1
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert (await client.get(Lease, "test", "kube-system")).spec.holder_identity == ""


async def test_warnings_reach_the_caller(api: RunningServer) -> None:
    warned: list[str] = []
    async with Client.connect(api.connection(), on_warning=warned.append) as client:
        lease = Lease(metadata=ObjectMeta(namespace="default", name="x"))
        lease.spec.strategy = "OldestEmulationVersion"
        await client.create(lease, dry_run=True)
    assert len(warned) == 1 and "spec.strategy" in warned[0]
