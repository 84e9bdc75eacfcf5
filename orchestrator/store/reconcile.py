"""What a follower does with the entries a leader offers: a pure decision over the two logs.

Raft, section 5.3: an entry the follower has already, with the same term, stays where it is; only one that differs is
dropped, with all behind it. A message that was delayed or repeated therefore never takes anything away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.log import LogEntry


@dataclass(frozen=True, slots=True)
class Offer:
    """The leader's entries, and the place behind which they belong."""

    previous_index: int
    previous_term: int
    entries: Sequence[LogEntry]


@dataclass(frozen=True, slots=True)
class Accept:
    """Drop the log from `truncate` on (0: nothing), append `entries`; then both logs agree up to `match`."""

    truncate: int
    entries: Sequence[LogEntry]
    match: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """The logs do not meet there: the leader should send from `resume` on."""

    resume: int


def reconcile(log: Sequence[LogEntry], commit: int, offer: Offer) -> Accept | Refuse:
    """`log` is what is in memory of the follower's log, at least one entry; what precedes it is committed.

    Raises StoreCorrupt when a committed entry would have to go: one of the two logs is then not what was agreed on.
    """
    first, last = log[0][1], log[-1][1]
    if offer.previous_index > last:
        return Refuse(last + 1)
    if offer.previous_index >= first and log[offer.previous_index - first][2] != offer.previous_term:
        return Refuse(_before_the_term_of(log, offer.previous_index, commit))
    match = offer.previous_index + len(offer.entries)
    for position, (_, index, term) in enumerate(offer.entries):
        if index < first:
            continue
        if index > last:
            return Accept(0, offer.entries[position:], match)
        if log[index - first][2] != term:
            if index <= commit:
                raise StoreCorrupt(
                    f"the leader's entry {index} is of term {term}, ours of term {log[index - first][2]}, and ours is "
                    "committed: one of the two data directories has lost what it acknowledged"
                )
            return Accept(index, offer.entries[position:], match)
    return Accept(0, (), match)


def _before_the_term_of(log: Sequence[LogEntry], index: int, commit: int) -> int:
    """Where the run of entries of the differing one's term begins: none of them need be the leader's."""
    first = log[0][1]
    term = log[index - first][2]
    while index - 1 > commit and index - 1 >= first and log[index - 1 - first][2] == term:
        index -= 1
    return index
