"""What could not have been said in JSON: times outside the calendar, numbers that are none.

Protobuf lets a client of the gRPC door send them; stored, they would make the object unreadable for everybody who asks
for JSON. Applies to every kind. Only the parts of the schema that can hold a time or a free value are entered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api.errors import invalid
from orchestrator.api.validation.rules import Faults, child, moment_text

# 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the first and last second of RFC 3339.
EARLIEST = -62_135_596_800
LATEST = 253_402_300_799
_FREE = frozenset({"google.protobuf.Value", "google.protobuf.Struct", "google.protobuf.ListValue"})


def wellformed(message: Message, path: str) -> Faults:
    for field, value in message.ListFields():
        below = field.message_type
        if below is None or not _matters(below):
            continue
        here = child(path, field.json_name)
        if not field.is_repeated:
            yield from _judge(value, here)
        elif below.GetOptions().map_entry:
            for key in sorted(value):
                yield from _judge(value[key], f"{here}[{key}]")
        else:
            for index, item in enumerate(value):
                yield from _judge(item, f"{here}[{index}]")


def _judge(value: Message, path: str) -> Faults:
    if isinstance(value, Timestamp):
        if not EARLIEST <= value.seconds <= LATEST or not 0 <= value.nanos < 1_000_000_000:
            yield invalid(path, moment_text(value), "must be a time of the years 1 to 9999")
    elif value.DESCRIPTOR.full_name in _FREE:
        if not all(math.isfinite(number) for number in _numbers(value)):
            yield invalid(path, "not a number", "must be a finite number")
    else:
        yield from wellformed(value, path)


def _numbers(value: Message) -> Iterator[float]:
    """Every number in a free value, however deep."""
    if isinstance(value, Value) and value.WhichOneof("kind") == "number_value":
        yield value.number_value
        return
    for field, below in value.ListFields():
        if field.message_type is None:
            continue
        if not field.is_repeated:
            yield from _numbers(below)
        elif field.message_type.GetOptions().map_entry:
            for item in below.values():
                yield from _numbers(item)
        else:
            for item in below:
                yield from _numbers(item)


@lru_cache(maxsize=1024)
def _matters(descriptor: Descriptor) -> bool:
    """Whether messages of this type can hold a time or a free value, themselves or below."""
    seen: set[str] = set()
    pending = [descriptor]
    while pending:
        one = pending.pop()
        if one.full_name in _FREE or one.full_name == Timestamp.DESCRIPTOR.full_name:
            return True
        if one.full_name not in seen:
            seen.add(one.full_name)
            pending += [field.message_type for field in one.fields if field.message_type is not None]
    return False
