"""Whether the members may be changed in a certain way now, and what they are then: a pure decision of the leader.

One change after the other: the next one may begin when the last is committed, and when the leader has committed an
entry of its own term, without which an earlier leader's change might come to light later and make two majorities that
do not meet. No change may leave a cluster that cannot go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.store.errors import ChangeInProgress, MemberExists, MemberNotReady, QuorumAtRisk, UnknownMember
from orchestrator.store.membership import Configuration, MemberInfo
from orchestrator.store.quorum import majority

MOST_BEHIND = 100
"""Entries a learner may lack when it is given a vote: a moment's."""


@dataclass(frozen=True, slots=True)
class Add:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Promote:
    name: str


@dataclass(frozen=True, slots=True)
class Remove:
    name: str


@dataclass(frozen=True, slots=True)
class Move:
    name: str
    address: str


Change = Add | Promote | Remove | Move


@dataclass(frozen=True, slots=True)
class Seen:
    """How things stand with the leader."""

    leader: str
    configuration: Configuration
    next_index: int
    commit: int
    first_of_term: int
    matches: Mapping[str, int]
    """Up to which entry each reachable member has the log; the leader is not among them."""
    fresh: frozenset[str] = frozenset()
    """Those of the first members that have not taken part yet, and elect nobody before they have all of the log."""


def decide(change: Change, seen: Seen) -> tuple[MemberInfo, ...]:
    """All members after the change. Raises MembershipError."""
    if seen.configuration.index > seen.commit or seen.first_of_term > seen.commit:
        raise ChangeInProgress("an earlier change of the members is not finished: try again")
    members = seen.configuration.members
    if isinstance(change, Add):
        if seen.configuration.find(change.name) is not None:
            raise MemberExists(
                f"there is a member {change.name} already: a new one of that name needs it removed first"
            )
        _check_address(change, seen)
        return (*members, MemberInfo(change.name, change.address, learner=True, since=seen.next_index))
    member = seen.configuration.find(change.name)
    if member is None:
        names = ", ".join(each.name for each in members)
        raise UnknownMember(f"there is no member {change.name}: the members are {names}")
    rest = tuple(each for each in members if each is not member)
    match change:
        case Promote():
            after = (*rest, _promoted(member, seen))
        case Move():
            _check_address(change, seen)
            return tuple(replace(each, address=change.address) if each is member else each for each in members)
        case Remove():
            after = rest
            if member.learner:
                return after
    _check_majority(change, after, seen)
    return tuple(sorted(after, key=lambda each: (each.since, each.name)))


def _promoted(member: MemberInfo, seen: Seen) -> MemberInfo:
    if not member.learner:
        raise MemberExists(f"{member.name} has its vote already")
    if member.name not in seen.matches:
        raise MemberNotReady(f"{member.name} cannot be reached, or has not been heard of yet")
    behind = seen.next_index - 1 - seen.matches[member.name]
    if behind > MOST_BEHIND:
        raise MemberNotReady(f"{member.name} has not caught up: it lacks {behind} entries of the log")
    return replace(member, learner=False)


def _check_address(change: Add | Move, seen: Seen) -> None:
    for member in seen.configuration.members:
        if change.address and member.address == change.address and member.name != change.name:
            raise MemberExists(f"{change.address} is the address of the member {member.name}")


def _check_majority(change: Promote | Remove, after: tuple[MemberInfo, ...], seen: Seen) -> None:
    voters = [member.name for member in after if not member.learner]
    here = [name for name in voters if name == seen.leader or name in seen.matches]
    if not voters:
        raise QuorumAtRisk(f"{change.name} is the last member with a vote")
    begun = [name for name in here if name not in seen.fresh]
    if len(begun) < majority(len(voters)) <= len(here):
        # Should the leader stop now, nobody could be elected after it.
        raise MemberNotReady(f"{', '.join(sorted(seen.fresh))} cannot take part yet: try again")
    if len(here) < majority(len(voters)):
        raise QuorumAtRisk(
            f"of the members with a vote, {', '.join(voters)}, only {', '.join(here) or 'none'} could be reached after "
            f"the change, and {majority(len(voters))} are needed"
        )
