"""What stands behind the last whole frame of a segment: nothing, a write that was cut short, or damage.

The distinction decides whether a member starts. A write the power cut short was acknowledged to nobody and is cut off.
Damage may have hit something that was acknowledged, and is refused. What is known about a torn write of ours:

* The space it goes to was reserved, or did not exist: what did not reach the disk reads as zeros, or lies behind the
  end of the file.
* A disk writes sectors of 512 bytes (or more) whole or not at all.
* A later frame is only written once the earlier one is on the disk.

So it is damage when whole frames follow; when every sector of the frame has something in it and yet it does not check;
when the head is there and is none of ours; or when turning around one single bit would make the frame check. It is
taken for a torn write when a sector of it is all zeros or missing, and no single bit explains it.

What this cannot tell: a frame that has a sector of zeros by its nature (a value of zeros) and in which several bits are
wrong looks torn; so does a last frame of which the disk has lost a sector after it was safe. Both can only be the very
last frame of a log, and the log does not leave one that was acknowledged in that place for long: an empty frame
follows it when the store has been quiet for a moment or is closed (`Log.confirm`), and from then on any damage to it
is damage in the middle. What remains is damage to the last write before a crash, found at the start right after it.
And in a large frame that was torn, about one in 2**32 / (its bits) looks like one wrong bit: refused, never lost.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import cache
from typing import Final, NamedTuple

from orchestrator.store.frame import HEAD, checksum, frame_behind

SECTOR: Final = 512
_POLYNOMIAL: Final = 0x82F63B78
"""CRC32C's, least significant bit first."""
_STRIDE: Final = 1024
_MOST_BITS: Final = 8 << 20
"""Frames above 1 MiB are not searched for a single wrong bit: with so many places, one would fit by chance."""


class Kind(Enum):
    EMPTY = auto()
    TORN = auto()
    DAMAGED = auto()


class Tail(NamedTuple):
    kind: Kind
    why: str = ""
    """Of damage, in words that follow "the record there does not check"."""


def judge(data: bytes, end: int, number: int) -> Tail:
    """What is behind `end` in a segment's `data`, where the frame `number` would begin that does not check."""
    if data.count(0, end) == len(data) - end:
        return Tail(Kind.EMPTY)
    behind = frame_behind(data, end, number)
    if behind is not None:
        return Tail(Kind.DAMAGED, f"but whole records follow at offset {behind}")
    if end + HEAD.size > len(data):
        return Tail(Kind.TORN)
    if _one_bit_explains(data, end, number):
        return Tail(Kind.DAMAGED, "and one single bit of it is wrong: a write cut short does not look like that")
    length, _, found_number = HEAD.unpack_from(data, end)
    head_end = end + HEAD.size
    if found_number != number:
        if _has_empty_sector(data, end, head_end):
            return Tail(Kind.TORN)
        return Tail(Kind.DAMAGED, "and what is there is not the beginning of anything that was written")
    frame_end = head_end + length
    if frame_end > len(data) or _has_empty_sector(data, end, frame_end):
        return Tail(Kind.TORN)
    return Tail(Kind.DAMAGED, f"but all of its {frame_end - end} bytes were written: some were changed later")


def _has_empty_sector(data: bytes, begin: int, end: int) -> bool:
    while begin < end:
        stop = min(end, (begin // SECTOR + 1) * SECTOR)
        if data.count(0, begin, stop) == stop - begin:
            return True
        begin = stop
    return False


def _one_bit_explains(data: bytes, offset: int, number: int) -> bool:
    """Whether the frame at `offset` would be whole with one bit turned around."""
    length, found, found_number = HEAD.unpack_from(data, offset)
    begin = offset + HEAD.size
    if found_number != number:
        if int(found_number ^ number).bit_count() != 1 or begin + length > len(data):
            return False
        return bool(checksum(number, data[begin : begin + length]) == found)
    for bit in range(32):
        other = length ^ (1 << bit)
        if begin + other <= len(data) and checksum(number, data[begin : begin + other]) == found:
            return True
    if begin + length > len(data):
        return False
    difference = checksum(number, data[begin : begin + length]) ^ int(found)
    return difference.bit_count() == 1 or _is_one_bit(difference, 8 * length)


def _is_one_bit(difference: int, bits: int) -> bool:
    """Whether a checksum differs by this much when one of the last `bits` bits is wrong.

    The n-th bit from the end changes the checksum by `_step` applied n times to the polynomial. Which n it would be is
    found by baby steps (from the polynomial on) and giant steps (from the difference back).
    """
    if bits > _MOST_BITS:
        return False
    seen, back = _steps()
    for giant in range(bits // _STRIDE + 1):
        if difference in seen and giant * _STRIDE + seen[difference] < bits:
            return True
        changed = 0
        rest = difference
        while rest:
            low = rest & -rest
            changed ^= back[low.bit_length() - 1]
            rest ^= low
        difference = changed
    return False


@cache
def _steps() -> tuple[dict[int, int], list[int]]:
    """How many baby steps lead to a value, and what a giant step back makes of each bit."""
    seen: dict[int, int] = {}
    value = _POLYNOMIAL
    for n in range(_STRIDE):
        seen[value] = n
        value = _step(value)
    return seen, [_back(1 << bit) for bit in range(32)]


def _step(value: int) -> int:
    return (value >> 1) ^ _POLYNOMIAL if value & 1 else value >> 1


def _back(value: int) -> int:
    """What becomes `value` after a stride of steps."""
    for _ in range(_STRIDE):
        value = ((value ^ _POLYNOMIAL) << 1) | 1 if value & 0x80000000 else value << 1
    return value
