"""Flushes in a thread and in place: each is reported once, a slow disk is left to the thread, quiet is noticed."""

from __future__ import annotations

import asyncio
import threading
import time

from orchestrator.store.errors import StoreUnavailable
from orchestrator.store.flusher import Flusher


class Disk:
    """Counts what is asked of it, and by which thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.broken = False
        self.by: list[bool] = []
        """For each flush, whether the event loop's thread waited for it."""
        self.confirmed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.loop_thread = threading.get_ident()

    def flush(self) -> None:
        self.by.append(threading.get_ident() == self.loop_thread)
        time.sleep(self.seconds)  # the disk's own time, which is what the flusher measures
        if self.broken:
            raise StoreUnavailable("the disk is broken")

    def confirm(self) -> None:
        self._loop.call_soon_threadsafe(self.confirmed.set)


class Asking:
    """Asks for flushes one after the other."""

    def __init__(self, disk: Disk, *, little: bool) -> None:
        self.little = little
        self._done: asyncio.Queue[StoreUnavailable | None] = asyncio.Queue()
        self.flusher = Flusher(
            disk.flush,
            self._done.put_nowait,
            asyncio.get_running_loop(),
            confirm=disk.confirm,
            in_place=lambda: self.little,
        )

    async def flush(self, times: int = 1) -> list[StoreUnavailable | None]:
        reports = []
        for _ in range(times):
            self.flusher.request()
            assert self._done.empty(), "nothing is reported before the caller has gone on"
            reports.append(await self._done.get())
        assert self._done.empty()
        return reports


def in_place(disk: Disk) -> bool:
    """Whether the last flush was."""
    return disk.by[-1]


async def test_a_quick_disk_is_waited_for_in_place_where_that_is_wanted() -> None:
    disk = Disk()
    asking = Asking(disk, little=True)
    assert await asking.flush(50) == [None] * 50
    assert not disk.by[0], "an unknown disk counts as slow"
    assert in_place(disk)
    asking.little = False
    await asking.flush()
    assert not in_place(disk)
    asking.flusher.stop()


async def test_a_slow_disk_is_left_to_the_thread() -> None:
    disk = Disk()
    asking = Asking(disk, little=True)
    await asking.flush(50)
    disk.seconds = 0.05
    await asking.flush(3)
    assert not in_place(disk)
    asking.flusher.stop()


async def test_a_failure_in_place_is_reported_as_one_in_the_thread() -> None:
    disk = Disk()
    asking = Asking(disk, little=True)
    await asking.flush(50)
    disk.broken = True
    (in_place,) = await asking.flush()
    asking.little = False
    (in_thread,) = await asking.flush()
    assert disk.by[-2:] == [True, False]
    assert str(in_place) == str(in_thread) == "the disk is broken"
    asking.flusher.stop()


async def test_quiet_is_confirmed_after_flushes_of_either_kind() -> None:
    disk = Disk()
    asking = Asking(disk, little=False)
    await asking.flush()
    async with asyncio.timeout(10):
        await disk.confirmed.wait()
        asking.little = True
        await asking.flush(50)
        disk.confirmed.clear()
        await asking.flush()
        assert in_place(disk)
        await disk.confirmed.wait()
    asking.flusher.stop()
