"""Commands survive their encoding; what is not a command is refused; limits are limits."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.store.command import (
    Compact,
    Limits,
    Origin,
    Txn,
    decode_group,
    encode_compact,
    encode_group,
    encode_txn,
)
from orchestrator.store.errors import InvalidTxn, StoreCorrupt, ValueTooLarge
from orchestrator.store.interface import Compare, Delete, Put

LIMITS = Limits()
ORIGIN = Origin("n1", 7, 3, 2)
origins = st.builds(Origin, st.text(max_size=40), *[st.integers(0, 2**64 - 1)] * 3)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
txns = st.tuples(
    st.lists(st.builds(Compare, keys, st.integers(0, 2**63)), max_size=3),
    st.lists(
        st.builds(Put, keys, st.binary(max_size=30), st.integers(0, 2**63 - 1)) | st.builds(Delete, keys),
        unique_by=lambda op: op.key,
    ),
)


@given(origins, st.lists(txns | st.integers(0, 2**63), max_size=5))
def test_a_group_reads_back_as_it_was_written(
    origin: Origin, group: list[tuple[list[Compare], list[Put | Delete]] | int]
) -> None:
    encoded = [
        encode_compact(command) if isinstance(command, int) else encode_txn(*command, LIMITS) for command in group
    ]
    expected = [Compact(command) if isinstance(command, int) else Txn(*command) for command in group]
    decoded = decode_group(encode_group(origin, encoded))
    assert (decoded.origin, list(decoded.commands)) == (origin, expected)
    old = decode_group(b"\x01" + b"".join(encoded))
    assert (old.origin, list(old.commands)) == (None, expected)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x03",
        b"\x02\x01",
        b"\x01\x09",
        b"\x01\x01\x00",
        encode_group(ORIGIN, [encode_txn([], [Put("/a", b"12345")], LIMITS)])[:-1],
        pickle.dumps(print),
    ],
    ids=["empty", "another version", "half an origin", "unknown kind", "half a head", "half a value", "a pickle"],
)
def test_what_is_no_group_is_refused(data: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        decode_group(data)


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ([Put("", b"1")], InvalidTxn),
        ([Put("/a", b"1"), Delete("/a")], InvalidTxn),
        ([Put(f"/{number}", b"") for number in range(LIMITS.operations + 1)], InvalidTxn),
        ([Put("/a", bytes(LIMITS.value + 1))], ValueTooLarge),
        ([Put("k" * (LIMITS.key + 1), b"")], ValueTooLarge),
        ([Put(f"/{number}", bytes(LIMITS.value)) for number in range(6)], ValueTooLarge),
    ],
    ids=["empty key", "one key twice", "too many operations", "large value", "large key", "large txn"],
)
def test_a_txn_over_a_limit_is_refused(operations: list[Put | Delete], error: type[Exception]) -> None:
    with pytest.raises(error):
        encode_txn([], operations, LIMITS)


def test_a_value_of_exactly_the_limit_is_taken() -> None:
    assert encode_txn([], [Put("/a", bytes(LIMITS.value))], LIMITS)
