"""Which changes of the members a leader makes, and what the members are then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.store.changes import MOST_BEHIND, Add, Change, Move, Promote, Remove, Seen, decide
from orchestrator.store.errors import (
    ChangeInProgress,
    MemberExists,
    MemberNotReady,
    MembershipError,
    QuorumAtRisk,
    UnknownMember,
)
from orchestrator.store.membership import Configuration, MemberInfo

TRIO = tuple(MemberInfo(name, f"{name}:1") for name in "abc")
LEARNER = MemberInfo("d", "d:1", learner=True, since=7)


def seen(*members: MemberInfo, index: int = 1, commit: int = 200, first_of_term: int = 2, **matches: int) -> Seen:
    return Seen("a", Configuration(members, index), 201, commit, first_of_term, matches)


ALL = {"b": 200, "c": 200}


@pytest.mark.parametrize(
    ("change", "before", "expected"),
    [
        (Add("d", "d:1"), seen(*TRIO, **ALL), (*TRIO, MemberInfo("d", "d:1", learner=True, since=201))),
        (Add("d", "d:1"), seen(*TRIO), (*TRIO, MemberInfo("d", "d:1", learner=True, since=201))),
        (Promote("d"), seen(*TRIO, LEARNER, **ALL, d=200), (*TRIO, MemberInfo("d", "d:1", since=7))),
        (Promote("d"), seen(*TRIO, LEARNER, **ALL, d=200 - MOST_BEHIND), (*TRIO, MemberInfo("d", "d:1", since=7))),
        (Promote("d"), seen(*TRIO, LEARNER, b=200, d=200), (*TRIO, MemberInfo("d", "d:1", since=7))),
        (Remove("c"), seen(*TRIO, b=200), TRIO[:2]),
        (Remove("a"), seen(*TRIO, **ALL), TRIO[1:]),
        (Remove("d"), seen(*TRIO, LEARNER), TRIO),
        (Move("c", "c:2"), seen(*TRIO), (*TRIO[:2], MemberInfo("c", "c:2"))),
        (Move("c", "c:1"), seen(*TRIO), TRIO),
    ],
    ids=[
        "a new member is a learner",
        "a learner needs nobody",
        "a vote for who has everything",
        "a vote for who lacks little",
        "a vote while another is away",
        "a dead one goes",
        "the leader goes",
        "a learner goes, whoever is there",
        "another address",
        "the same address",
    ],
)
def test_a_change_that_is_made(change: Change, before: Seen, expected: tuple[MemberInfo, ...]) -> None:
    assert decide(change, before) == expected


@pytest.mark.parametrize(
    ("change", "before", "error"),
    [
        (Add("d", "d:1"), seen(*TRIO, index=300), ChangeInProgress),
        (Add("d", "d:1"), seen(*TRIO, first_of_term=201), ChangeInProgress),
        (Add("c", "x:1"), seen(*TRIO), MemberExists),
        (Add("d", "c:1"), seen(*TRIO), MemberExists),
        (Move("c", "b:1"), seen(*TRIO), MemberExists),
        (Move("x", "x:1"), seen(*TRIO), UnknownMember),
        (Promote("x"), seen(*TRIO), UnknownMember),
        (Promote("c"), seen(*TRIO, **ALL), MemberExists),
        (Promote("d"), seen(*TRIO, LEARNER, **ALL), MemberNotReady),
        (Promote("d"), seen(*TRIO, LEARNER, **ALL, d=199 - MOST_BEHIND), MemberNotReady),
        (Promote("d"), seen(*TRIO, LEARNER, d=200), QuorumAtRisk),
        (Remove("x"), seen(*TRIO), UnknownMember),
        (Remove("b"), seen(*TRIO, b=200), QuorumAtRisk),
        (Remove("a"), seen(*TRIO, b=200), QuorumAtRisk),
        (Remove("a"), seen(TRIO[0]), QuorumAtRisk),
        (Remove("a"), seen(TRIO[0], LEARNER, d=200), QuorumAtRisk),
    ],
    ids=[
        "an earlier change is not committed",
        "nothing of this term is committed",
        "a name twice",
        "an address twice",
        "to another's address",
        "moving nobody",
        "a vote for nobody",
        "a second vote",
        "a vote for who was never heard of",
        "a vote for who lacks much",
        "a vote that would make a majority too large",
        "removing nobody",
        "removing one of the two that are there",
        "the leader leaves one of two",
        "the last one",
        "the last one with a vote",
    ],
)
def test_a_change_that_is_refused(change: Change, before: Seen, error: type[MembershipError]) -> None:
    with pytest.raises(error):
        decide(change, before)


def test_no_change_relies_on_a_member_that_elects_nobody_yet() -> None:
    """Should the leader stop, a member that has not begun would leave the others without a majority."""
    waiting = replace(seen(*TRIO, **ALL), fresh=frozenset("c"))
    with pytest.raises(MemberNotReady, match="c cannot take part yet: try again"):
        decide(Remove("b"), waiting)
    assert decide(Remove("c"), waiting) == TRIO[:2]
    assert decide(Move("c", "c:2"), waiting)[2].address == "c:2"
