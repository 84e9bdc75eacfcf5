"""What a follower does with offered entries: keep what agrees, drop only what conflicts, never what is committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.log import LogEntry
from orchestrator.store.reconcile import Accept, Offer, Refuse, reconcile


def log(*terms: int, first: int = 1) -> list[LogEntry]:
    return [(b"%d/%d" % (index, term), index, term) for index, term in enumerate(terms, first)]


@pytest.mark.parametrize(
    ("own", "commit", "offer", "expected"),
    [
        (log(1, 1), 1, Offer(2, 1, log(1, first=3)), Accept(0, log(1, first=3), 3)),
        (log(1, 1, 1), 1, Offer(1, 1, log(1, 1, first=2)), Accept(0, (), 3)),
        (log(1, 1, 1), 1, Offer(1, 1, log(1, first=2)), Accept(0, (), 2)),
        (log(1, 1, 1), 1, Offer(1, 1, []), Accept(0, (), 1)),
        (log(1, 1, 1), 1, Offer(1, 1, log(2, first=2)), Accept(2, log(2, first=2), 2)),
        (log(1, 1), 1, Offer(5, 1, log(1, first=6)), Refuse(3)),
        (log(1, 2, 2, 2), 1, Offer(4, 3, []), Refuse(2)),
        (log(1, 2, 2, 2), 3, Offer(4, 3, []), Refuse(4)),
        (log(1, 1, first=10), 11, Offer(3, 1, log(1, 1, first=4)), Accept(0, (), 5)),
        (log(1, 1, first=10), 11, Offer(8, 1, log(1, 1, 1, 1, first=9)), Accept(0, log(1, first=12), 12)),
    ],
    ids=[
        "the next entry",
        "all there already",
        "an old message",
        "a sign of life to a longer log",
        "a conflict",
        "a gap",
        "another term",
        "another term, some committed",
        "before what is in memory",
        "across its beginning",
    ],
)
def test_an_offer(own: list[LogEntry], commit: int, offer: Offer, expected: Accept | Refuse) -> None:
    assert reconcile(own, commit, offer) == expected


def test_a_committed_entry_is_never_dropped() -> None:
    with pytest.raises(StoreCorrupt, match="ours is committed"):
        reconcile(log(1, 1, 1), 2, Offer(1, 1, log(2, first=2)))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=8).map(sorted), st.data())
def test_a_repeated_or_late_message_takes_nothing_away(terms: list[int], data: st.DataObject) -> None:
    whole = log(*terms)
    previous = data.draw(st.integers(1, len(whole)))
    end = data.draw(st.integers(previous, len(whole)))
    verdict = reconcile(whole, 1, Offer(previous, whole[previous - 1][2], whole[previous:end]))
    assert verdict == Accept(0, (), end)
