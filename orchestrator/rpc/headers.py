"""Header blocks: what a call begins and ends with.

Reading is done by the `hpack` package. A client that makes many calls refers to headers that it has sent before, so its
blocks are soon all alike: one that consists of references only, and so changes nothing, is remembered until some other
block changes the table it refers to.

Writing uses no table: what a reply says is short and the same each time, so it is made once.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import TypeAlias
from urllib.parse import quote

from hpack import Decoder
from hpack.exceptions import HPACKError

from orchestrator.rpc.frames import COMPRESSION_ERROR, ConnectionBroken

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]

HEADER_LIST_SIZE = 16_384
"""Bytes of names and values in one block."""
_MESSAGE_CHARACTERS = 1_000
_PLAIN = " !#$&'()*+,/:;=?@[]\"<>{}|^`"
"""What a status message may have as it is, besides letters and digits; the rest is percent-encoded UTF-8."""
_REMEMBERED = 256


class Request:
    """What a call's headers say."""

    __slots__ = ("metadata", "path", "refusal")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.path = ""
        self.refusal = ""
        """Why this is no gRPC call; empty: it is one."""
        method = content_type = encoding = b""
        metadata: list[tuple[str, str | bytes]] = []
        for name, value in headers:
            match name:
                case b":path":
                    self.path = value.decode("latin-1")
                case b":method":
                    method = value
                case b"content-type":
                    content_type = value
                case b"grpc-encoding":
                    encoding = value
                case b"te" | b"grpc-accept-encoding" | b"accept-encoding":
                    pass
                case _ if name.startswith(b":"):
                    pass
                case _ if name.endswith(b"-bin"):
                    metadata.append((name.decode("latin-1"), b64decode(value + b"=" * (-len(value) % 4))))
                case _:
                    metadata.append((name.decode("latin-1"), value.decode("latin-1")))
        self.metadata: Metadata = tuple(metadata)
        if method != b"POST" or not content_type.startswith(b"application/grpc"):
            self.refusal = "this is no gRPC call"
        elif encoding not in (b"", b"identity"):
            self.refusal = f"the encoding {encoding.decode('latin-1')} is not known here"


class HeaderReader:
    """One connection's side of reading."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=HEADER_LIST_SIZE)
        self._remembered: dict[bytes, Request] = {}

    def read(self, block: bytes) -> Request:
        known = self._remembered.get(block)
        if known is not None:
            return known
        try:
            request = Request([(each[0], each[1]) for each in self._decoder.decode(block, raw=True)])
        except (HPACKError, ValueError) as error:
            raise ConnectionBroken(COMPRESSION_ERROR, f"a header block does not parse: {error}") from error
        if block and min(block) >= 0x80:
            # References only (RFC 7541, section 6.1).
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[block] = request
        else:
            self._remembered.clear()
        return request


def literal(name: str, value: str | bytes) -> bytes:
    """A header that enters no table."""
    encoded = b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1", "replace")
    key = name.encode("latin-1")
    return b"".join((b"\x00", _number(len(key)), key, _number(len(encoded)), encoded))


def _number(value: int) -> bytes:
    """RFC 7541, section 5.1, with a prefix of 7 bits."""
    if value < 127:
        return bytes((value,))
    out = bytearray((127,))
    value -= 127
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


BEGINNING = b"\x88" + literal("content-type", "application/grpc")
"""The block every reply begins with; the first byte refers to `:status: 200` of the fixed table."""
GOOD_END = literal("grpc-status", "0")


def beginning(metadata: Metadata) -> bytes:
    return BEGINNING + b"".join(literal(name, value) for name, value in metadata) if metadata else BEGINNING


def ending(code: int, message: str, metadata: Metadata = ()) -> bytes:
    block = literal("grpc-status", str(code))
    if message:
        block += literal("grpc-message", quote(message[:_MESSAGE_CHARACTERS], safe=_PLAIN))
    return block + b"".join(literal(name, value) for name, value in metadata)
