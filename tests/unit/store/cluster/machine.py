"""A simulated machine's disk, in memory: what was not synced is lost, or torn, when its power fails.

Contents are safe when their file was synced; names (created, renamed, removed) when their directory was. The power may
fail between any two operations, and in the middle of one.

The disk also reads along what the log on it says (`Durable`), with its own few lines: the witness of a simulation
holds what a member promises against that, and not against what the member believes to have written.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.store.files import File
from orchestrator.store.frame import frames
from orchestrator.store.record import Entry, Truncate, Vote, decode_header, decode_records
from orchestrator.store.tail import SECTOR


@dataclass(slots=True)
class Durable:
    """The log as it would be read back if the power failed now."""

    terms: dict[int, int] = field(default_factory=dict)
    """The term of each entry, also of those that a snapshot has replaced."""
    covered: int = 0
    """Entries up to here were taken from another member's snapshot."""
    last: int = 0
    term: int = 0
    voted_for: str | None = None

    def has(self, index: int, term: int) -> bool:
        return index <= self.covered or (index <= self.last and self.terms.get(index) == term)


@dataclass(slots=True, eq=False)
class _Content:
    """What a file holds, whatever its name."""

    is_log: bool
    data: bytearray = field(default_factory=bytearray)
    synced: int = 0
    allocated: int = 0
    """Reserved for it, so that it can grow to this also where the disk is full; reads as zeros."""
    read: int = 0
    """Bytes of whole frames that `Durable` has taken in."""
    frames: int = 0


_Names = dict[Path, _Content]


class Disk:
    """The files of one machine, in one directory."""

    def __init__(self, chance: random.Random, died: Callable[[], None] | None = None) -> None:
        """`died` is called when the power fails by itself, in the middle of an operation."""
        self._chance = chance
        self._died = died
        self._names: _Names = {}
        self._settled: _Names = {}
        self._unsettled: list[Callable[[_Names], None]] = []
        self.power = 1
        """Counts up with every power failure: a file opened before it is dead."""
        self.dead = False
        """The power is off: nothing can be done, until `fail_power` says what is left."""
        self.full = False
        self.fail_at_sync = False
        """The machine stops at its next sync: what was to be synced is written, and is not safe."""
        self.operations_left = -1
        """The power fails within the operation after so many; negative: it does not."""
        self.durable = Durable()

    def fail_power(self) -> None:
        """Keep what was synced, and of the rest a beginning, perhaps with a hole in it."""
        self.power += 1
        self.dead = self.fail_at_sync = False
        self.operations_left = -1
        for change in self._unsettled[: self._chance.randint(0, len(self._unsettled))]:
            change(self._settled)
        self._unsettled.clear()
        self._names = dict(self._settled)
        for content in self._names.values():
            kept = self._chance.randint(content.synced, len(content.data))
            if kept < len(content.data):
                kept = max(content.synced, kept // SECTOR * SECTOR)
            del content.data[kept:]
            if kept > content.synced and self._chance.random() < 0.3:
                sector = self._chance.randrange(content.synced, kept) // SECTOR * SECTOR
                for offset in range(max(sector, content.synced), min(sector + SECTOR, kept)):
                    content.data[offset] = 0
            content.synced = kept
            self._read_along(content, content.allocated)

    # What the store does with it.

    def create(self, path: Path) -> File:
        self._begin()
        content = _Content(is_log=path.name.startswith("log-"))
        self._rename(lambda names: names.__setitem__(path, content))
        return _OpenFile(self, content)

    def open_end(self, path: Path, size: int, allocated: int) -> File:
        self._begin()
        content = self._names[path]
        del content.data[size:]
        # What was cut short may be whole all the same: its end was zeros, which is what stands there.
        content.data.extend(bytes(size - len(content.data)))
        content.synced = size
        content.allocated = min(content.allocated, allocated)
        return _OpenFile(self, content)

    def read(self, path: Path) -> bytes:
        if self.dead:
            raise OSError(errno.EIO, "Input/output error")
        if path not in self._names:
            raise FileNotFoundError(path)
        content = self._names[path]
        return bytes(content.data).ljust(content.allocated, b"\x00")

    def rename(self, old: Path, new: Path) -> None:
        self._begin()
        if old not in self._names:
            raise FileNotFoundError(old)
        self._rename(lambda names: names.__setitem__(new, names.pop(old)))

    def remove(self, path: Path) -> None:
        self._begin()
        if path not in self._names:
            raise FileNotFoundError(path)
        self._rename(lambda names: names.__delitem__(path))

    def names(self, directory: Path) -> Sequence[str]:
        return sorted(path.name for path in self._names if path.parent == directory)

    def sync_directory(self, directory: Path) -> None:
        self._begin()
        for change in self._unsettled:
            change(self._settled)
        self._unsettled.clear()

    # What becomes of it.

    def append(self, content: _Content, data: bytes) -> None:
        if self.operations_left == 0:
            begin = len(content.data)
            end = (begin + self._chance.randint(0, len(data))) // SECTOR * SECTOR
            content.data += data[: max(0, end - begin)]
        self._begin()
        if self.full and len(content.data) + len(data) > content.allocated:
            raise OSError(errno.ENOSPC, "No space left on device")
        content.data += data

    def allocate(self, content: _Content, size: int) -> None:
        self._begin()
        if size > content.allocated:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            content.allocated = size

    def sync(self, content: _Content) -> None:
        if self.fail_at_sync:
            self._die()
        self._begin()
        content.synced = len(content.data)
        self._read_along(content)

    def _rename(self, change: Callable[[_Names], None]) -> None:
        change(self._names)
        self._unsettled.append(change)

    def _begin(self) -> None:
        """One more operation."""
        if self.dead:
            raise OSError(errno.EIO, "Input/output error")
        if self.operations_left == 0:
            self._die()
        self.operations_left -= self.operations_left > 0

    def _die(self) -> None:
        self.dead = True
        if self._died is not None:
            self._died()
        raise OSError(errno.EIO, "Input/output error")

    def _read_along(self, content: _Content, allocated: int = 0) -> None:
        """Take in what has become durable of the log. Segments are written one after the other, so in order.

        Up to `allocated` there are zeros behind it.
        """
        if not content.is_log:
            return
        durable_bytes = bytes(content.data[content.read : content.synced]).ljust(allocated - content.read, b"\x00")
        found = list(frames(durable_bytes, content.frames))
        content.read += found[-1].end if found else 0
        content.frames += len(found)
        durable = self.durable
        for frame in found:
            if frame.number == 0:
                header = decode_header(frame.payload)
                if header.next_index != durable.last + 1:
                    # Only a log that begins anew behind another member's snapshot leaves a gap, or goes back.
                    durable.covered = header.next_index - 1
                durable.last = header.next_index - 1
                durable.term, durable.voted_for = header.term, header.voted_for
                continue
            for record in decode_records(frame.payload):
                match record:
                    case Entry(index, term, _, _):
                        durable.terms[index] = term
                        durable.last = index
                    case Vote(term, voted_for):
                        durable.term, durable.voted_for = term, voted_for
                    case Truncate(index):
                        durable.last = index - 1


class _OpenFile:
    def __init__(self, disk: Disk, content: _Content) -> None:
        self._disk = disk
        self._content = content
        self._power = disk.power

    def append(self, data: bytes) -> None:
        if self._power == self._disk.power:
            self._disk.append(self._content, data)

    def allocate(self, size: int) -> None:
        if self._power == self._disk.power:
            self._disk.allocate(self._content, size)

    def cut(self) -> None:
        """An append that fails leaves nothing."""
        self._content.allocated = len(self._content.data)

    def sync(self) -> None:
        if self._power == self._disk.power:
            self._disk.sync(self._content)

    def close(self) -> None:
        """Nothing is kept open."""
