"""Recovery: reading the log's segments back and deciding what of them counts.

A segment is a file of frames named by its serial number. Behind its frames it may have zeros, which are space reserved
for more. Only the last segment may end in other bytes that are no frame: a write the power cut short, which nobody was
told had happened (`tail` tells). Those are reported, to be cut off. Anything else that does not check is damage, and
damage is refused with the file and the offset: a store that skipped it would be missing writes it had acknowledged.

The log is the unbroken run of serial numbers up to the last. Segments before a gap are leftovers of a removal that the
power interrupted; whether something is really missing shows when the log is held against the snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.files import Files
from orchestrator.store.frame import Frame, frames
from orchestrator.store.record import Entry, Header, Truncate, Vote, decode_header, decode_records
from orchestrator.store.tail import Kind, judge

_NAME = re.compile(r"log-(\d{10})")


NOTHING: Final = 1 << 63


@dataclass(slots=True)
class Segment:
    path: Path
    serial: int
    next_index: int
    """The index of the first entry written to it."""
    size: int
    truncates: int = NOTHING
    """The lowest index that a record in it takes back; NOTHING: it only appends."""


@dataclass(slots=True)
class Recovered:
    """What the segments say, and where the last one ends."""

    entries: list[tuple[bytes, int, int]] = field(default_factory=list)
    """(command, index, term), indexes without gaps."""
    next_index: int = 1
    term: int = 0
    voted_for: str | None = None
    commit: int = 0
    segments: list[Segment] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    """Segments that should have been removed."""
    next_frame: int = 0
    """The number of the next frame of the last segment."""
    torn: int = 0
    """Bytes behind the last segment's end that were never acknowledged."""
    allocated: int = 0
    """The size of the last segment's file, as far as it is frames and zeros."""


def segment_name(serial: int) -> str:
    return f"log-{serial:010d}"


def recover(files: Files, directory: Path) -> Recovered:
    """Read all segments. Raises StoreCorrupt; changes nothing."""
    serials = [int(match[1]) for name in files.names(directory) if (match := _NAME.fullmatch(name))]
    recovered = Recovered()
    run = [serial for position, serial in enumerate(serials) if serials[-1] - serial == len(serials) - 1 - position]
    recovered.leftovers = [directory / segment_name(serial) for serial in serials if serial < run[0]] if run else []
    for serial in run:
        path = directory / segment_name(serial)
        _read_segment(recovered, path, serial, files.read(path), last=serial == serials[-1])
    return recovered


def _read_segment(recovered: Recovered, path: Path, serial: int, data: bytes, *, last: bool) -> None:
    found = list(frames(data, 0))
    end = found[-1].end if found else 0
    if not found:
        raise StoreCorrupt(f"{path} is damaged at offset 0: its header does not check")
    tail = judge(data, end, len(found))
    if tail.kind is Kind.TORN and not last:
        tail = tail._replace(kind=Kind.DAMAGED, why="in a finished segment")
    if tail.kind is Kind.DAMAGED:
        raise StoreCorrupt(
            f"{path} is damaged at offset {end}: the record there does not check, {tail.why}. Nothing was changed; "
            "restore the directory from a snapshot"
        )
    recovered.torn = len(data) - end if tail.kind is Kind.TORN else 0
    recovered.allocated = end if recovered.torn else len(data)
    try:
        truncates = _replay(recovered, decode_header(found[0].payload), serial, found[1:])
    except StoreCorrupt as error:
        raise StoreCorrupt(f"{path}: {error}") from error
    first = decode_header(found[0].payload).next_index
    recovered.segments.append(Segment(path, serial, first, end, truncates))
    recovered.next_frame = len(found)


def read_entries(files: Files, segment: Segment, into: list[tuple[bytes, int, int]]) -> None:
    """Continue `into` with the entries of a segment that recovery or this process knows to be sound."""
    for frame in list(frames(files.read(segment.path), 0))[1:]:
        for record in decode_records(frame.payload):
            match record:
                case Entry(index, term, _, command):
                    into.append((command, index, term))
                case Truncate(index):
                    while into and into[-1][1] >= index:
                        into.pop()


def _replay(recovered: Recovered, header: Header, serial: int, found: Sequence[Frame]) -> int:
    """Returns the lowest index that is taken back."""
    if header.serial != serial:
        raise StoreCorrupt(f"the header says it is segment {header.serial}")
    if recovered.segments and header.next_index != recovered.next_index:
        raise StoreCorrupt(f"it begins at index {header.next_index}, the segment before ends at {recovered.next_index}")
    truncates = NOTHING
    recovered.next_index = header.next_index
    recovered.term, recovered.voted_for = header.term, header.voted_for
    recovered.commit = max(recovered.commit, header.commit)
    for frame in found:
        for record in decode_records(frame.payload):
            match record:
                case Entry(index, term, commit, command):
                    if index != recovered.next_index:
                        raise StoreCorrupt(f"entry {index} follows entry {recovered.next_index - 1}")
                    recovered.entries.append((command, index, term))
                    recovered.next_index = index + 1
                    recovered.commit = max(recovered.commit, commit)
                case Vote(term, voted_for):
                    recovered.term, recovered.voted_for = term, voted_for
                case Truncate(index):
                    while recovered.entries and recovered.entries[-1][1] >= index:
                        recovered.entries.pop()
                    recovered.next_index = index
                    truncates = min(truncates, index)
    return truncates
