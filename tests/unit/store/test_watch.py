"""The hub: nothing missed, nothing twice, nothing of other prefixes, and nobody waits for a slow reader."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store.errors import Compacted, FutureRevision, StoreUnavailable, WatcherTooSlow
from orchestrator.store.history import History
from orchestrator.store.interface import Event
from orchestrator.store.watch import Backlog, Hub, HubWatch


def make_hub(backlog: int = 100, *, size: int = 1 << 20, all_size: int = 1 << 20) -> Hub:
    return Hub(History(), revision=1, floor=0, backlog=Backlog(backlog, size, all_size))


def publish(hub: Hub, *keys: str, value: bytes = b"v") -> list[Event]:
    events = [Event(key, value, hub.revision + 1, None) for key in keys]
    for event in events:
        hub.history.add(event)
    hub.publish(hub.revision + 1, events)
    return events


def compact(hub: Hub, revision: int) -> None:
    hub.history.forget(revision)
    hub.trim(revision)


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
    compact(hub, 4)
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


async def test_watchers_that_are_equally_far_share_their_batch() -> None:
    hub = make_hub()
    first, second, other = hub.watch("/a", 1), hub.watch("/a", 1), hub.watch("/a", 1)
    publish(hub, "/a/1")
    await other.__anext__()
    publish(hub, "/a/2")
    batch = await first.__anext__()
    assert await second.__anext__() is batch
    batch.cached = b"encoded"
    assert [event.key for event in await other.__anext__()] == ["/a/2"]


async def test_what_everybody_has_read_is_not_kept() -> None:
    hub = make_hub()
    watches = [hub.watch("/a", 1) for _ in range(3)]
    waiting = [asyncio.create_task(read(watch, 5)) for watch in watches]
    for _ in range(5):
        publish(hub, "/a", value=bytes(1000))
    await asyncio.gather(*waiting)
    waiting = [asyncio.create_task(read(watch, 1)) for watch in watches]
    await asyncio.sleep(0)
    assert hub.held == 0
    publish(hub, "/a")
    await asyncio.gather(*waiting)


async def test_slow_watchers_share_what_they_have_not_read() -> None:
    """A thousand readers that do not read hold what one of them holds, and quick ones beside them go on."""
    hub = make_hub(backlog=1000, size=100_000, all_size=150_000)
    slow = [hub.watch("/a", 1) for _ in range(1000)]
    quick = hub.watch("/a", 1)
    for _ in range(99):
        publish(hub, "/a", value=bytes(1000))
        await quick.__anext__()
    assert hub.held == 99_000
    for _ in range(200):
        publish(hub, "/a", value=bytes(1000))
        await quick.__anext__()
        assert hub.held <= 130_000
    for watch in slow:
        with pytest.raises(WatcherTooSlow) as caught:
            await watch.__anext__()
        assert caught.value.delivered_revision == 1
    assert len(hub) == 1
    assert quick.progress == hub.revision


async def test_slow_watchers_of_many_prefixes_are_bounded_together() -> None:
    hub = make_hub(backlog=1000, size=100_000, all_size=150_000)
    slow = [hub.watch("/a"[:length] if length < 2 else f"/a/{length}", 1) for length in range(50)]
    for number in range(3000):
        publish(hub, f"/a/{number % 50}", value=bytes(1000))
        assert hub.held <= 152_000
    cut = 0
    for watch in slow:
        if watch.progress == hub.revision:
            continue
        try:
            await watch.__anext__()
        except WatcherTooSlow:
            cut += 1
    assert 0 < cut <= 50


async def test_history_that_is_forgotten_before_it_was_read_ends_the_watch() -> None:
    hub = make_hub()
    for _ in range(5):
        publish(hub, "/a")
    late = hub.watch("/a", 1)
    compact(hub, 4)
    assert late.progress == 1
    with pytest.raises(Compacted):
        await late.__anext__()
    assert len(hub) == 0


async def test_what_was_published_after_the_beginning_outlives_a_compaction() -> None:
    hub = make_hub()
    watch = hub.watch("/a", 1)
    publish(hub, "/a")
    publish(hub, "/a")
    compact(hub, 3)
    assert [event.revision for event in await read(watch, 2)] == [2, 3]


async def test_a_long_past_is_read_in_pieces_that_split_no_revision() -> None:
    hub = make_hub()
    for _ in range(30):
        publish(hub, *(f"/a/{number}" for number in range(70)), "/b")
    watch = hub.watch("/a", 1)
    batches = []
    while watch.progress < hub.revision:
        batches.append(await watch.__anext__())
    assert len(batches) > 1
    assert [event.revision for batch in batches for event in batch] == [2 + number // 70 for number in range(2100)]
    for before, after in pairwise(batches):
        assert before[-1].revision < after[0].revision


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
