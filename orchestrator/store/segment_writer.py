"""Writing frames to the log's segments: where the next one goes, and whether there is room for it.

Space is reserved in steps ahead of the frames. Its last part is for what is essential (`giving_up`): an ordinary frame
that would need it is not written once the disk is full. So a full disk is met before anything of a frame is written,
and leaves room for terms and votes.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

from orchestrator.store.files import File, Files, is_full
from orchestrator.store.frame import encode
from orchestrator.store.metrics import Metrics
from orchestrator.store.record import Header, encode_header
from orchestrator.store.reserve import Reserve
from orchestrator.store.segment import Recovered, Segment, segment_name

STEP: Final = 1 << 20
"""Bytes reserved at a time."""
ESSENTIAL: Final = 64 << 10
"""Of the reserved bytes, those that only terms, votes and the like may use: enough for a thousand elections."""
_LEAST_STEP: Final = 4096


class NoRoom(Exception):
    """The disk is full; of what was to be written nothing is there, and nothing needs to be undone."""


class SegmentWriter:
    """Raises OSError when the disk fails, after which nothing more may be written; NoRoom when it is full."""

    def __init__(
        self,
        files: Files,
        directory: Path,
        recovered: Recovered,
        *,
        segment_size: int,
        reserve: Reserve,
        metrics: Metrics,
    ) -> None:
        self._files, self._directory = files, directory
        self._segment_size = segment_size
        self._step = min(STEP, max(_LEAST_STEP, segment_size))
        self._essential = min(ESSENTIAL, self._step // 4)
        self._reserve = reserve
        self.metrics = metrics
        self.segments = recovered.segments
        self._next_frame = recovered.next_frame
        self._allocated = recovered.allocated
        self._file: File | None = None
        self.written = 0
        """Bytes ever written by this one."""
        self.confirmed = True
        """Whether the last frame is one whose loss would lose nothing."""

    def resume(self) -> None:
        """Continue the last segment that was recovered."""
        if self.segments:
            last = self.segments[-1]
            self._file = self._files.open_end(last.path, last.size, self._allocated)
            self.confirmed = False

    def write(self, payload: bytes, header: Header, truncates: int, *, essential: bool = False) -> None:
        """Put the payload on the disk as one frame. `header` is for the segment that it may begin."""
        full = self._file is None or self.segments[-1].size >= self._segment_size
        if full and not (essential and self._file is not None):
            self.begin(header)
        data = encode(self._next_frame, payload)
        file = self._find_room(len(data), essential)
        started = time.perf_counter()
        try:
            file.append(data)
        except OSError as error:
            if not is_full(error):
                raise
            file.cut()
            self._allocated = self.segments[-1].size
            raise NoRoom from error
        appended = time.perf_counter()
        file.sync()
        self.metrics.append.observe(appended - started)
        self.metrics.fsync.observe(time.perf_counter() - appended)
        self.metrics.log_bytes += len(data)
        self.written += len(data)
        self._next_frame += 1
        last = self.segments[-1]
        last.size += len(data)
        last.truncates = min(last.truncates, truncates)
        self.confirmed = not payload

    def _find_room(self, size: int, essential: bool) -> File:
        """Have the space for a frame reserved, and what is kept behind it."""
        assert self._file is not None
        end = self.segments[-1].size + size
        needed = end if essential else end + self._essential
        if needed > self._allocated:
            try:
                self._allocate(self._file, needed)
            except NoRoom:
                if not (essential and self._reserve.release()):
                    raise
                self._allocate(self._file, needed)
        return self._file

    def _allocate(self, file: File, needed: int) -> None:
        """Reserve a step, or what is left of the disk if that is enough."""
        try:
            self._allocated = _allocate(file, self._allocated + max(self._step, needed - self._allocated), needed)
        except OSError as error:
            if not is_full(error):
                raise
            raise NoRoom from error

    def seek_room(self) -> None:
        """Have space reserved again, here and for the day the disk is full next. Raises NoRoom."""
        try:
            self._reserve.keep()
        except OSError as error:
            if not is_full(error):
                raise
            raise NoRoom from error
        if self._file is None or self.segments[-1].size + self._step // 2 <= self._allocated:
            return
        try:
            self._allocate(self._file, self._allocated + self._step)
        except NoRoom:
            self._reserve.release()
            raise

    def release(self) -> None:
        """Give up what is kept for the day the disk is full: it has come."""
        self._reserve.release()

    def begin(self, header: Header, skip: int = 0) -> None:
        """A segment takes its name when its header is on the disk, so that a named one always has a header."""
        serial = self.segments[-1].serial + 1 + skip if self.segments else 1
        path = self._directory / segment_name(serial)
        fresh = path.with_suffix(".new")
        data = encode(0, encode_header(Header(serial, header.next_index, header.term, header.commit, header.voted_for)))
        file: File | None = None
        try:
            file = self._files.create(fresh)
            file.append(data)
            allocated = _allocate(file, self._step, len(data) + self._essential)
            file.sync()
            self._files.rename(fresh, path)
        except OSError as error:
            if file is not None:
                file.close()
            if not is_full(error):
                raise
            with contextlib.suppress(FileNotFoundError):
                self._files.remove(fresh)
            raise NoRoom from error
        try:
            self._files.sync_directory(self._directory)
        except OSError:
            file.close()
            raise
        self.metrics.log_bytes += len(data)
        self.written += len(data)
        if self._file is not None:
            # What is behind the old one's frames was reserved and is not needed any more.
            self._file.cut()
            self._file.close()
        self._file = file
        self._allocated = allocated
        self.segments.append(Segment(path, serial, header.next_index, len(data)))
        self._next_frame = 1

    def restart(self, header: Header) -> None:
        """Begin anew; the segments so far are gone. The new number leaves a gap: recovery takes what is before a gap
        for leftovers."""
        old = list(self.segments)
        self.begin(header, skip=1)
        self.segments = self.segments[-1:]
        for segment in old:
            self._files.remove(segment.path)
        self._files.sync_directory(self._directory)

    def remove_up_to(self, index: int) -> None:
        """Remove the segments that hold only entries up to `index`."""
        removed = False
        while len(self.segments) > 1 and self.segments[1].next_index <= index + 1:
            self._files.remove(self.segments[0].path)
            del self.segments[0]
            removed = True
        if removed:
            self._files.sync_directory(self._directory)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _allocate(file: File, wanted: int, needed: int) -> int:
    """Reserve what is wanted, else what is needed; how much it is. Raises OSError."""
    try:
        file.allocate(wanted)
    except OSError as error:
        if not is_full(error):
            raise
        file.allocate(needed)
        return needed
    return wanted
