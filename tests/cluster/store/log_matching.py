"""Do the members' logs agree? Whatever two of them committed at one index is the same entry, of the same term.

Reads the segments themselves, those of the members' directories and those that were removed during the run, of which
the fault-injecting disk keeps copies. Only entries that the segments call committed count: behind them a member may
have had others, which it then dropped for another member's snapshot.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.store.frame import frames
from orchestrator.store.record import Entry, Truncate, decode_header, decode_records

_NAME = re.compile(r"log-(\d{10})")

Committed = Mapping[int, tuple[int, int]]
"""Term and checksum of the entry at each index."""


def committed(directories: Sequence[Path]) -> Committed:
    """What the segments in these directories, all of one member's, say was committed."""
    files = [path for each in directories if each.exists() for path in each.iterdir()]
    paths = {int(match[1]): path for path in files if (match := _NAME.fullmatch(path.name))}
    found: dict[int, tuple[int, int]] = {}
    run: dict[int, tuple[int, int]] = {}
    commit, expected = 0, 0
    for serial in sorted(paths):
        first, *rest = frames(paths[serial].read_bytes(), 0)
        header = decode_header(first.payload)
        if serial != expected:
            found |= _up_to(commit, run)
            run, commit = {}, 0
        commit, expected = max(commit, header.commit), serial + 1
        for frame in rest:
            for record in decode_records(frame.payload):
                match record:
                    case Entry(index, term, known, command):
                        run[index] = term, zlib.crc32(command)
                        commit = max(commit, known)
                    case Truncate(index):
                        run = {each: entry for each, entry in run.items() if each < index}
    return {**found, **_up_to(commit, run)}


def _up_to(index: int, run: Committed) -> Committed:
    return {each: entry for each, entry in run.items() if each <= index}


def mismatches(logs: Mapping[str, Committed]) -> Iterator[str]:
    """Indexes at which two members committed different entries."""
    seen: dict[int, tuple[str, tuple[int, int]]] = {}
    for name, log in logs.items():
        for index, entry in log.items():
            other, there = seen.setdefault(index, (name, entry))
            if there != entry:
                yield f"entry {index} is of term {entry[0]} on {name} and of term {there[0]} on {other}, or another"
