"""The power fails between any two operations on the disk: enumerated, not by chance.

A scenario is run once for each of its disk operations, and stopped there as by a power cut. Four disks are made of what
was done until then: contents that were not synced are there or not, names that were not synced are there or not. The
log must open on each, with everything that had been acknowledged.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestrator.store.files import File
from orchestrator.store.log import Base, Log
from orchestrator.store.snapshot import (
    Beside,
    SnapshotWriter,
    adopt_received,
    load_newest,
    received_name,
    received_snapshot,
    snapshot_name,
)


class PowerCut(OSError):
    """Nothing can be done any more."""


class Content:
    def __init__(self) -> None:
        self.data = b""
        self.allocated = 0
        self.synced = b""


class Disk:
    """Files in memory that stop after so many operations."""

    def __init__(self, left: int) -> None:
        self._left = left
        self.operations = 0
        self.names_now: dict[Path, Content] = {}
        self.names_synced: dict[Path, Content] = {}

    def left_by_a_cut(self, *, contents: bool, names: bool) -> Disk:
        """`contents`, `names`: whether those survived that were not synced."""
        after = Disk(1 << 30)
        for path, before in (self.names_now if names else self.names_synced).items():
            content = Content()
            content.data = content.synced = before.data if contents else before.synced
            content.allocated = before.allocated
            after.names_now[path] = after.names_synced[path] = content
        return after

    def operate(self) -> None:
        if self.operations == self._left:
            raise PowerCut(errno.EIO, "the power is off")
        self.operations += 1

    def create(self, path: Path) -> File:
        self.operate()
        self.names_now[path] = Content()
        return Handle(self, self.names_now[path])

    def open_end(self, path: Path, size: int, allocated: int) -> File:
        self.operate()
        content = self.names_now[path]
        content.data, content.allocated = content.data[:size], allocated
        content.synced = content.data
        return Handle(self, content)

    def read(self, path: Path) -> bytes:
        if path not in self.names_now:
            raise FileNotFoundError(path)
        content = self.names_now[path]
        return content.data.ljust(content.allocated, b"\x00")

    def rename(self, old: Path, new: Path) -> None:
        self.operate()
        self.names_now[new] = self.names_now.pop(old)

    def remove(self, path: Path) -> None:
        self.operate()
        del self.names_now[path]

    def names(self, directory: Path) -> Sequence[str]:
        return sorted(path.name for path in self.names_now)

    def sync_directory(self, directory: Path) -> None:
        self.operate()
        self.names_synced = dict(self.names_now)


class Handle:
    def __init__(self, disk: Disk, content: Content) -> None:
        self._disk, self._content = disk, content

    def append(self, data: bytes) -> None:
        self._disk.operate()
        self._content.data += data

    def allocate(self, size: int) -> None:
        self._disk.operate()
        self._content.allocated = max(self._content.allocated, size)

    def cut(self) -> None:
        self._disk.operate()
        self._content.allocated = len(self._content.data)

    def sync(self) -> None:
        self._disk.operate()
        self._content.synced = self._content.data

    def close(self) -> None:
        """Nothing is kept open."""


HERE = Path("/disk")


class Promises:
    """What a scenario had acknowledged when the power went."""

    def __init__(self) -> None:
        self.entries = 0
        self.covered = 0
        self.term = 0


def reopened(disk: Disk) -> tuple[Log, Base]:
    """As a store does at its start."""
    snapshot = load_newest(disk, HERE)
    base = snapshot.base if snapshot else Base()
    received = received_snapshot(disk, HERE) is not None
    log = Log.open(disk, HERE, base, segment_size=300, reserve=1000, received=received)
    if received:
        adopt_received(disk, HERE, base.index)
    return log, base


def write(log: Log, promises: Promises, count: int) -> None:
    for _ in range(count):
        log.append(b"entry %d" % log.next_index, log.next_index, 1)
        log.flush()
        promises.entries = log.next_index - 1


def snapshot(disk: Disk, index: int, term: int) -> None:
    writer = SnapshotWriter(disk, HERE, Base(index, term), index + 1, Beside())
    writer.add(())
    writer.finish()


def segments_and_votes(disk: Disk, promises: Promises) -> None:
    log = Log.open(disk, HERE, Base(), segment_size=300, reserve=1000)
    for term in range(2, 6):
        write(log, promises, 7)
        log.vote(term, "n1")
        log.flush()
        promises.term = term
    log.close()


def a_snapshot_and_the_log_it_covers(disk: Disk, promises: Promises) -> None:
    log = Log.open(disk, HERE, Base(), segment_size=300, reserve=1000)
    for _ in range(2):
        write(log, promises, 20)
        covered = promises.entries - 5
        snapshot(disk, covered, 1)
        promises.covered = covered
        log.forget_entries(covered)
        log.remove_segments(covered)
    write(log, promises, 3)
    log.close()


def anothers_snapshot_takes_the_log_s_place(disk: Disk, promises: Promises) -> None:
    log = Log.open(disk, HERE, Base(), segment_size=300, reserve=1000)
    write(log, promises, 20)
    sent = Disk(1 << 30)
    snapshot(sent, 90, 1)
    file = disk.create(HERE / "incoming.new")
    file.append(sent.read(HERE / snapshot_name(90)))
    file.sync()
    disk.rename(HERE / "incoming.new", HERE / received_name(90))
    disk.sync_directory(HERE)
    promises.covered = promises.entries = 90
    log.reset(Base(90, 1))
    adopt_received(disk, HERE, 90)
    write(log, promises, 10)
    log.close()


@pytest.mark.parametrize(
    "scenario", [segments_and_votes, a_snapshot_and_the_log_it_covers, anothers_snapshot_takes_the_log_s_place]
)
def test_whenever_the_power_fails_what_was_acknowledged_is_there(scenario: Callable[[Disk, Promises], None]) -> None:
    whole = Disk(1 << 30)
    scenario(whole, Promises())
    assert whole.operations > 80
    for point in range(whole.operations + 1):
        for contents, names in itertools.product((False, True), repeat=2):
            disk, promises = Disk(point), Promises()
            # The store reports a failed disk; whatever it says, the power is off.
            try:
                scenario(disk, promises)
            except Exception as error:  # noqa: BLE001
                assert disk.operations == point, error
            after = disk.left_by_a_cut(contents=contents, names=names)
            log, base = reopened(after)
            where = f"after operation {point}, contents {contents}, names {names}"
            assert base.index >= promises.covered, where
            assert log.next_index - 1 >= promises.entries, where
            assert log.term >= promises.term, where
            for command, index, _ in log.entries[1 if base.index else 0 :]:
                assert command == b"entry %d" % index, where
            write(log, promises, 2)
            log.close()
            again, _ = reopened(after)
            assert again.next_index - 1 == promises.entries, where
            again.close()
