"""What two members say first on a new connection, and why one may be turned away: pure decisions.

The transport has made sure by a certificate that the caller is a member of that name, of some cluster of this
authority. Here it is made sure that it is of this cluster, and the one that is meant: a member that was removed, or
another one of its name, or one whose directory was emptied while it had a vote, is turned away and told why. Whoever
might only be ahead of what this member knows is let in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.store.identity import Identity
from orchestrator.store.membership import Configuration
from orchestrator.store.v1.raft_pb2 import Hello, Removed

VERSION: Final = 2
"""Of what members say to each other."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    why: str
    stranger: bool = False
    """It is no member."""
    removed: Removed | None = None
    """The caller was a member once: it is told, and stops."""


class Greeter:
    """One member's side of every greeting. `in_force` and `committed` are configurations as they are now."""

    def __init__(
        self,
        identity: Callable[[], Identity],
        in_force: Callable[[], Configuration],
        committed: Callable[[], Configuration],
        learn: Callable[[str], None],
    ) -> None:
        """`learn` is called with the cluster's id, where this member did not know it."""
        self._identity, self._in_force, self._committed, self._learn = identity, in_force, committed, learn

    def hello(self) -> Hello:
        own = self._identity()
        return Hello(cluster=own.cluster, member=own.member, version=VERSION, since=own.since)

    def judge(self, name: str, hello: Hello) -> TurnedAway | None:
        """The one whose certificate says `name` has said `hello`; None: it is welcome."""
        own = self._identity()
        verdict = judge(own, self._in_force(), self._committed(), name, hello)
        if verdict is None and not own.cluster and hello.cluster:
            self._learn(hello.cluster)
        return verdict


def judge(
    own: Identity, in_force: Configuration, committed: Configuration, name: str, hello: Hello
) -> TurnedAway | None:
    if hello.version != VERSION:
        return TurnedAway(f"it speaks version {hello.version}, {own.member} version {VERSION}")
    if hello.member != name:
        return TurnedAway(f"it is the member {hello.member!r}, its certificate is that of {name!r}")
    if own.cluster and hello.cluster and hello.cluster != own.cluster:
        return TurnedAway(f"it belongs to the cluster {hello.cluster!r}, {own.member} to {own.cluster!r}")
    if not own.cluster or not in_force.members:
        # This one waits to be taken in: whoever is of a cluster may do so.
        return None
    member = in_force.find(name)
    if member is not None and member.learner:
        return None
    if committed.has_removed(name, hello.since):
        return TurnedAway(f"{name} is no member of this store any more", True, Removed(configuration=committed.index))
    if not hello.since:
        if member is not None:
            return TurnedAway(
                f"{name} has a vote, but comes with an empty directory: what it promised is lost. Remove it from the "
                "members, and add it again"
            )
        return TurnedAway(f"{name} is no member of this store", stranger=True)
    return None
