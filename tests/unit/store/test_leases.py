"""Leases: what they do to keys, whatever the order of the log; and that they end when they should, not before."""

from __future__ import annotations

import pytest

from orchestrator.store.command import (
    Command,
    End,
    Grant,
    Group,
    Keep,
    Limits,
    Origin,
    Remain,
    Revoke,
    Txn,
    decode_group,
    encode_end,
    encode_grant,
    encode_group,
    encode_keep,
    encode_remain,
    encode_revoke,
    encode_txn,
)
from orchestrator.store.errors import InvalidLease, UnknownLease
from orchestrator.store.interface import Compare, Delete, Put, TxnResult
from orchestrator.store.leases import Leases
from orchestrator.store.perform import perform
from orchestrator.store.state import State


def do(state: State, *commands: Command) -> list[object]:
    return [perform(command, state).result for command in commands]


def put(key: str, lease: int = 0) -> Txn:
    return Txn([], [Put(key, b"v", lease)])


def keys(state: State) -> list[str]:
    return [item.key for item in state.range("").items]


def test_the_keys_of_a_revoked_lease_are_deleted_at_one_revision() -> None:
    state = State()
    assert do(state, Grant(1000)) == [1]
    do(state, put("/b", 1), put("/a", 1), put("/stays"))
    before = state.revision
    performed = perform(Revoke(1), state)
    assert [(event.key, event.value, event.revision) for event in performed.events] == [
        ("/a", None, before + 1),
        ("/b", None, before + 1),
    ]
    assert keys(state) == ["/stays"]
    assert [item.key for item in state.range("", revision=before).items] == ["/a", "/b", "/stays"]


def test_an_end_that_names_a_lease_twice_ends_it_once() -> None:
    state = State()
    do(state, Grant(1000), put("/a", 1))
    assert do(state, End([(1, 0), (1, 0)])) == [None]
    assert keys(state) == []


def test_a_lease_without_keys_ends_without_a_revision() -> None:
    state = State()
    do(state, Grant(1000), Revoke(1))
    assert state.revision == 1
    assert len(state.leases) == 0


def test_ids_are_never_given_twice() -> None:
    state = State()
    assert do(state, Grant(1), Revoke(1), Grant(1)) == [1, None, 2]


def test_ids_are_never_given_twice_even_by_a_state_that_began_without_any_lease() -> None:
    state = State(leases=Leases((), granted=6))
    assert perform(Grant(1000), state).result == 7


def test_every_put_decides_anew_on_which_lease_the_key_hangs() -> None:
    state = State()
    do(state, Grant(1000), Grant(1000), put("/a", 1), put("/b", 1), put("/c", 1))
    do(state, put("/a"), put("/b", 2), Txn([], [Delete("/c")]), put("/c"))
    do(state, Revoke(1))
    assert keys(state) == ["/a", "/b", "/c"]
    do(state, Revoke(2))
    assert keys(state) == ["/a", "/c"]


def test_a_txn_with_an_unknown_lease_does_nothing_at_all() -> None:
    state = State()
    (result,) = do(state, Txn([], [Put("/a", b"1"), Put("/b", b"2", lease=7)]))
    assert isinstance(result, UnknownLease)
    assert (state.revision, keys(state)) == (1, [])


def test_a_failed_compare_counts_before_the_lease() -> None:
    (result,) = do(State(), Txn([Compare("/a", 5)], [Put("/a", b"", lease=7)]))
    assert isinstance(result, TxnResult)


@pytest.mark.parametrize("command", [Keep(3), Revoke(3)])
def test_what_is_no_lease_is_unknown(command: Command) -> None:
    (result,) = do(State(), command)
    assert isinstance(result, UnknownLease)


def test_a_renewal_that_comes_first_in_the_log_makes_an_end_void() -> None:
    state = State()
    do(state, Grant(1000), put("/a", 1), Keep(1), End([(1, 0)]))
    assert keys(state) == ["/a"]
    do(state, End([(1, 1), (9, 0)]))
    assert keys(state) == []


def test_a_note_of_what_is_left_counts_until_the_next_renewal() -> None:
    state = State()
    do(state, Grant(1000), Remain([(1, 0, 400)]))
    assert state.leases.get(1).remaining == 400
    do(state, Remain([(1, 0, 700)]))
    assert state.leases.get(1).remaining == 400, "time does not come back"
    do(state, Keep(1), Remain([(1, 0, 300)]))
    assert state.leases.get(1).remaining == 1000


def test_commands_read_back_as_they_were() -> None:
    origin = Origin("a", 7, 1, 0)
    commands: list[Command] = [
        Grant(1500),
        Keep(3),
        Revoke(4),
        End([(1, 2), (3, 4)]),
        Remain([(1, 2, 3)]),
        Txn([], [Put("/a", b"x", 9), Put("/b", b"y"), Delete("/c")]),
    ]
    encoded = [
        encode_grant(1.5),
        encode_keep(3),
        encode_revoke(4),
        encode_end([(1, 2), (3, 4)]),
        encode_remain([(1, 2, 3)]),
        encode_txn([], [Put("/a", b"x", 9), Put("/b", b"y"), Delete("/c")], Limits()),
    ]
    group = decode_group(encode_group(origin, encoded))
    assert repr(group) == repr(Group(origin, [*commands[:3], End(((1, 2), (3, 4))), Remain(((1, 2, 3),)), commands[5]]))


@pytest.mark.parametrize("ttl", [0.0, -1.0, 1e-9, float("nan"), float("inf"), 1e12])
def test_a_lease_that_makes_no_sense_is_refused(ttl: float) -> None:
    with pytest.raises(InvalidLease):
        encode_grant(ttl)


@pytest.mark.parametrize("lease", [-1, 0, 1 << 64])
def test_what_can_be_no_lease_is_unknown(lease: int) -> None:
    with pytest.raises(UnknownLease):
        encode_keep(lease)
    with pytest.raises(UnknownLease):
        encode_revoke(lease)
