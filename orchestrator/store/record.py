"""What the log's frames say: entries, votes, truncations, and the header every segment begins with.

A frame's payload is one or several records. The header repeats what must outlive the segments before it (term, vote,
commit index), so that those can be removed once a snapshot covers their entries.

    entry     = 1 u8, index u64, term u64, commit index u64, length u32, command
    vote      = 2 u8, term u64, length u16, the member voted for (empty: nobody)
    truncate  = 3 u8, index u64: this entry and those behind it never were
    header    = magic, serial u64, next index u64, term u64, commit index u64, length u16, the member voted for
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.store.errors import StoreCorrupt

MAGIC = b"NVLOG\x00\x01\x00"
"""Ends with the format's version."""
_ENTRY, _VOTE, _TRUNCATE = 1, 2, 3
_ENTRY_HEAD = struct.Struct("<BQQQI")
_VOTE_HEAD = struct.Struct("<BQH")
_TRUNCATE_BODY = struct.Struct("<BQ")
_HEADER = struct.Struct("<8sQQQQH")


@dataclass(frozen=True, slots=True)
class Entry:
    index: int
    term: int
    commit: int
    """The commit index when the entry was appended: always below its own, so it never points behind the log's end."""
    command: bytes


@dataclass(frozen=True, slots=True)
class Vote:
    term: int
    voted_for: str | None


@dataclass(frozen=True, slots=True)
class Truncate:
    index: int


@dataclass(frozen=True, slots=True)
class Header:
    serial: int
    next_index: int
    term: int
    commit: int
    voted_for: str | None


Record = Entry | Vote | Truncate


def encode_entry(index: int, term: int, commit: int, command: bytes) -> bytes:
    return _ENTRY_HEAD.pack(_ENTRY, index, term, commit, len(command)) + command


def encode_vote(term: int, voted_for: str | None) -> bytes:
    name = (voted_for or "").encode()
    return _VOTE_HEAD.pack(_VOTE, term, len(name)) + name


def encode_truncate(index: int) -> bytes:
    return _TRUNCATE_BODY.pack(_TRUNCATE, index)


def encode_header(header: Header) -> bytes:
    name = (header.voted_for or "").encode()
    return _HEADER.pack(MAGIC, header.serial, header.next_index, header.term, header.commit, len(name)) + name


def decode_header(payload: bytes) -> Header:
    """Raises StoreCorrupt when this is no header, or one of another version."""
    if len(payload) < _HEADER.size or payload[:5] != MAGIC[:5]:
        raise StoreCorrupt("the file does not begin with a log segment's header")
    magic, serial, next_index, term, commit, length = _HEADER.unpack_from(payload)
    if magic != MAGIC:
        raise StoreCorrupt(f"the segment has format {magic[5:].hex()}: this program reads format {MAGIC[5:].hex()}")
    name = payload[_HEADER.size : _HEADER.size + length].decode()
    return Header(serial, next_index, term, commit, name or None)


def decode_records(payload: bytes) -> Iterator[Record]:
    """The records of one frame. Raises StoreCorrupt for a record of a kind this program does not know."""
    offset = 0
    while offset < len(payload):
        match payload[offset]:
            case 1:
                _, index, term, commit, length = _ENTRY_HEAD.unpack_from(payload, offset)
                offset += _ENTRY_HEAD.size
                yield Entry(index, term, commit, payload[offset : offset + length])
                offset += length
            case 2:
                _, term, length = _VOTE_HEAD.unpack_from(payload, offset)
                offset += _VOTE_HEAD.size
                yield Vote(term, payload[offset : offset + length].decode() or None)
                offset += length
            case 3:
                yield Truncate(_TRUNCATE_BODY.unpack_from(payload, offset)[1])
                offset += _TRUNCATE_BODY.size
            case kind:
                raise StoreCorrupt(f"a log record has the unknown kind {kind}")
