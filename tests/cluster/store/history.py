"""What clients and watchers of a run saw, as values that can be written down, one JSON object a line.

Every value written is new, so a value says which write it is of; behind its identity it is padded, and who reads it
checks the padding. Times are those of one clock that only goes forward, the runner's.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.store import KeyValue

Identity = str | None
"""Which value it is; None: the key does not exist."""

UNKNOWN: Final = math.inf
"""The return time of an operation of which nobody knows whether it took place."""

LEASED: Final = "/lease/"
"""The keys below it end with their leases, which no call says."""

_PAD = b"0123456789abcdef"


def value_of(identity: str, size: int) -> bytes:
    """The bytes that are written for an identity."""
    head = f"{identity} {size} ".encode()
    filler = _PAD[zlib.crc32(head) % 7 :] * (size // 8 + 1)
    return (head + filler)[: max(size, len(head))]


def identity_of(value: bytes) -> str:
    """Which value this is. Raises ValueError when it is none that was written."""
    identity, size, _ = value.split(b" ", 2)
    if value_of(identity.decode(), int(size)) != value:
        raise ValueError(f"a value of {len(value)} bytes was not written by anybody: {value[:40]!r}")
    return identity.decode()


@dataclass(frozen=True, slots=True)
class Get:
    key: str
    found: Identity


@dataclass(frozen=True, slots=True)
class Item:
    key: str
    value: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything below a prefix, at one revision."""

    prefix: str
    items: tuple[Item, ...]
    revision: int
    serializable: bool


@dataclass(frozen=True, slots=True)
class Txn:
    """Changes to one or several keys, perhaps on condition of one key's value."""

    changes: tuple[tuple[str, Identity], ...]
    compared: str | None = None
    """The key of the condition."""
    expected: Identity = None
    succeeded: bool = True
    revision: int = 0
    """The result's; 0 where there is none."""
    conflict: Identity = None
    """What was there instead, where the condition did not hold."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation, as its client saw it. With `nothing`, the store said that it certainly did not take place."""

    client: int
    member: str
    """Name and run of the process that was asked."""
    called: float
    returned: float
    did: Get | Listing | Txn
    nothing: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """An event of a watch."""

    revision: int
    key: str
    value: Identity


@dataclass(slots=True)
class Stretch:
    """An unbroken part of a watch: every event of the prefix with a revision above `after`, up to `until`."""

    prefix: str
    after: int
    until: int
    changes: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """All of one run."""

    calls: list[Call] = field(default_factory=list)
    watched: list[list[Stretch]] = field(default_factory=list)
    """For each watcher its stretches, in order."""
    final: dict[str, Listing] = field(default_factory=dict)
    """What each member holds at the end."""
    anomalies: list[str] = field(default_factory=list)
    """What was seen to be wrong while it happened."""

    def write(self, path: Path) -> None:
        with path.open("w") as file:
            for line in self._lines():
                file.write(json.dumps(line) + "\n")

    def _lines(self) -> Iterable[Mapping[str, object]]:
        for call in sorted(self.calls, key=lambda call: call.called):
            returned = None if call.returned == UNKNOWN else call.returned
            yield asdict(call) | {"kind": type(call.did).__name__, "returned": returned}
        for number, stretches in enumerate(self.watched):
            for stretch in stretches:
                yield {"kind": "Stretch", "watcher": number} | asdict(stretch)
        for name, listing in self.final.items():
            yield {"kind": "Final", "member": name} | asdict(listing)
        for anomaly in self.anomalies:
            yield {"kind": "Anomaly", "text": anomaly}


def item_of(found: KeyValue) -> Item:
    """Raises ValueError when the value is none that was written."""
    return Item(found.key, identity_of(found.value), found.mod_revision)
