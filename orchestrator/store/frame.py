"""Frames: how bytes lie in the store's files.

A frame is what one write puts on the disk: payload length, CRC32C, sequence number, payload. The checksum covers the
length and the number too. Frames of one file are numbered without gaps, so a frame that was moved, repeated or left
out shows. A reader walks from the front and stops at the first bytes that are no frame; `tail` decides what they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

HEAD = struct.Struct("<IIQ")
"""Payload length, checksum, sequence number."""
_COVERED = struct.Struct("<IQ")
_NUMBER = struct.Struct("<Q")
_NUMBER_OFFSET = 8
_LOOK_AHEAD = 64
"""How many numbers on `frame_behind` looks for: so many damaged frames in a row are still taken for damage."""


@dataclass(frozen=True, slots=True)
class Frame:
    number: int
    payload: bytes
    end: int
    """The offset behind the frame."""


def encode(number: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload), checksum(number, payload), number) + payload


def frames(data: bytes, first_number: int) -> Iterator[Frame]:
    """The valid frames from the front, numbered from `first_number`."""
    offset, number = 0, first_number
    while (frame := _frame_at(data, offset, number)) is not None:
        yield frame
        offset, number = frame.end, number + 1


def frame_behind(data: bytes, offset: int, number: int) -> int | None:
    """The offset of a valid frame behind the bad one that should be at `offset` with `number`; None: there is none."""
    # No frame begins in the zeros at the end; its number may have some of them.
    written = len(data.rstrip(b"\x00")) + _NUMBER.size
    for later in range(number + 1, number + 1 + _LOOK_AHEAD):
        wanted = _NUMBER.pack(later)
        found = data.find(wanted, offset + _NUMBER_OFFSET, written)
        while found >= 0:
            if _frame_at(data, found - _NUMBER_OFFSET, later) is not None:
                return found - _NUMBER_OFFSET
            found = data.find(wanted, found + 1, written)
    return None


def _frame_at(data: bytes, offset: int, number: int) -> Frame | None:
    if offset + HEAD.size > len(data):
        return None
    length, found_checksum, found_number = HEAD.unpack_from(data, offset)
    end = offset + HEAD.size + length
    if found_number != number or end > len(data):
        return None
    payload = data[offset + HEAD.size : end]
    return Frame(number, payload, end) if checksum(number, payload) == found_checksum else None


def checksum(number: int, payload: bytes) -> int:
    """The checksum of the frame with this number and payload."""
    covered: int = google_crc32c.value(_COVERED.pack(len(payload), number))
    whole: int = google_crc32c.extend(covered, payload)
    return whole
