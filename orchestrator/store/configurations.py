"""The configurations in a member's log: which one is in force, which one was at an index, and their bytes.

A configuration is in force as soon as its entry is in the log, committed or not; when the entry is dropped the one
before is in force again. So the ones behind the last applied entry are kept, and that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.log import LogEntry
from orchestrator.store.membership import Configuration, MemberInfo
from orchestrator.store.v1.raft_pb2 import MemberEntry, MemberSet

CHANGE: Final = b"\x02"
"""The first byte of a log entry that is a configuration."""


def encode_configuration(configuration: Configuration) -> bytes:
    members = [
        MemberEntry(name=member.name, address=member.address, learner=member.learner, since=member.since)
        for member in configuration.members
    ]
    return MemberSet(members=members, index=configuration.index).SerializeToString(deterministic=True)


def decode_configuration(data: bytes) -> Configuration:
    """Raises StoreCorrupt."""
    try:
        found = MemberSet.FromString(data)
    except DecodeError as error:
        raise StoreCorrupt(f"a configuration of {len(data)} bytes does not parse: {error}") from error
    members = tuple(MemberInfo(each.name, each.address, each.learner, each.since) for each in found.members)
    names = {member.name for member in members}
    if len(names) < len(members) or "" in names or not all(member.since for member in members):
        raise StoreCorrupt("a configuration does not name its members, or names one twice")
    return Configuration(members, found.index)


class Configurations:
    """`first` is that of the snapshot, or what the cluster began with; never empty of configurations."""

    def __init__(self, first: Configuration, entries: Sequence[LogEntry] = ()) -> None:
        self._known = [first]
        for command, index, _ in entries:
            self.appended(command, index)

    @property
    def latest(self) -> Configuration:
        """The one in force."""
        return self._known[-1]

    def at(self, index: int) -> Configuration:
        """The one that was in force when the log ended there; not for before the last applied entry."""
        return next((known for known in reversed(self._known) if known.index <= index), self._known[0])

    def appended(self, command: bytes, index: int) -> bool:
        """An entry has been appended: whether it is a configuration. Raises StoreCorrupt."""
        if command[:1] != CHANGE:
            return False
        configuration = decode_configuration(command[1:])
        if configuration.index != index:
            raise StoreCorrupt(f"the entry {index} holds the configuration of entry {configuration.index}")
        self._known.append(configuration)
        return True

    def truncated(self, index: int) -> bool:
        """The entry `index` and those behind it were dropped: whether a configuration was among them."""
        before = len(self._known)
        while len(self._known) > 1 and self._known[-1].index >= index:
            self._known.pop()
        return len(self._known) < before

    def applied(self, index: int) -> None:
        """None before this entry is asked for any more."""
        while len(self._known) > 1 and self._known[1].index <= index:
            del self._known[0]

    def installed(self, index: int, configuration: Configuration | None) -> None:
        """The log begins behind `index` now, with that configuration; None: a snapshot that does not say."""
        self._known = [configuration or self.at(index)]
