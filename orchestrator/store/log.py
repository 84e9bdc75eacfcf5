"""The durable log: entries, terms and votes in append-only segments.

Appending only collects; `flush` puts everything collected since the last one on the disk as a single frame, with one
fdatasync. So writers that arrive while the disk is busy share the next fsync, and a frame cut short by the power never
has a later one behind it. `flush` may run in a worker thread beside further appends; concurrent flushes take turns.

After a failed write or fsync the log is dead: the kernel may have dropped the pages and would report the next fsync as
good, so nothing is tried again and everybody is told why.

A full disk is something else, as it shows before anything of a frame is there: `flush` raises DiskFull, what is
essential of the frame is written all the same (`giving_up`), and the entries of it are to be given up (`give_up`): the
log then ends where the disk's does. It stays `full`, and goes on trying with every flush that is asked for, until
there is room again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from orchestrator.store.errors import DiskFull, StoreCorrupt, StoreUnavailable
from orchestrator.store.files import Files
from orchestrator.store.giving_up import NO_OP as NO_OP
from orchestrator.store.giving_up import essentials
from orchestrator.store.metrics import Metrics
from orchestrator.store.record import Header, encode_entry, encode_truncate, encode_vote
from orchestrator.store.reserve import Reserve
from orchestrator.store.segment import NOTHING, Recovered, read_entries, recover
from orchestrator.store.segment_writer import NoRoom, SegmentWriter

log = logging.getLogger(__name__)

SEGMENT_SIZE = 16 << 20
"""Bytes after which the next frame begins a new segment."""

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

    def __init__(self, files: Files, directory: Path, recovered: Recovered, writer: SegmentWriter) -> None:
        self._files = files
        self._directory = directory
        self.entries: list[LogEntry] = recovered.entries
        self._next_index = recovered.next_index
        self.term = recovered.term
        self.voted_for = recovered.voted_for
        self.commit = recovered.commit
        self._collected: list[bytes] = []
        self._lowest_truncated = NOTHING
        """Of what is collected."""
        self._header = self._make_header()
        self._given_up: int | None = None
        """The entries in memory from here on are not on the disk and will not be; `give_up` drops them."""
        self._collecting = threading.Lock()
        # Everything below is touched only under this lock.
        self._writing = threading.Lock()
        self._writer = writer
        self.metrics = writer.metrics
        self._failure: str | None = None
        self.full = False
        """Whether the disk was full when last seen."""
        self._disk_next_index = recovered.next_index
        """Where the log on the disk ends."""
        self.durable_index = recovered.next_index - 1
        """The last entry that is certain to be on the disk."""
        self._taken_index = self.durable_index
        self._found = sum(segment.size for segment in recovered.segments)
        """Bytes that recovery found."""

    @classmethod
    def open(
        cls,
        files: Files,
        directory: Path,
        base: Base,
        *,
        segment_size: int = SEGMENT_SIZE,
        reserve: int = 0,
        metrics: Metrics | None = None,
        received: bool = False,
    ) -> Log:
        """Recover the log behind `base`. Raises StoreCorrupt (nothing changed) and OSError.

        `reserve`: bytes kept back for the day the disk is full. `received`: the snapshot came from another member, so
        that the log may end before it or be another than its.
        """
        recovered = recover(files, directory)
        writer = SegmentWriter(
            files,
            directory,
            recovered,
            segment_size=segment_size,
            reserve=Reserve(files, directory, reserve),
            metrics=metrics or Metrics(),
        )
        if received and not _leads_to(recovered, base):
            opened = cls(files, directory, recovered, writer)
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
        if recovered.torn:
            log.warning("cutting %d bytes of an unfinished write off %s", recovered.torn, recovered.segments[-1].path)
        writer.resume()
        opened = cls(files, directory, recovered, writer)
        try:
            writer.seek_room()
        except NoRoom:
            opened.full = True
        return opened

    @property
    def next_index(self) -> int:
        return self._next_index

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in tuple(self._writer.segments))

    @property
    def appended(self) -> int:
        """Bytes ever written, counting what recovery found: it only grows."""
        return self._found + self._writer.written

    @property
    def failure(self) -> str | None:
        return self._failure

    @property
    def dirty(self) -> bool:
        """Whether something was appended that no flush has taken yet."""
        return bool(self._collected)

    def collected_at_most(self, size: int) -> bool:
        """Whether no more than so many bytes wait to be flushed."""
        return sum(map(len, self._collected)) <= size

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
        """Return when everything appended before the call is on the disk.

        Raises DiskFull when entries of it are not and `give_up` is to be called, and StoreUnavailable for good.
        """
        with self._writing:
            with self._collecting:
                records, self._collected = self._collected, []
                header = self._header
                next_index = self._next_index
                self._taken_index = next_index - 1
                truncates, self._lowest_truncated = self._lowest_truncated, NOTHING
            if self._failure is not None:
                raise StoreUnavailable(self._failure)
            try:
                if self._given_up is not None:
                    self._write_essentials(b"".join(records), header, next_index)
                elif records:
                    self._write(b"".join(records), header, truncates, next_index)
                elif self.full:
                    self._writer.seek_room()
                    self.full = False
            except NoRoom as error:
                raise self._is_full() from error
            except OSError as error:
                raise self._fail(error) from error

    def _write(self, payload: bytes, header: Header, truncates: int, next_index: int) -> None:
        try:
            self._writer.write(payload, header, truncates)
        except NoRoom:
            if self._write_essentials(payload, header, next_index):
                return
            raise
        with self._collecting:
            self._disk_next_index = next_index
            self.durable_index = self._taken_index

    def _write_essentials(self, payload: bytes, header: Header, next_index: int) -> bool:
        """There is no room for entries: write the rest, and have them given up; True: there were none."""
        self.full = True
        kept = essentials(payload, self._disk_next_index)
        if kept.payload:
            try:
                self._writer.write(kept.payload, header, kept.truncates, essential=True)
            except NoRoom as error:
                raise OSError(errno.ENOSPC, "No space left on device, not even for a vote") from error
        with self._collecting:
            self._disk_next_index = kept.next_index
            if self._given_up is not None or kept.next_index < next_index:
                self._given_up = kept.next_index
            self.durable_index = min(self._taken_index, kept.next_index - 1)
        self._writer.release()
        return self._given_up is None

    def give_up(self) -> None:
        """Drop the entries that have no room on the disk from memory too. To be called where entries are appended."""
        with self._writing, self._collecting:
            if self._given_up is None:
                return
            # What was appended since then followed entries that are not there.
            kept = essentials(b"".join(self._collected), self._given_up)
            while self.entries and self.entries[-1][1] >= kept.next_index:
                self.entries.pop()
            self._collected = [kept.payload] if kept.payload else []
            self._lowest_truncated = kept.truncates
            self._header = Header(0, self._disk_next_index, self.term, self.commit, self.voted_for)
            self._next_index = kept.next_index
            self._given_up = None

    @property
    def gave_up(self) -> bool:
        """Whether `give_up` is to be called."""
        return self._given_up is not None

    def confirm(self) -> None:
        """Put an empty frame behind the last one, if there is none: from then on damage to that one is told from a
        write that was cut short. Raises StoreUnavailable, for good."""
        with self._writing:
            if self._writer.confirmed or self._failure is not None:
                return
            try:
                self._writer.write(b"", self._header, NOTHING, essential=True)
            except NoRoom:
                return
            except OSError as error:
                raise self._fail(error) from error

    def _is_full(self) -> DiskFull:
        self.full = True
        return DiskFull(f"the disk of {self._directory} is full; nothing was written")

    def _fail(self, error: OSError) -> StoreUnavailable:
        self._failure = f"the log in {self._directory} cannot be written any more: {error}"
        return StoreUnavailable(self._failure)

    def reset(self, base: Base) -> None:
        """Begin anew behind a snapshot of another member; everything before is gone. Nothing may wait to be flushed.

        The new segment's number leaves a gap: recovery takes what is before a gap for leftovers. Raises
        DiskFull (nothing was changed), and StoreUnavailable for good.
        """
        with self._writing:
            header = Header(0, base.index + 1, self.term, base.index, self.voted_for)
            try:
                self._writer.restart(header)
            except NoRoom as error:
                raise self._is_full() from error
            except OSError as error:
                raise self._fail(error) from error
            with self._collecting:
                self.entries = [(NO_OP, base.index, base.term)]
                self._next_index = self._disk_next_index = base.index + 1
                self.commit = self.durable_index = self._taken_index = base.index

    def read(self, index: int, size: int, base: Base) -> tuple[int, list[LogEntry]] | None:
        """The term of the entry before `index`, and the entries from there on, about `size` bytes, from the segments.

        None: they are not there any more; `base` is the snapshot's entry. Only for entries that are committed. For a
        worker thread. Raises OSError.
        """
        segments = list(self._writer.segments)
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
        """Remove the segments that hold only entries up to `index`, which a durable snapshot must cover.

        Raises OSError, after which some may be left, and StoreUnavailable for good.
        """
        with self._writing:
            if self.full and self._disk_next_index <= index + 1:
                # Not even the last one is needed.
                header = Header(0, self._disk_next_index, self.term, min(self.commit, index), self.voted_for)
                try:
                    self._writer.begin(header)
                except NoRoom:
                    log.info("there is no room for a new segment yet")
                except OSError as error:
                    raise self._fail(error) from error
            self._writer.remove_up_to(index)

    def close(self) -> None:
        """Whatever was not flushed is lost."""
        with contextlib.suppress(StoreUnavailable):
            self.confirm()
        with self._writing:
            if self._failure is None:
                self._failure = "the store is closed"
            self._writer.close()


def _leads_to(recovered: Recovered, base: Base) -> bool:
    """Whether the log has the snapshot's entry, or begins right behind it."""
    if not recovered.segments or recovered.next_index <= base.index:
        return False
    first = recovered.entries[0][1] if recovered.entries else recovered.next_index
    if first > base.index:
        return first == base.index + 1
    return recovered.entries[base.index - first][2] == base.term
