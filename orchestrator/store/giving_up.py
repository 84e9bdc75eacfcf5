"""What of a frame is written although the disk is full: a pure decision over its records.

Entries are given up: they were promised to nobody, and whoever offered them offers them again. Terms, votes and
truncations are small and must not be forgotten by a member that goes on; and so must the entry that begins a leader's
term, without which a lone member could not even start.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from orchestrator.store.record import (
    Entry,
    Truncate,
    Vote,
    decode_records,
    encode_entry,
    encode_truncate,
    encode_vote,
)
from orchestrator.store.segment import NOTHING

NO_OP: Final = b"\x01"
"""The command that changes nothing, as the replication engine writes it at the beginning of a term."""


class Essentials(NamedTuple):
    payload: bytes
    """The records that remain; empty: none do."""
    next_index: int
    """Of the log when they are in it."""
    truncates: int
    """The lowest index that is taken back; NOTHING: none is."""


def essentials(payload: bytes, next_index: int) -> Essentials:
    """What remains of a frame's records, for a log that ends before `next_index`."""
    kept: list[bytes] = []
    truncates = NOTHING
    for record in decode_records(payload):
        match record:
            case Vote(term, voted_for):
                kept.append(encode_vote(term, voted_for))
            case Truncate(index) if index < next_index:
                kept.append(encode_truncate(index))
                next_index = index
                truncates = min(truncates, index)
            case Entry(index, term, commit, command) if index == next_index and command == NO_OP:
                kept.append(encode_entry(index, term, min(commit, index - 1), command))
                next_index += 1
            case _:
                pass
    return Essentials(b"".join(kept), next_index, truncates)
