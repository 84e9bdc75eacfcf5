"""Who belongs to a store's cluster, and how long its members wait for each other.

The configuration, which members there are, is itself replicated: a log entry changes it by one member at a time, and it
is in force on a member from the moment the entry is in that member's log (Ongaro's thesis, chapter 4). A member begins
as a learner: it gets the log, has no vote, and nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

FIRST_INDEX: Final = 1
"""The index of the configuration a cluster begins with: every log's first entry says nothing else."""


@dataclass(frozen=True, slots=True)
class Timing:
    heartbeat: float = 0.1
    """Seconds after which a leader that has nothing to say says so."""
    election: float = 0.6
    """Seconds of silence after which a follower looks for a new leader, at the earliest; at the latest, twice that."""
    patience: float = 5.0
    """Seconds a read or write waits for a leader and a majority before it is given up."""
    lease: bool = True
    """Whether a leader reads without asking a majority while none can have elected another. It relies on the members'
    monotonic clocks running equally fast to within a quarter, and on none of them standing still."""


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A member as the configuration has it."""

    name: str
    address: str
    """HOST:PORT where the other members reach it."""
    learner: bool = False
    since: int = FIRST_INDEX
    """The log entry that made it a member: tells it from one of the same name that was removed before."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All members, as from the log entry `index`. Without members: this member has not been told yet."""

    members: tuple[MemberInfo, ...] = ()
    index: int = 0

    @property
    def voters(self) -> Sequence[str]:
        return [member.name for member in self.members if not member.learner]

    def find(self, name: str) -> MemberInfo | None:
        return next((member for member in self.members if member.name == name), None)

    def has_removed(self, name: str, since: int) -> bool:
        """Where this is committed: whether the member that came with the entry `since` certainly is none any more."""
        member = self.find(name)
        return 0 < since <= self.index if member is None else 0 < since < member.since


@dataclass(frozen=True, slots=True)
class Members:
    """What a member is told when it starts: its own name, and with whom it begins.

    What is in its directory counts more: once it has begun, the configuration in its log says who the members are.
    """

    name: str
    initial: Mapping[str, str] = field(default_factory=dict)
    """The names and addresses of a new cluster's first members, this one among them, the same on all of them; empty:
    this member alone."""
    address: str = ""
    """Where the others reach this one; needed where it begins alone and is to be joined later."""
    join: bool = False
    """Begin with nothing, and wait to be added by the members of a cluster."""
    cluster: str = ""
    """The cluster's id. A member that begins alone makes one up, one that joins is told."""
    timing: Timing = field(default_factory=Timing)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a member needs a name")
        if self.join and self.initial:
            raise ValueError("a member either joins a cluster or begins one with the initial members")
        if self.initial and self.name not in self.initial:
            raise ValueError(f"the member {self.name} is not among the initial members {sorted(self.initial)}")
        if len(self.initial) > 1 and not self.cluster:
            raise ValueError("members that begin together must be given the same cluster id")

    @property
    def others(self) -> Sequence[str]:
        return sorted(set(self.initial) - {self.name})

    def first(self) -> Configuration:
        """The configuration a member with an empty directory begins with."""
        if self.join:
            return Configuration()
        initial = self.initial or {self.name: self.address}
        return Configuration(tuple(MemberInfo(name, initial[name]) for name in sorted(initial)), FIRST_INDEX)


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """A member as the leader sees it."""

    name: str
    address: str
    learner: bool
    leader: bool
    match_index: int
    """Up to here its log is the leader's, and on its disk."""
    reachable: bool


@dataclass(frozen=True, slots=True)
class MemberList:
    cluster: str
    members: Sequence[MemberStatus]
