"""The durable log: entries, terms and votes in append-only segments.

Appending only collects; `flush` puts everything collected since the last one on the disk as a single frame, with one
fdatasync. So writers that arrive while the disk is busy share the next fsync, and a frame cut short by the power never
has a later one behind it. `flush` may run in a worker thread beside further appends; concurrent flushes take turns.

After a failed write or fsync the log is dead: the kernel may have dropped the pages and would report the next fsync as
good, so nothing is tried again and everybody is told why.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.store.errors import StoreCorrupt, StoreUnavailable
from orchestrator.store.files import File, Files
from orchestrator.store.frame import encode
from orchestrator.store.record import Header, encode_entry, encode_header, encode_truncate, encode_vote
from orchestrator.store.segment import NOTHING, Recovered, Segment, read_entries, recover, segment_name

log = logging.getLogger(__name__)

SEGMENT_SIZE = 16 << 20
"""Bytes after which the next frame begins a new segment."""

NO_OP = b"\x01"
"""The command that changes nothing, as the replication engine writes it at the beginning of a term."""

LogEntry = tuple[bytes, int, int]
"""(command, index, term): the shape the replication engine reads."""


@dataclass(frozen=True, slots=True)
class Base:
    """The last entry a snapshot covers; the log begins behind it. Index 0: there is no snapshot."""

    index: int = 0
    term: int = 0


class Log:
    """All entries since the last snapshot, in memory and on the disk.

    Where there is a snapshot, the first entry in memory stands for its last: the engine needs the term of the entry
    before the first real one.
    """

    def __init__(self, files: Files, directory: Path, recovered: Recovered, segment_size: int) -> None:
        self._files = files
        self._directory = directory
        self._segment_size = segment_size
        self.entries: list[LogEntry] = recovered.entries
        self._next_index = recovered.next_index
        self.term = recovered.term
        self.voted_for = recovered.voted_for
        self.commit = recovered.commit
        self._collected: list[bytes] = []
        self._lowest_truncated = NOTHING
        """Of what is collected."""
        self._header = self._make_header()
        self._collecting = threading.Lock()
        # Everything below is touched only under this lock.
        self._writing = threading.Lock()
        self._segments = recovered.segments
        self._next_frame = recovered.next_frame
        self._file: File | None = None
        self._failure: str | None = None
        self.durable_index = recovered.next_index - 1
        """The last entry that is certain to be on the disk."""
        self._taken_index = self.durable_index
        self.appended = sum(segment.size for segment in recovered.segments)
        """Bytes ever written, counting what recovery found: it only grows."""
        self.fsyncs = 0
        self.fsync_seconds = 0.0

    @classmethod
    def open(
        cls, files: Files, directory: Path, base: Base, *, segment_size: int = SEGMENT_SIZE, received: bool = False
    ) -> Log:
        """Recover the log behind `base`. Raises StoreCorrupt (nothing changed) and OSError.

        `received`: the snapshot came from another member, so that the log may end before it or be another than its.
        """
        recovered = recover(files, directory)
        if received and not _leads_to(recovered, base):
            opened = cls(files, directory, recovered, segment_size)
            opened.reset(base)
            return opened
        if recovered.next_index <= base.index:
            raise StoreCorrupt(
                f"the log in {directory} ends at entry {recovered.next_index - 1}, before the snapshot's entry "
                f"{base.index}: segments are missing"
            )
        first = recovered.entries[0][1] if recovered.entries else recovered.next_index
        if first > base.index + 1:
            raise StoreCorrupt(
                f"the log in {directory} begins at entry {first}, but the snapshot ends at entry {base.index}: "
                "segments or a newer snapshot are missing"
            )
        recovered.entries = [entry for entry in recovered.entries if entry[1] > base.index]
        if base.index:
            recovered.entries.insert(0, (NO_OP, base.index, base.term))
        recovered.commit = min(max(recovered.commit, base.index), recovered.next_index - 1)
        for leftover in recovered.leftovers:
            files.remove(leftover)
        opened = cls(files, directory, recovered, segment_size)
        if recovered.segments:
            last = recovered.segments[-1]
            if recovered.torn:
                log.warning("cutting %d bytes of an unfinished write off %s", recovered.torn, last.path)
            opened._file = files.open_end(last.path, last.size)
        return opened

    @property
    def next_index(self) -> int:
        return self._next_index

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in tuple(self._segments))

    @property
    def failure(self) -> str | None:
        return self._failure

    @property
    def dirty(self) -> bool:
        """Whether something was appended that no flush has taken yet."""
        return bool(self._collected)

    def term_of(self, index: int) -> int:
        """The term of an entry that is in memory."""
        return self.entries[index - self.entries[0][1]][2]

    # Appending: collected in memory, durable with the next flush.

    def append(self, command: bytes, index: int, term: int) -> None:
        if index != self._next_index:
            raise StoreCorrupt(f"entry {index} was offered to a log that ends at {self._next_index - 1}")
        self._collect(encode_entry(index, term, self.commit, command), index + 1)
        self.entries.append((command, index, term))

    def vote(self, term: int, voted_for: str | None) -> None:
        self._collect(encode_vote(term, voted_for), self._next_index)
        self.term, self.voted_for = term, voted_for

    def truncate(self, index: int) -> None:
        """Drop the entry `index` and those behind it."""
        with self._collecting:
            # A flush under way has the old entry; what takes its place is not on the disk when that flush is done.
            self._taken_index = min(self._taken_index, index - 1)
            self.durable_index = min(self.durable_index, index - 1)
        self._collect(encode_truncate(index), index)
        self._lowest_truncated = min(self._lowest_truncated, index)
        while self.entries and self.entries[-1][1] >= index:
            self.entries.pop()

    def _collect(self, record: bytes, next_index: int) -> None:
        with self._collecting:
            if not self._collected:
                # Should this frame begin a segment, its header says how things stood before the frame.
                self._header = self._make_header()
            self._collected.append(record)
            self._next_index = next_index

    def _make_header(self) -> Header:
        return Header(0, self._next_index, self.term, self.commit, self.voted_for)

    # The disk.

    def flush(self) -> None:
        """Return when everything appended before the call is on the disk. Raises StoreUnavailable, for good."""
        with self._writing:
            with self._collecting:
                records, self._collected = self._collected, []
                header = self._header
                self._taken_index = self._next_index - 1
                truncated, self._lowest_truncated = self._lowest_truncated, NOTHING
            if self._failure is not None:
                raise StoreUnavailable(self._failure)
            if not records:
                return
            try:
                self._write(b"".join(records), header, truncated)
            except OSError as error:
                self._failure = f"the log in {self._directory} cannot be written any more: {error}"
                raise StoreUnavailable(self._failure) from error
            with self._collecting:
                self.durable_index = self._taken_index

    def _write(self, payload: bytes, header: Header, truncated: int) -> None:
        if self._file is None or self._segments[-1].size >= self._segment_size:
            self._begin_segment(header)
        assert self._file is not None
        data = encode(self._next_frame, payload)
        started = time.perf_counter()
        self._file.append(data)
        self._file.sync()
        self.fsync_seconds += time.perf_counter() - started
        self.fsyncs += 1
        self._next_frame += 1
        self._segments[-1].size += len(data)
        self._segments[-1].truncates = min(self._segments[-1].truncates, truncated)
        self.appended += len(data)

    def _begin_segment(self, header: Header, skip: int = 0) -> None:
        """A segment takes its name when its header is on the disk, so that a named one always has a header."""
        serial = self._segments[-1].serial + 1 + skip if self._segments else 1
        path = self._directory / segment_name(serial)
        fresh = path.with_suffix(".new")
        data = encode(0, encode_header(Header(serial, header.next_index, header.term, header.commit, header.voted_for)))
        file = self._files.create(fresh)
        try:
            file.append(data)
            file.sync()
            self._files.rename(fresh, path)
            self._files.sync_directory(self._directory)
        except OSError:
            file.close()
            raise
        if self._file is not None:
            self._file.close()
        self._file = file
        self._segments.append(Segment(path, serial, header.next_index, len(data)))
        self._next_frame = 1

    def reset(self, base: Base) -> None:
        """Begin anew behind a snapshot of another member; everything before is gone. Nothing may wait to be flushed.

        The new segment's number leaves a gap: recovery takes what is before a gap for leftovers. Raises
        StoreUnavailable, for good.
        """
        with self._writing:
            old = list(self._segments)
            header = Header(0, base.index + 1, self.term, base.index, self.voted_for)
            try:
                self._begin_segment(header, skip=1)
                self._segments = self._segments[-1:]
                for segment in old:
                    self._files.remove(segment.path)
                self._files.sync_directory(self._directory)
            except OSError as error:
                self._failure = f"the log in {self._directory} cannot be written any more: {error}"
                raise StoreUnavailable(self._failure) from error
            with self._collecting:
                self.entries = [(NO_OP, base.index, base.term)]
                self._next_index = base.index + 1
                self.commit = self.durable_index = self._taken_index = base.index

    def read(self, index: int, size: int, base: Base) -> tuple[int, list[LogEntry]] | None:
        """The term of the entry before `index`, and the entries from there on, about `size` bytes, from the segments.

        None: they are not there any more; `base` is the snapshot's entry. Only for entries that are committed. For a
        worker thread. Raises OSError.
        """
        segments = list(self._segments)
        starts = [position for position, segment in enumerate(segments) if segment.next_index <= index]
        if not starts:
            return None
        # The entry before tells its term, so begin where that one is.
        begin = max([position for position in starts if segments[position].next_index < index], default=starts[0])
        # Entries of that segment may have been taken back in a later one.
        entries: list[LogEntry] = []
        try:
            for position in range(begin, len(segments)):
                read_entries(self._files, segments[position], entries)
                first_uncertain = min((later.truncates for later in segments[position + 1 :]), default=NOTHING)
                found = [entry for entry in entries if index - 1 <= entry[1] < first_uncertain]
                if sum(len(command) for command, _, _ in found) >= size:
                    break
        except FileNotFoundError:
            return None
        if found and found[0][1] == index - 1:
            return found[0][2], found[1:]
        if found and found[0][1] == index and index - 1 in (0, base.index):
            return base.term, found
        return None

    def forget_entries(self, index: int) -> None:
        """Drop the entries before `index` from memory."""
        if self.entries:
            del self.entries[: max(0, index - self.entries[0][1])]

    def remove_segments(self, index: int) -> None:
        """Remove the segments that hold only entries up to `index`, which a durable snapshot must cover."""
        with self._writing:
            removed = False
            while len(self._segments) > 1 and self._segments[1].next_index <= index + 1:
                self._files.remove(self._segments[0].path)
                del self._segments[0]
                removed = True
            if removed:
                self._files.sync_directory(self._directory)

    def close(self) -> None:
        with self._writing:
            if self._failure is None:
                self._failure = "the store is closed"
            if self._file is not None:
                self._file.close()
                self._file = None


def _leads_to(recovered: Recovered, base: Base) -> bool:
    """Whether the log has the snapshot's entry, or begins right behind it."""
    if not recovered.segments or recovered.next_index <= base.index:
        return False
    first = recovered.entries[0][1] if recovered.entries else recovered.next_index
    if first > base.index:
        return first == base.index + 1
    return recovered.entries[base.index - first][2] == base.term
