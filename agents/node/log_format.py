"""The runtime's log format, and what of it a reader gets to see. Pure.

A line of the file is `<time> <stdout|stderr> <tags> <content>`. The runtime breaks lines that are longer than its
buffer: the tag P marks a part that goes on in the next line of the same stream, F the last part (or the only one).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

# A "line" that never ends is handed on in pieces of this size.
_LONGEST = 256 << 10
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the file."""

    timestamp: bytes
    stream: bytes
    partial: bool
    content: bytes


def parse_line(line: bytes) -> Entry | None:
    """None for what isn't of the format: a torn line after a crash."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    return Entry(parts[0], parts[1], parts[2].split(b":")[0] == b"P", parts[3])


def nanoseconds(timestamp: bytes) -> int | None:
    """An RFC 3339 time as nanoseconds since 1970."""
    found = _TIME.match(timestamp)
    if found is None:
        return None
    seconds, fraction, zone = found.groups()
    offset = "+00:00" if zone == b"Z" else zone.decode()
    moment = datetime.fromisoformat(seconds.decode() + offset)
    return int(moment.timestamp()) * 10**9 + int((fraction or b"0").ljust(9, b"0"))


def nanoseconds_of(moment: datetime) -> int:
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86400 + elapsed.seconds) * 10**9 + elapsed.microseconds * 1000


@dataclass(slots=True)
class LogText:
    """Turns the file's bytes, in pieces of any size, into the text a reader wants.

    `since` is in nanoseconds since 1970; `limit` is the number of bytes after which nothing more comes.
    """

    timestamps: bool = False
    since: int = 0
    limit: int | None = None
    _torn: bytes = b""
    _begun: dict[bytes, tuple[bytes, bytearray]] = field(default_factory=dict)

    @property
    def exhausted(self) -> bool:
        return self.limit is not None and self.limit <= 0

    def feed(self, raw: bytes) -> bytes:
        """The lines that `raw` completes."""
        lines = (self._torn + raw).split(b"\n")
        self._torn = lines.pop()
        text = bytearray()
        for line in lines:
            self._add(line, text)
        return self._limited(text)

    def finish(self) -> bytes:
        """What is left of lines that were never completed."""
        text = bytearray()
        for stream in sorted(self._begun):
            self._flush(stream, text)
        self._torn = b""
        return self._limited(text)

    def _add(self, line: bytes, text: bytearray) -> None:
        entry = parse_line(line)
        if entry is None:
            return
        if self.since and entry.stream not in self._begun:
            moment = nanoseconds(entry.timestamp)
            if moment is not None and moment < self.since:
                return
            # Lines are in the order of time: from here on all are wanted.
            self.since = 0
        _, content = self._begun.setdefault(entry.stream, (entry.timestamp, bytearray()))
        content += entry.content
        if not entry.partial:
            content += b"\n"
            self._flush(entry.stream, text)
        elif len(content) >= _LONGEST:
            self._flush(entry.stream, text)

    def _flush(self, stream: bytes, text: bytearray) -> None:
        timestamp, content = self._begun.pop(stream)
        if self.timestamps:
            text += timestamp + b" "
        text += content

    def _limited(self, text: bytearray) -> bytes:
        if self.limit is None:
            return bytes(text)
        shown = bytes(text[: self.limit])
        self.limit -= len(shown)
        return shown
