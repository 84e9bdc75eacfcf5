"""The whole store on a real disk in one process: what it acknowledges, shows, refuses and remembers."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.clock import Clock, FakeClock, SystemClock
from orchestrator.store import (
    Compacted,
    Compare,
    Delete,
    Event,
    InvalidTxn,
    KeyValue,
    Put,
    Settings,
    Store,
    StoreBusy,
    StoreCorrupt,
    StoreLocked,
    StoreUnavailable,
    ValueTooLarge,
    WatcherTooSlow,
    open_store,
)
from orchestrator.store.command import Limits
from orchestrator.store.files import DiskFiles, Files
from orchestrator.store.log import Base, Log
from orchestrator.store.retention import Kept
from orchestrator.store.watch import Backlog
from tests.unit.store.disk import FaultyFiles


@asynccontextmanager
async def opened(
    directory: Path, *, settings: Settings | None = None, files: Files | None = None, clock: Clock | None = None
) -> AsyncIterator[Store]:
    store = await open_store(directory, clock=clock or SystemClock(), settings=settings, files=files)
    try:
        yield store
    finally:
        await store.close()


async def put(store: Store, key: str, value: bytes = b"v") -> int:
    result = await store.txn([], [Put(key, value)])
    assert result.succeeded
    return result.revision


async def content(store: Store) -> list[KeyValue]:
    return list((await store.range("")).items)


# Txns.


async def test_an_empty_store_is_at_revision_1_and_the_first_write_is_2(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        assert (await store.range("")).revision == 1
        assert await put(store, "/a") == 2


async def test_a_failed_compare_changes_nothing_and_says_what_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, "/a", b"1")
        result = await store.txn(
            [Compare("/a", 0), Compare("/b", 7), Compare("/c", 0)], [Put("/b", b"2"), Delete("/a")]
        )
        there = KeyValue("/a", b"1", 2, 2)
        assert (result.succeeded, result.revision, result.conflicts) == (False, 2, (there, None))
        assert await content(store) == [there]


async def test_concurrent_creations_of_one_key_have_one_winner(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        results = await asyncio.gather(
            *(store.txn([Compare("/a", 0)], [Put("/a", b"%d" % number)]) for number in range(20))
        )
        winners = [number for number, result in enumerate(results) if result.succeeded]
        assert len(winners) == 1
        found = await store.get("/a")
        assert found is not None
        assert found.value == b"%d" % winners[0]


async def test_concurrent_txns_share_an_fsync_and_each_has_its_own_dense_revision(tmp_path: Path) -> None:
    disk = FaultyFiles()
    async with opened(tmp_path, files=disk) as store:
        disk.hold_syncs()
        first = asyncio.create_task(put(store, "/first"))
        await disk.sync_begun()
        others = [asyncio.create_task(put(store, f"/{number}")) for number in range(50)]
        before = disk.syncs
        disk.release_syncs()
        assert await first == 2
        assert await asyncio.gather(*others) == list(range(3, 53))
        assert disk.syncs - before == 2


async def test_nothing_is_visible_or_acknowledged_before_it_is_on_the_disk(tmp_path: Path) -> None:
    disk = FaultyFiles()
    async with opened(tmp_path, files=disk) as store:
        watch = store.watch("/", after=1)
        disk.hold_syncs()
        writing = asyncio.create_task(put(store, "/a"))
        await disk.sync_begun()
        assert not writing.done()
        assert await store.get("/a") is None
        assert store.status().commit_index < store.status().log_last_index
        assert watch.progress == 1
        disk.release_syncs()
        assert await writing == 2
        assert [event.key for event in await watch.__anext__()] == ["/a"]


async def test_what_an_acknowledged_write_caused_is_already_in_the_watch(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        watch = store.watch("/a", after=1)
        await put(store, "/a")
        assert watch.progress == 1, "the event waits in the backlog already"
        assert [event.revision for event in await watch.__anext__()] == [2]


async def test_a_cancelled_writer_disturbs_nobody(tmp_path: Path) -> None:
    disk = FaultyFiles()
    async with opened(tmp_path, files=disk) as store:
        disk.hold_syncs()
        cancelled = asyncio.create_task(put(store, "/a"))
        other = asyncio.create_task(put(store, "/b"))
        await disk.sync_begun()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        disk.release_syncs()
        assert await other == 3


@pytest.mark.parametrize(
    ("operation", "error"),
    [(Put("/a", bytes(11)), ValueTooLarge), (Put("", b""), InvalidTxn)],
    ids=["large value", "empty key"],
)
async def test_a_bad_txn_is_refused_and_nothing_else_is_disturbed(
    tmp_path: Path, operation: Put, error: type[Exception]
) -> None:
    async with opened(tmp_path, settings=Settings(limits=Limits(value=10))) as store:
        with pytest.raises(error):
            await store.txn([], [Put("/fine", b""), operation])
        assert await content(store) == []
        assert await put(store, "/b") == 2


async def test_more_writes_than_may_wait_are_refused_not_queued(tmp_path: Path) -> None:
    disk = FaultyFiles()
    async with opened(tmp_path, files=disk, settings=Settings(pending_writes=3)) as store:
        disk.hold_syncs()
        first = asyncio.create_task(put(store, "/first"))
        await disk.sync_begun()
        waiting = [asyncio.create_task(put(store, f"/{number}")) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(StoreBusy):
            await put(store, "/one-too-many")
        disk.release_syncs()
        assert await asyncio.gather(first, *waiting) == [2, 3, 4, 5]
        assert await put(store, "/again") == 6


# History.


async def test_pages_of_a_range_hold_still_while_writes_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in range(5):
            await put(store, f"/a/{number}")
        page = await store.range("/a/", limit=2)
        assert ([item.key for item in page.items], page.more, page.count) == (["/a/0", "/a/1"], True, 5)
        await store.txn([], [Delete("/a/3"), Put("/a/22", b""), Put("/a/4", b"new")])
        rest = await store.range("/a/", start_after="/a/1", limit=10, revision=page.revision)
        assert [(item.key, item.value) for item in rest.items] == [("/a/2", b"v"), ("/a/3", b"v"), ("/a/4", b"v")]


async def test_compaction_ends_old_reads_and_watches_and_survives_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for _ in range(5):
            await put(store, "/a")
        await store.compact(4)
        await store.compact(3)
    async with opened(tmp_path) as store:
        with pytest.raises(Compacted):
            await store.get("/a", revision=3)
        with pytest.raises(Compacted) as caught:
            store.watch("/a", after=3)
        assert caught.value.compacted_revision == store.status().compacted_revision == 4
        assert [event.revision for event in await store.watch("/a", after=4).__anext__()] == [5, 6]


async def test_history_is_bounded_by_count(tmp_path: Path) -> None:
    async with opened(tmp_path, settings=Settings(kept=Kept(events=20))) as store:
        for _ in range(200):
            await put(store, "/a", bytes(10))
        status = store.status()
        assert 20 <= status.revision - status.compacted_revision <= 30
        assert status.history_size <= 30 * 12


async def test_history_is_bounded_by_size(tmp_path: Path) -> None:
    async with opened(tmp_path, settings=Settings(kept=Kept(size=10_000))) as store:
        for _ in range(100):
            await put(store, "/a", bytes(1000))
        assert store.status().history_size <= 15_000


async def test_history_is_bounded_by_age_and_an_idle_store_writes_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock=clock, settings=Settings(kept=Kept(seconds=300))) as store:
        await put(store, "/a", b"1")
        await put(store, "/a", b"2")
        await clock.run(200)
        assert store.watch("/a", after=1).progress == 1
        while store.status().compacted_revision < 3:
            await clock.run(30)
            await store.txn([], [])  # goes through the log behind the compaction
        with pytest.raises(Compacted):
            store.watch("/a", after=2)
        store.watch("/a", after=3).close()
        log_last_index = store.status().log_last_index
        await clock.run(24 * 3600)
        assert store.status().log_last_index == log_last_index


async def test_a_slow_watcher_is_cut_and_resumes_where_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path, settings=Settings(backlog=Backlog(events=5))) as store:
        watch = store.watch("/a", after=1)
        for _ in range(20):
            await put(store, "/a")
        with pytest.raises(WatcherTooSlow) as caught:
            await watch.__anext__()
        resumed = await store.watch("/a", after=caught.value.delivered_revision).__anext__()
        assert [event.revision for event in resumed] == list(range(2, 22))


# Restarts.


async def test_everything_is_there_after_a_restart_and_revisions_go_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in range(100):
            await put(store, f"/{number % 7}", b"%d" % number)
        await store.txn([], [Delete("/3"), Put("/new", b"")])
        before, revision = await content(store), store.status().revision
        old = await store.get("/3", revision=50)
    for _ in range(3):
        async with opened(tmp_path) as store:
            assert await content(store) == before
            assert store.status().revision == revision
            assert await store.get("/3", revision=50) == old
    async with opened(tmp_path) as store:
        assert await put(store, "/a") == revision + 1


async def test_a_watch_resumes_over_a_restart_without_missing_or_repeating(tmp_path: Path) -> None:
    seen: list[Event] = []
    async with opened(tmp_path) as store:
        watch = store.watch("/a", after=1)
        for number in range(10):
            await put(store, f"/a/{number}")
            await put(store, f"/b/{number}")
            if number == 4:
                seen += await watch.__anext__()
                progress = watch.progress
    async with opened(tmp_path) as store:
        await put(store, "/a/last")
        resumed = store.watch("/a", after=progress)
        seen += await resumed.__anext__()
        assert [event.key for event in seen] == [*(f"/a/{number}" for number in range(10)), "/a/last"]
        assert resumed.progress == store.status().revision


async def test_terms_grow_with_every_start(tmp_path: Path) -> None:
    terms = []
    for _ in range(3):
        async with opened(tmp_path) as store:
            terms.append(store.status().term)
            assert store.status().is_leader
    assert terms == [1, 2, 3]


async def test_close_finishes_what_was_begun_and_then_refuses(tmp_path: Path) -> None:
    disk = FaultyFiles()
    store = await open_store(tmp_path, clock=SystemClock(), files=disk)
    watch = store.watch("/", after=1)
    disk.hold_syncs()
    writing = asyncio.create_task(put(store, "/a"))
    await disk.sync_begun()
    late = asyncio.create_task(put(store, "/b"))
    await asyncio.sleep(0)
    closing = [asyncio.create_task(store.close()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="closed"):
        await put(store, "/too-late")
    disk.release_syncs()
    assert [await writing, await late] == [2, 3]
    await asyncio.gather(*closing)
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await watch.__anext__()
    async with opened(tmp_path) as again:
        assert [item.key for item in await content(again)] == ["/a", "/b"]


async def test_a_second_opener_is_told_who_has_the_directory(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(StoreLocked, match=f"in use by process {os.getpid()}"):
            await open_store(tmp_path, clock=SystemClock())
    async with opened(tmp_path):
        pass


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file/store cannot be used"):
        await open_store(tmp_path / "file" / "store", clock=SystemClock())


# Faults.


@pytest.mark.parametrize("fault", ["fail_syncs", "fail_writes"])
async def test_after_a_failed_fsync_everything_is_refused_until_a_restart(tmp_path: Path, fault: str) -> None:
    disk = FaultyFiles()
    async with opened(tmp_path, files=disk) as store:
        await put(store, "/before")
        watch = store.watch("/", after=2)
        setattr(disk, fault, True)
        writers = await asyncio.gather(*(put(store, f"/{number}") for number in range(5)), return_exceptions=True)
        assert all(isinstance(error, StoreUnavailable) for error in writers)
        setattr(disk, fault, False)
        for attempt in (put(store, "/a"), store.get("/before"), store.range(""), store.compact(1), store.wait_ready()):
            with pytest.raises(StoreUnavailable, match="cannot be written any more"):
                await attempt
        with pytest.raises(StoreUnavailable):
            await watch.__anext__()
        with pytest.raises(StoreUnavailable):
            store.watch("/", after=2)
        assert "cannot be written any more" in await store.wait_failed()
        assert not store.status().is_leader
    async with opened(tmp_path) as store:
        assert await store.get("/before") is not None
        assert await put(store, "/after") > 2


@pytest.mark.parametrize("kind", [b"\x00", b"\x02", b"\x03"], ids=["command", "membership", "version"])
async def test_a_pickle_in_the_log_is_refused_and_never_run(tmp_path: Path, kind: bytes) -> None:
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(trap),)

    store = tmp_path / "store"
    async with opened(store):
        pass
    log = Log.open(DiskFiles(), store, Base())
    log.append(kind + pickle.dumps(Trap()), log.next_index, log.term)
    log.flush()
    log.close()
    for _ in range(2):  # twice: the first attempt must have let go of the directory
        with pytest.raises(StoreCorrupt):
            await open_store(store, clock=SystemClock())
    assert not trap.exists()
