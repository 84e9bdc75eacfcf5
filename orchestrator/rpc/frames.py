"""HTTP/2 frames (RFC 9113, section 4 and 6), as bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0x6, 0x7, 0x8, 0x9, 0xB

DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME: Final = 16_384
"""The largest payload that may be sent without asking, and the largest that is taken here."""
LARGEST_WINDOW: Final = (1 << 31) - 1

HEAD: Final = struct.Struct(">HBBBI")
"""Length in two parts, type, flags, stream."""
HEAD_SIZE: Final = 9
_LONG = struct.Struct(">I")
_SETTING = struct.Struct(">HI")
_TWO_LONG = struct.Struct(">II")


class ConnectionBroken(Exception):
    """The other end does not keep to the protocol: the connection ends, with this code and these words."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    if len(payload) % _SETTING.size:
        raise ConnectionBroken(FRAME_SIZE_ERROR, "settings of a wrong size")
    return [(name, value) for name, value in _SETTING.iter_unpack(payload)]


def window_update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _LONG.pack(size))


def read_long(payload: bytes) -> int:
    if len(payload) != _LONG.size:
        raise ConnectionBroken(FRAME_SIZE_ERROR, "a frame of a wrong size")
    value: int = _LONG.unpack(payload)[0]
    return value


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _LONG.pack(code))


def goaway(last_stream: int, code: int, why: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _TWO_LONG.pack(last_stream, code) + why.encode())


def unpadded(payload: bytes, flags: int) -> bytes:
    """The payload of DATA or HEADERS without padding and priority."""
    first, last = 0, len(payload)
    if flags & PADDED:
        if not payload or payload[0] >= last:
            raise ConnectionBroken(PROTOCOL_ERROR, "more padding than there is payload")
        first, last = 1, last - payload[0]
    if flags & PRIORITIZED:
        first += 5
    if first > last:
        raise ConnectionBroken(FRAME_SIZE_ERROR, "a frame is too short for what it says it has")
    return payload[first:last]
