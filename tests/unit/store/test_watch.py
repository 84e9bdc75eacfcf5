"""The hub: nothing missed, nothing twice, nothing of other prefixes, and nobody waits for a slow reader."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store.errors import Compacted, FutureRevision, StoreUnavailable, WatcherTooSlow
from orchestrator.store.interface import Event
from orchestrator.store.watch import Hub, HubWatch


def make_hub(backlog: int = 100, revision: int = 1) -> Hub:
    return Hub(revision=revision, floor=0, backlog=backlog)


def publish(hub: Hub, *keys: str) -> list[Event]:
    revision = hub.revision + 1
    events = [Event(key, b"v", revision, None) for key in keys]
    hub.publish(revision, events)
    return events


async def read(watch: HubWatch, count: int) -> list[Event]:
    events: list[Event] = []
    while len(events) < count:
        events += await watch.__anext__()
    return events


async def test_a_watcher_gets_its_prefix_only_and_the_instance_is_shared() -> None:
    hub = make_hub()
    pods, nodes, everything = hub.watch("/pods/", 1), hub.watch("/nodes/", 1), hub.watch("", 1)
    (pod,) = publish(hub, "/pods/a")
    (node,) = publish(hub, "/nodes/n")
    assert (await read(pods, 1))[0] is pod
    assert (await read(nodes, 1))[0] is node
    assert [event is each for event, each in zip(await read(everything, 2), [pod, node], strict=True)] == [True, True]


async def test_a_revision_is_never_split() -> None:
    hub = make_hub()
    watch = hub.watch("", 1)
    publish(hub, "/a", "/b")
    publish(hub, "/c")
    assert [event.key for event in await watch.__anext__()] == ["/a", "/b", "/c"]


async def test_progress_says_up_to_where_everything_was_delivered() -> None:
    hub = make_hub()
    watch = hub.watch("/a", 1)
    publish(hub, "/other")
    assert watch.progress == 2
    publish(hub, "/a")
    publish(hub, "/other")
    assert watch.progress == 2
    await watch.__anext__()
    assert watch.progress == 4


async def test_a_watcher_that_begins_in_the_past_gets_what_it_missed_once() -> None:
    hub = make_hub(backlog=1)
    old = [publish(hub, f"/a/{number}")[0] for number in range(5)]
    watch = hub.watch("/a/", 3)
    assert await read(watch, 3) == old[2:]
    new = publish(hub, "/a/new")
    assert await read(watch, 1) == new


async def test_beginning_before_the_history_is_compacted() -> None:
    hub = make_hub()
    for _ in range(5):
        publish(hub, "/a")
    hub.trim(4)
    with pytest.raises(Compacted) as caught:
        hub.watch("/a", 3)
    assert caught.value.compacted_revision == 4
    assert [event.revision for event in await read(hub.watch("/a", 4), 2)] == [5, 6]


def test_beginning_in_the_future_is_refused() -> None:
    with pytest.raises(FutureRevision):
        make_hub().watch("/a", 2)


async def test_a_slow_watcher_is_cut_and_resumes_without_a_gap() -> None:
    hub = make_hub(backlog=3)
    slow, quick = hub.watch("/a", 1), hub.watch("/a", 1)
    publish(hub, "/a")
    assert len(await slow.__anext__()) == 1
    for _ in range(4):
        publish(hub, "/a")
        await quick.__anext__()
    with pytest.raises(WatcherTooSlow) as caught:
        await slow.__anext__()
    assert caught.value.delivered_revision == slow.progress == 2
    resumed = hub.watch("/a", caught.value.delivered_revision)
    assert [event.revision for event in await read(resumed, 4)] == [3, 4, 5, 6]
    assert quick.progress == 6


async def test_closing_ends_a_waiting_reader_and_leaves_nothing_in_the_index() -> None:
    hub = make_hub()
    watch = hub.watch("/a", 1)

    async def consume() -> int:
        return sum([len(batch) async for batch in watch])

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0)
    watch.close()
    watch.close()
    assert await consumer == 0
    assert len(hub) == 0


async def test_a_cancelled_reader_loses_nothing() -> None:
    hub = make_hub()
    watch = hub.watch("/a", 1)
    waiting = asyncio.create_task(watch.__anext__())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await read(watch, 0) == []
    event = publish(hub, "/a")
    assert await read(watch, 1) == event


async def test_a_failed_store_ends_all_watches() -> None:
    hub = make_hub()
    watches = [hub.watch(prefix, 1) for prefix in ("/a", "/a", "/b")]
    hub.fail(StoreUnavailable("the disk is gone"))
    for watch in watches:
        with pytest.raises(StoreUnavailable, match="the disk is gone"):
            await watch.__anext__()
    assert len(hub) == 0


@given(
    st.lists(
        st.lists(st.sampled_from(["/a/1", "/a/2", "/ab", "/b"]), min_size=1, max_size=3, unique=True), max_size=12
    ),
    st.data(),
)
@settings(max_examples=100, deadline=None)
def test_resuming_anywhere_gives_the_same_stream(history: list[list[str]], data: st.DataObject) -> None:
    """However often the reader breaks off and resumes from its progress, it has seen everything once, in order."""

    async def run() -> None:
        hub = make_hub(backlog=2)
        seen: list[tuple[int, str]] = []
        watch = hub.watch("/a", 1)
        for keys in history:
            publish(hub, *keys)
            for action in data.draw(st.lists(st.sampled_from(["read", "resume"]), max_size=2)):
                if action == "resume":
                    watch.close()
                    watch = hub.watch("/a", watch.progress)
                    continue
                try:
                    if watch.progress < hub.revision:
                        seen += [(event.revision, event.key) for event in await watch.__anext__()]
                except WatcherTooSlow as cut:
                    watch = hub.watch("/a", cut.delivered_revision)
        watch.close()
        watch = hub.watch("/a", watch.progress)
        while watch.progress < hub.revision:
            seen += [(event.revision, event.key) for event in await watch.__anext__()]
        wanted = [(2 + number, key) for number, keys in enumerate(history) for key in keys if key.startswith("/a")]
        assert seen == wanted

    asyncio.run(run())
