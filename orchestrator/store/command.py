"""Commands as bytes: what a log entry says.

One entry carries a group of commands, because writers that are in flight together share an entry and its fsync. The
encoding is plain and closed: counts, lengths and bytes, little-endian; reading it can make nothing but these commands.
Everything on disk is covered by the log's checksum, so bytes that do not parse mean an entry of another version.

    group    = version u8, origin, command*
    origin   = name length u8, incarnation u64, number u64, settled u64, name
    txn      = 1 u8, compares u16, operations u16, compare*, operation*
    compact  = 2 u8, revision u64
    grant    = 3 u8, ttl u64
    keep     = 4 u8, lease u64
    revoke   = 5 u8, lease u64
    end      = 6 u8, count u32, (lease u64, renewals u64)*
    remain   = 7 u8, count u32, (lease u64, renewals u64, remaining u64)*
    compare  = key length u16, mod revision u64, key
    put      = 1 u8, key length u16, value length u32, key, value
    delete   = 2 u8, key length u16, key
    leased   = 3 u8, key length u16, value length u32, lease u64, key, value

The times of leases are milliseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.store.errors import InvalidLease, InvalidTxn, StoreCorrupt, UnknownLease, ValueTooLarge
from orchestrator.store.interface import Compare, Delete, Operation, Put

VERSION = 3
"""Of what is written; version 1, which had no origins, and version 2, which had no leases, are read too."""
_TXN, _COMPACT, _GRANT, _KEEP, _REVOKE, _END, _REMAIN = 1, 2, 3, 4, 5, 6, 7
_PUT, _DELETE, _LEASED = 1, 2, 3
_LISTS = (_END, _REMAIN)
_LONGEST_LEASE = 366 * 24 * 3600.0

_ORIGIN_HEAD = struct.Struct("<BBQQQ")
_TXN_HEAD = struct.Struct("<BHH")
_COMPARE_HEAD = struct.Struct("<HQ")
_PUT_HEAD = struct.Struct("<BHI")
_DELETE_HEAD = struct.Struct("<BH")
_LEASED_HEAD = struct.Struct("<BHIQ")
_ONE_NUMBER = struct.Struct("<BQ")
_LIST_HEAD = struct.Struct("<BI")
_ENDED = struct.Struct("<QQ")
_REMAINING = struct.Struct("<QQQ")


class SenselessCommand(StoreCorrupt):
    """The bytes are no command of their version, which says how they would have to be."""


@dataclass(frozen=True, slots=True)
class Txn:
    compares: Sequence[Compare]
    operations: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class Compact:
    revision: int


@dataclass(frozen=True, slots=True)
class Grant:
    ttl: int


@dataclass(frozen=True, slots=True)
class Keep:
    lease: int


@dataclass(frozen=True, slots=True)
class Revoke:
    lease: int


@dataclass(frozen=True, slots=True)
class End:
    """The time of these leases (id, renewals) is over, unless they have been renewed since that was found."""

    leases: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Remain:
    """How much time these leases (id, renewals, remaining) have left, for whoever decides about them next."""

    leases: Sequence[tuple[int, int, int]]


Command = Txn | Compact | Grant | Keep | Revoke | End | Remain


@dataclass(frozen=True, slots=True)
class Origin:
    """Who wrote a group, so that one that reaches the log twice is applied once."""

    member: str
    incarnation: int
    """One run of the member's process."""
    number: int
    """Of the group, in that run."""
    settled: int
    """The author has heard of, or given up, all its groups below this number: none of them is applied any more."""


@dataclass(frozen=True, slots=True)
class Group:
    origin: Origin | None
    """None: written by a version that knew no origins."""
    commands: Sequence[Command]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one txn may be: bytes of a key, of a value, of the whole; and how many operations. And how many leases."""

    key: int = 1024
    value: int = 3 << 19
    txn: int = 8 << 20
    operations: int = 4096
    leases: int = 100_000
    """A few more are granted when several are asked for at the same time."""


def encode_txn(compares: Sequence[Compare], operations: Sequence[Operation], limits: Limits) -> bytes:
    """The txn's bytes. Raises InvalidTxn, ValueTooLarge."""
    if len(operations) > limits.operations or len(compares) > limits.operations:
        raise InvalidTxn(
            f"a txn of {len(compares)} compares and {len(operations)} operations: the limit is {limits.operations} each"
        )
    parts = [_TXN_HEAD.pack(_TXN, len(compares), len(operations))]
    for compare in compares:
        key = _encode_key(compare.key, limits)
        parts += (_COMPARE_HEAD.pack(len(key), compare.mod_revision), key)
    written: set[str] = set()
    for operation in operations:
        key = _encode_key(operation.key, limits)
        if operation.key in written:
            raise InvalidTxn(f"two operations on the key {operation.key!r} in one txn")
        written.add(operation.key)
        if isinstance(operation, Put):
            if len(operation.value) > limits.value:
                raise ValueTooLarge(f"the value of {operation.key!r}", len(operation.value), limits.value)
            size = len(operation.value)
            if operation.lease:
                head = _LEASED_HEAD.pack(_LEASED, len(key), size, _possible(operation.lease))
            else:
                head = _PUT_HEAD.pack(_PUT, len(key), size)
            parts += (head, key, operation.value)
        else:
            parts += (_DELETE_HEAD.pack(_DELETE, len(key)), key)
    encoded = b"".join(parts)
    if len(encoded) > limits.txn:
        raise ValueTooLarge("the txn", len(encoded), limits.txn)
    return encoded


def _encode_key(key: str, limits: Limits) -> bytes:
    encoded = key.encode()
    if not encoded:
        raise InvalidTxn("a key must not be empty")
    if len(encoded) > limits.key:
        raise ValueTooLarge(f"the key {key[:64]!r}...", len(encoded), limits.key)
    return encoded


def encode_compact(revision: int) -> bytes:
    return _ONE_NUMBER.pack(_COMPACT, revision)


def encode_grant(ttl: float) -> bytes:
    """A lease of so many seconds. Raises InvalidLease."""
    if not 0.001 <= ttl <= _LONGEST_LEASE:
        raise InvalidLease(f"a lease of {ttl:g} seconds: it must last at least 0.001 and at most {_LONGEST_LEASE:.0f}")
    return _ONE_NUMBER.pack(_GRANT, round(ttl * 1000))


def _possible(lease: int) -> int:
    if not 0 < lease < 1 << 63:
        raise UnknownLease(lease)
    return lease


def encode_keep(lease: int) -> bytes:
    return _ONE_NUMBER.pack(_KEEP, _possible(lease))


def encode_revoke(lease: int) -> bytes:
    return _ONE_NUMBER.pack(_REVOKE, _possible(lease))


def encode_end(leases: Sequence[tuple[int, int]]) -> bytes:
    return b"".join((_LIST_HEAD.pack(_END, len(leases)), *(_ENDED.pack(*each) for each in leases)))


def encode_remain(leases: Sequence[tuple[int, int, int]]) -> bytes:
    return b"".join((_LIST_HEAD.pack(_REMAIN, len(leases)), *(_REMAINING.pack(*each) for each in leases)))


def encode_group(origin: Origin, commands: Sequence[bytes]) -> bytes:
    """One log entry's content out of encoded commands."""
    name = origin.member.encode()
    head = _ORIGIN_HEAD.pack(VERSION, len(name), origin.incarnation, origin.number, origin.settled)
    return b"".join((head, name, *commands))


def decode_group(data: bytes) -> Group:
    """What one log entry says. Raises StoreCorrupt when it is of a version that this program does not read.

    Raises SenselessCommand when it is of one that it reads, and does not parse all the same.
    """
    try:
        match data[:1]:
            case b"\x02" | b"\x03":
                _, length, incarnation, number, settled = _ORIGIN_HEAD.unpack_from(data)
                offset = _ORIGIN_HEAD.size + length
                name = data[_ORIGIN_HEAD.size : offset].decode()
                return Group(Origin(name, incarnation, number, settled), _decode_commands(data, offset))
            case b"\x01":
                return Group(None, _decode_commands(data, 1))
            case version:
                raise StoreCorrupt(
                    f"a log entry has version {version.hex() or 'none'}: this program reads up to version {VERSION}"
                )
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise SenselessCommand(f"a log entry does not parse: {error}") from error


def _decode_commands(data: bytes, offset: int) -> Sequence[Command]:
    commands: list[Command] = []
    while offset < len(data):
        if data[offset] == _TXN:
            txn, offset = _decode_txn(data, offset)
            commands.append(txn)
        else:
            command, offset = _decode_other(data, offset)
            commands.append(command)
    return commands


def _decode_other(data: bytes, offset: int) -> tuple[Command, int]:
    kind = data[offset]
    if kind in _LISTS:
        _, count = _LIST_HEAD.unpack_from(data, offset)
        offset += _LIST_HEAD.size
        record = _ENDED if kind == _END else _REMAINING
        end = offset + count * record.size
        if end > len(data):
            raise SenselessCommand("a log entry ends inside a list of leases")
        found = tuple(record.iter_unpack(data[offset:end]))
        return (End(found) if kind == _END else Remain(found)), end
    _, number = _ONE_NUMBER.unpack_from(data, offset)
    end = offset + _ONE_NUMBER.size
    match kind:
        case 2:
            return Compact(number), end
        case 3:
            return Grant(number), end
        case 4:
            return Keep(number), end
        case 5:
            return Revoke(number), end
        case _:
            raise SenselessCommand(f"a log entry holds a command of unknown kind {kind}")


def _decode_txn(data: bytes, offset: int) -> tuple[Txn, int]:
    _, compare_count, operation_count = _TXN_HEAD.unpack_from(data, offset)
    offset += _TXN_HEAD.size
    compares: list[Compare] = []
    for _ in range(compare_count):
        length, mod_revision = _COMPARE_HEAD.unpack_from(data, offset)
        offset += _COMPARE_HEAD.size
        compares.append(Compare(data[offset : offset + length].decode(), mod_revision))
        offset += length
    operations: list[Operation] = []
    for _ in range(operation_count):
        kind = data[offset]
        if kind != _DELETE:
            lease = 0
            if kind == _PUT:
                _, key_length, value_length = _PUT_HEAD.unpack_from(data, offset)
                offset += _PUT_HEAD.size
            elif kind == _LEASED:
                _, key_length, value_length, lease = _LEASED_HEAD.unpack_from(data, offset)
                offset += _LEASED_HEAD.size
            else:
                raise SenselessCommand(f"a log entry holds an operation of unknown kind {kind}")
            end = offset + key_length + value_length
            if end > len(data):
                raise SenselessCommand("a log entry ends inside a value")
            operations.append(Put(data[offset : offset + key_length].decode(), data[offset + key_length : end], lease))
            offset = end
        else:
            _, key_length = _DELETE_HEAD.unpack_from(data, offset)
            offset += _DELETE_HEAD.size
            operations.append(Delete(data[offset : offset + key_length].decode()))
            offset += key_length
    return Txn(compares, operations), offset
