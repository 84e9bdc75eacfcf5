"""Watches over real gRPC: order, resumption, selectors, bookmarks, compaction, slow readers, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, Namespace, ObjectMeta, Pod
from orchestrator.client import Change, ChangeType, Client, Informer
from orchestrator.clock import FakeClock
from orchestrator.paths import Paths
from orchestrator.server import watching
from tests.integration.running import RunningServer
from tests.integration.server.objects import NAMESPACE, config_map, pod

Stream = AsyncGenerator[Change[Pod], None]


@asynccontextmanager
async def watching_pods(
    client: Client, *, resource_version: str = "", namespace: str = "", labels: str = "", fields: str = ""
) -> AsyncIterator[Stream]:
    """A watch that stands: with no resource version, what there is and the bookmark have been read."""
    stream = client.watch(
        Pod,
        namespace=namespace,
        label_selector=labels,
        field_selector=fields,
        resource_version=resource_version,
    )
    try:
        if not resource_version:
            while (await anext(stream)).type is not ChangeType.BOOKMARK:
                pass
        yield stream
    finally:
        await stream.aclose()


async def seen(stream: Stream, count: int) -> list[tuple[str, str]]:
    """The next changes, bookmarks left out, as (type, name)."""
    changes: list[tuple[str, str]] = []
    while len(changes) < count:
        change = await asyncio.wait_for(anext(stream), 20)
        if change.type is not ChangeType.BOOKMARK:
            changes.append((change.type.value, change.object.metadata.name))
    return changes


async def test_first_what_there_is_then_what_changes(client: Client) -> None:
    made = await client.create(pod("a"))
    stream = client.watch(Pod)
    first = await anext(stream)
    assert (first.type, first.object) == (ChangeType.ADDED, made)
    mark = await anext(stream)
    assert mark.type is ChangeType.BOOKMARK
    assert mark.object.metadata.annotations["k8s.io/initial-events-end"] == "true"
    assert int(mark.object.metadata.resource_version) >= int(made.metadata.resource_version)
    await client.create(pod("b"))
    changed = await client.patch(Pod, "a", {"metadata": {"labels": {"x": "y"}}}, namespace=NAMESPACE)
    last = await client.delete(Pod, "a", namespace=NAMESPACE)
    assert await seen(stream, 1) == [("ADDED", "b")]
    modified = await anext(stream)
    assert (modified.type, modified.object) == (ChangeType.MODIFIED, changed)
    deleted = await anext(stream)
    assert (deleted.type, deleted.object) == (ChangeType.DELETED, last)
    await stream.aclose()


async def test_resuming_shows_each_change_once(client: Client) -> None:
    revisions = [(await client.create(pod(f"p{i}"))).metadata.resource_version for i in range(10)]
    for index, revision in enumerate(revisions):
        async with watching_pods(client, resource_version=revision) as stream:
            await client.create(config_map(f"m{index}"))
            rest = [("ADDED", f"p{i}") for i in range(index + 1, 10)]
            assert await seen(stream, len(rest)) == rest
    async with watching_pods(client, resource_version=revisions[-1]) as stream:
        await client.create(pod("next"))
        assert await seen(stream, 1) == [("ADDED", "next")]


async def test_resuming_while_others_write(client: Client) -> None:
    """History, backlog and live changes join without a gap: watches begin at random moments of a stream of writes."""
    start = (await client.create(pod("first"))).metadata.resource_version
    writer = asyncio.create_task(_write_pods(client, 200))
    results = await asyncio.gather(*(_collect(client, start, 200) for _ in range(10)))
    await writer
    for names in results:
        assert names == [f"p{i:03}" for i in range(200)]


async def _write_pods(client: Client, count: int) -> None:
    for i in range(count):
        await client.create(pod(f"p{i:03}"))


async def _collect(client: Client, after: str, count: int) -> list[str]:
    async with watching_pods(client, resource_version=after) as stream:
        return [name for _, name in await seen(stream, count)]


async def test_namespaces_are_apart(client: Client) -> None:
    await client.create(Namespace(metadata=ObjectMeta(name="team")))
    async with watching_pods(client, namespace="team") as one, watching_pods(client) as both:
        await client.create(pod("a"))
        await client.create(pod("b", namespace="team"))
        assert await seen(one, 1) == [("ADDED", "b")]
        assert await seen(both, 2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_leaving_a_selection_is_a_deletion(client: Client) -> None:
    async with watching_pods(client, labels="app=web") as stream:
        await client.create(pod("a", labels={"app": "web"}))
        await client.create(pod("b", labels={"app": "db"}))
        await client.patch(Pod, "b", {"metadata": {"labels": {"app": "web"}}}, namespace=NAMESPACE)
        await client.patch(Pod, "a", {"metadata": {"annotations": {"x": "y"}}}, namespace=NAMESPACE)
        left = await client.patch(Pod, "a", {"metadata": {"labels": {"app": None}}}, namespace=NAMESPACE)
        await client.patch(Pod, "a", {"metadata": {"annotations": {"x": "z"}}}, namespace=NAMESPACE)
        await client.delete(Pod, "a", namespace=NAMESPACE)
        await client.delete(Pod, "b", namespace=NAMESPACE)
        assert await seen(stream, 3) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a")]
        gone = await anext(stream)
        assert gone.type is ChangeType.DELETED
        assert gone.object.metadata.labels["app"] == "web", "its last state in the selection"
        assert gone.object.metadata.resource_version == left.metadata.resource_version
        assert await seen(stream, 1) == [("DELETED", "b")]


async def test_a_node_sees_its_own_pods(client: Client) -> None:
    async with (
        watching_pods(client, fields="spec.nodeName=n1") as n1,
        watching_pods(client, fields="spec.nodeName=n2", namespace=NAMESPACE) as n2,
    ):
        waiting = await client.create(pod("waiting"))
        await client.create(pod("fixed", node="n2"))
        await client.bind(waiting, "n1")
        await client.delete(Pod, "waiting", namespace=NAMESPACE)
        await client.delete(Pod, "waiting", namespace=NAMESPACE, grace_period_seconds=0)
        assert await seen(n1, 3) == [("ADDED", "waiting"), ("MODIFIED", "waiting"), ("DELETED", "waiting")]
        assert await seen(n2, 1) == [("ADDED", "fixed")]


async def test_a_compacted_revision_is_expired(api: RunningServer, client: Client) -> None:
    old = await client.create(pod("a"))
    recent = await client.create(pod("b"))
    await api.store.compact(int(recent.metadata.resource_version))
    with pytest.raises(errors.Expired, match="too old"):
        async with watching_pods(client, resource_version=old.metadata.resource_version) as stream:
            await anext(stream)
    async with watching_pods(client, resource_version=recent.metadata.resource_version) as stream:
        await client.create(pod("c"))
        assert await seen(stream, 1) == [("ADDED", "c")]


async def test_a_list_whose_revision_is_compacted_starts_again(api: RunningServer, client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.create(pod(name))
    page = await client.list(Pod, limit=2)
    await client.create(pod("d"))
    newest = await client.create(pod("e"))
    await api.store.compact(int(newest.metadata.resource_version))
    with pytest.raises(errors.Expired, match="The provided continue parameter is too old"):
        await client.list(Pod, limit=2, continue_token=page.continue_token)


async def test_a_revision_that_was_not_written_yet(client: Client) -> None:
    with pytest.raises(errors.Timeout, match="Too large resource version: 99999") as caught:
        async with watching_pods(client, resource_version="99999") as stream:
            await anext(stream)
    assert [cause.reason for cause in caught.value.details.causes] == ["ResourceVersionTooLarge"]
    assert caught.value.retry_after == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resource_version": "now"}, "invalid resource version"),
        ({"fields": "spec.image=x"}, "field label not supported"),
        ({"labels": "a=(b", "resource_version": "1"}, "unable to parse requirement"),
    ],
)
async def test_bad_watches(client: Client, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(errors.BadRequest, match=message):
        async with watching_pods(client, **arguments) as stream:
            await anext(stream)


async def test_a_watch_ends_in_time(client: Client) -> None:
    stream = client.watch(Pod, timeout_seconds=1)
    types = [change.type async for change in stream]
    assert types == [ChangeType.BOOKMARK]


async def test_bookmarks_tell_how_far_a_quiet_watch_is(tmp_path: Path) -> None:
    clock = FakeClock()
    server = RunningServer(Paths(tmp_path), clock=clock)
    await server.start()
    try:
        async with server.connect() as client, watching_pods(client) as stream:
            latest = await client.create(config_map())
            clock.advance(watching.BOOKMARK_SECONDS)
            mark = await asyncio.wait_for(anext(stream), 20)
            assert mark.type is ChangeType.BOOKMARK
            assert mark.object.metadata.resource_version == latest.metadata.resource_version
    finally:
        await server.stop()


async def test_a_slow_reader_is_cut_and_can_resume(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_BACKLOG", 20)
    large = "x" * 100_000
    start = (await client.create(config_map("first"))).metadata.resource_version
    stream = client.watch(ConfigMap, resource_version=start)
    await client.create(config_map("m000", v=large))
    got = [(await anext(stream)).object]
    # The stream is not read: flow control fills first, then the backlog.
    for i in range(1, 200):
        await client.create(config_map(f"m{i:03}", v=large))
    with pytest.raises(errors.ServiceUnavailable, match="fell too far behind"):
        async for change in stream:
            got.append(change.object)
    monkeypatch.setattr(watching, "MAX_BACKLOG", 10_000)
    async for change in client.watch(ConfigMap, resource_version=got[-1].metadata.resource_version):
        got.append(change.object)
        if len(got) == 200:
            break
    assert [each.metadata.name for each in got] == [f"m{i:03}" for i in range(200)]


async def test_a_restart_in_the_middle_of_a_watch_loses_and_repeats_nothing(api: RunningServer) -> None:
    transitions: list[tuple[str, str]] = []

    def note(old: ConfigMap | None, new: ConfigMap | None) -> None:
        obj = new or old
        assert obj is not None
        kind = "added" if old is None else "deleted" if new is None else "changed"
        transitions.append((kind, obj.metadata.name))

    async with api.connect() as client, api.connect("node") as other:
        informer = Informer(other, ConfigMap, namespace=NAMESPACE)
        informer.subscribe(note)
        running = asyncio.create_task(informer.run())
        await informer.synced()
        expected: list[tuple[str, str]] = []
        for i in range(30):
            made = await client.create(config_map(f"m{i}"))
            expected.append(("added", f"m{i}"))
            if i % 3 == 0:
                await client.delete(ConfigMap, f"m{i}", namespace=NAMESPACE)
                expected.append(("deleted", f"m{i}"))
            if i == 15:
                await api.restart()
                await client.connected()
        await asyncio.wait_for(informer.reached(int(made.metadata.resource_version)), 60)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert transitions == expected


async def test_a_stopping_server_ends_watches_so_that_they_resume(api: RunningServer, client: Client) -> None:
    async with watching_pods(client) as stream:
        stopping = asyncio.create_task(api.stop())
        with pytest.raises(errors.ServiceUnavailable, match="shutting down"):
            await asyncio.wait_for(anext(stream), 20)
        await stopping
