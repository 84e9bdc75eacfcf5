"""The verdict can be "wrong": each thing the store must not do, done in a history that is otherwise right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.store.frame import encode
from orchestrator.store.record import Header, encode_entry, encode_header, encode_truncate
from tests.cluster.store.history import (
    UNKNOWN,
    Call,
    Change,
    Get,
    History,
    Item,
    Listing,
    Stretch,
    Txn,
    identity_of,
    value_of,
)
from tests.cluster.store.log_matching import committed, mismatches
from tests.cluster.store.schedule import schedule
from tests.cluster.store.verdict import judge


def call(number: int, did: Get | Listing | Txn, *, returned: float | None = None, nothing: bool = False) -> Call:
    """One that takes most of the second after `number`."""
    return Call(1, "m0/1", float(number), number + 0.9 if returned is None else returned, did, nothing)


def put(key: str, value: str | None, revision: int) -> Txn:
    return Txn(((key, value),), revision=revision)


def right() -> History:
    """Two keys, one written twice, one made and deleted; read, listed, watched from the start and from the middle."""
    last = Listing("/", (Item("/a", "1.2", 3),), 5, serializable=False)
    changes = [Change(2, "/a", "1.1"), Change(3, "/a", "1.2"), Change(4, "/b", "1.3"), Change(5, "/b", None)]
    return History(
        calls=[
            call(1, put("/a", "1.1", 2)),
            call(2, Get("/a", "1.1")),
            call(3, Txn((("/a", "1.2"),), "/a", "1.1", revision=3)),
            call(4, put("/b", "1.3", 4)),
            call(5, Txn((("/a", "1.4"),), "/a", "1.1", succeeded=False, revision=4, conflict="1.2")),
            call(6, put("/b", None, 5)),
            call(7, put("/a", "1.5", 0), nothing=True),
            call(8, put("/a", "1.6", 0), returned=UNKNOWN),
            call(9, Listing("/", last.items, 5, serializable=True)),
            call(10, last),
        ],
        watched=[[Stretch("/", 1, 5, changes)], [Stretch("/a", 1, 2, changes[:1]), Stretch("/a", 2, 5, changes[1:2])]],
        final={"m0": last, "m1": last},
    )


def test_a_right_history_is_not_complained_of() -> None:
    assert judge(right()) == []


def test_an_unknown_write_may_have_happened_and_may_not() -> None:
    history = right()
    history.watched[0][0].changes.append(Change(6, "/a", "1.6"))
    history.watched[0][0].until = 6
    history.watched[1][-1].changes.append(Change(6, "/a", "1.6"))
    history.watched[1][-1].until = 6
    assert judge(history) == []


def _stale_read(history: History) -> None:
    history.calls.append(call(11, Get("/a", "1.1")))


def _read_from_nowhere(history: History) -> None:
    history.calls.append(call(11, Get("/a", "9.9")))


def _lost_write(history: History) -> None:
    history.calls.append(call(11, put("/c", "1.7", 6)))
    history.watched[0][0].changes.append(Change(6, "/d", None))
    history.watched[0][0].until = 6


def _applied_twice(history: History) -> None:
    for stretch in (history.watched[0][0], history.watched[1][-1]):
        stretch.changes.append(Change(6, "/a", "1.2"))
        stretch.until = 6


def _refused_and_done(history: History) -> None:
    for stretch in (history.watched[0][0], history.watched[1][-1]):
        stretch.changes.append(Change(6, "/a", "1.5"))
        stretch.until = 6


def _condition_ignored(history: History) -> None:
    history.calls[4] = replace(history.calls[4], did=Txn((("/a", "1.4"),), "/a", "1.1", revision=4))


def _revision_twice(history: History) -> None:
    history.calls.append(call(11, put("/a", "1.7", 4)))


def _revision_behind_time(history: History) -> None:
    history.calls.append(call(11, Listing("/", (Item("/a", "1.2", 3), Item("/b", "1.3", 4)), 4, serializable=False)))


def _gap(history: History) -> None:
    history.watched[0][0].until = 6


def _torn_listing(history: History) -> None:
    history.calls.append(call(11, Listing("/", (Item("/a", "1.1", 2),), 5, serializable=True)))


def _half_a_txn(history: History) -> None:
    history.calls[0] = call(1, Txn((("/a", "1.1"), ("/b", "1.0")), revision=2))


def _watch_misses(history: History) -> None:
    history.watched[1][-1].changes.clear()


def _watch_repeats(history: History) -> None:
    history.watched[1][-1].changes *= 2


def _watch_goes_back(history: History) -> None:
    history.watched[0][0].changes.reverse()


def _watches_differ(history: History) -> None:
    history.watched[1][0].changes[0] = Change(2, "/a", "1.0")


def _member_goes_back(history: History) -> None:
    history.calls.append(call(11, Listing("/", (Item("/a", "1.2", 3),), 3, serializable=True)))


def _different_ends(history: History) -> None:
    history.final["m1"] = replace(history.final["m1"], revision=6)


def _said_while_it_ran(history: History) -> None:
    history.anomalies.append("two members lead")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_stale_read, "fit no order"),
        (_read_from_nowhere, "fit no order"),
        (_lost_write, "what happened there"),
        (_applied_twice, "was applied at the revisions"),
        (_refused_and_done, "was told that nothing was written"),
        (_condition_ignored, "fit no order"),
        (_revision_twice, "two writes were acknowledged at revision 4"),
        (_revision_behind_time, "revision 5 was known before"),
        (_gap, "nothing happened at the revisions"),
        (_torn_listing, "is not what happened"),
        (_half_a_txn, "what happened there"),
        (_watch_misses, "it saw None"),
        (_watch_repeats, "came twice"),
        (_watch_goes_back, "came after revision"),
        (_watches_differ, "two watches differ"),
        (_member_goes_back, "go back from revision 5 to 3"),
        (_different_ends, "different contents"),
        (_said_while_it_ran, "two members lead"),
    ],
)
def test_what_the_store_must_not_do_is_seen(spoil: Callable[[History], None], complaint: str) -> None:
    history = right()
    spoil(history)
    assert [found for found in judge(history) if complaint in found]


def test_a_history_can_be_written_down(tmp_path: Path) -> None:
    right().write(tmp_path / "history.jsonl")
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 15


@pytest.mark.parametrize("size", [16, 100, 3_000])
def test_a_value_says_which_it_is_and_a_damaged_one_is_none(size: int) -> None:
    value = value_of("3.14", size)
    assert identity_of(value) == "3.14"
    assert len(value) >= size
    for damaged in (value[:-1], value + b"0", value.replace(b"3.1", b"3.2"), b"", b"\0\0"):
        with pytest.raises(ValueError, match=r"written|unpack"):
            identity_of(damaged)


def test_a_seed_gives_its_schedule_and_a_longer_one_begins_with_it() -> None:
    assert schedule(7, 30) == schedule(7, 30)
    assert schedule(7, 30) != schedule(8, 30)
    short = schedule(7, 10).steps
    assert schedule(7, 30).steps[: len(short)] == short


def test_logs_match_where_both_committed(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    _segment(one, 1, 1, [encode_entry(1, 1, 0, b"a"), encode_entry(2, 1, 1, b"b"), encode_entry(3, 1, 2, b"c")])
    # The second had another entry 2, took it back, and has an entry 4 that is not committed.
    _segment(other, 1, 1, [encode_entry(1, 1, 0, b"a"), encode_entry(2, 2, 1, b"x"), encode_truncate(2)])
    _segment(other, 2, 2, [encode_entry(2, 1, 1, b"b"), encode_entry(3, 1, 2, b"z")])
    assert set(committed([one])) == {1, 2}
    assert list(mismatches({"one": committed([one]), "other": committed([other])})) == []
    _segment(other, 2, 2, [encode_entry(2, 1, 2, b"y"), encode_entry(3, 1, 2, b"z")])
    assert len(list(mismatches({"one": committed([one]), "other": committed([other])}))) == 1


def _segment(directory: Path, serial: int, next_index: int, records: list[bytes]) -> None:
    directory.mkdir(exist_ok=True)
    frames = [encode_header(Header(serial, next_index, 1, 0, None)), *records]
    data = b"".join(encode(number, payload) for number, payload in enumerate(frames))
    (directory / f"log-{serial:010d}").write_bytes(data)
