"""Was there an order in which these operations, one at a time, would have given these results?

The checker of Wing and Gong with Lowe's pruning: search for a sequence in which every operation takes effect between
its call and its return, and do not look twice at the same state with the same set of operations done. Keys are
independent of each other, so each is checked on its own. An operation whose outcome is unknown may take effect at any
time after its call, or never.

The model is one key: a register with compare-and-set. Every value is written once only, so a version is its value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Value = bytes | None
"""None: the key does not exist."""

NEVER: Final = math.inf


@dataclass(frozen=True, slots=True)
class Get:
    found: Value


@dataclass(frozen=True, slots=True)
class Write:
    """Put a value, or delete (None)."""

    value: Value


@dataclass(frozen=True, slots=True)
class CompareAndSet:
    """Put a value if `expected` is there. `found` is what was there instead; where it succeeded, it is `expected`."""

    expected: Value
    value: Value
    found: Value


@dataclass(frozen=True, slots=True)
class Call:
    """One operation as its client saw it. `returned` is NEVER where the outcome is unknown."""

    client: int
    called: float
    returned: float
    did: Get | Write | CompareAndSet


class TooHard(Exception):
    """The search was given up."""


def is_linearizable(calls: Sequence[Call], most_states: int = 1_000_000) -> bool:
    """Raises TooHard."""
    history = sorted(_that_matter(calls), key=lambda call: call.called)
    certain = sum(1 << position for position, call in enumerate(history) if call.returned != NEVER)
    seen: set[tuple[int, Value]] = set()
    stack: list[tuple[int, Value]] = [(0, None)]
    while stack:
        done, state = stack.pop()
        if done & certain == certain:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        if len(seen) > most_states:
            raise TooHard(f"{len(history)} operations on one key")
        for position in _next_ones(history, done):
            call = history[position]
            stack += [(done | 1 << position, after) for after in _after(state, call)]
    return False


def _that_matter(calls: Sequence[Call]) -> Sequence[Call]:
    """Without the operations of unknown outcome whose value nobody ever saw: they may as well never have happened."""
    seen: set[Value] = {None}
    for call in calls:
        match call.did:
            case Get(found):
                seen.add(found)
            case CompareAndSet(expected, _, found):
                seen |= {expected, found}
    return [
        call for call in calls if call.returned != NEVER or (not isinstance(call.did, Get) and call.did.value in seen)
    ]


def _next_ones(history: Sequence[Call], done: int) -> Sequence[int]:
    """The operations that may come next: those called before any other that is not done returned."""
    candidates: list[int] = []
    first_return = NEVER
    lowest = (~done & (done + 1)).bit_length() - 1
    for position in range(lowest, len(history)):
        if done >> position & 1:
            continue
        call = history[position]
        if call.called > first_return:
            break
        candidates.append(position)
        first_return = min(first_return, call.returned)
    # The last one is tried first: in the order of returns, which is most often the right one.
    possible = [position for position in candidates if history[position].called <= first_return]
    return sorted(possible, key=lambda position: history[position].returned, reverse=True)


def _after(state: Value, call: Call) -> Sequence[Value]:
    """The state the operation leaves; none: it cannot have had this result in this state."""
    match call.did:
        case Get(found):
            return (state,) if found == state else ()
        case Write(value):
            return (value,)
        case CompareAndSet(expected, value, found):
            if call.returned == NEVER:
                # Where it would change nothing it may as well not happen.
                return (value,) if expected == state else ()
            if found != state:
                return ()
            return (value,) if expected == state else (state,)
