"""Schedules: what they allow, and what is refused in which words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.cron import Schedule, ScheduleError, parse


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("*/15 * * * *", "minutes", {0, 15, 30, 45}),
        ("5/20 * * * *", "minutes", {5, 25, 45}),
        ("10-20/5,59 * * * *", "minutes", {10, 15, 20, 59}),
        ("0 8-10 * * *", "hours", {8, 9, 10}),
        ("0 0 ? 1,DEC *", "months", {1, 12}),
        ("0 0 * * mon-fri", "weekdays", {1, 2, 3, 4, 5}),
        ("@weekly", "weekdays", {0}),
        ("@hourly", "minutes", {0}),
        ("@yearly", "months", {1}),
        ("  0 0 31 * *  ", "days", {31}),
    ],
)
def test_fields(text: str, field: str, expected: set[int]) -> None:
    assert getattr(parse(text), field) == expected


def test_which_day_is_restricted() -> None:
    assert (parse("0 0 * * 1").any_day, parse("0 0 * * 1").any_weekday) == (True, False)
    assert (parse("0 0 1 * *").any_day, parse("0 0 1 * *").any_weekday) == (False, True)
    assert parse("0 0 */2 * *").any_day is False


def test_periods() -> None:
    assert parse("@every 1h30m").every == timedelta(minutes=90)
    assert parse("@every 10ms").every == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("9-3 * * * *", "beginning of range (9) beyond end of range (3): 9-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("*/1/2 * * * *", "too many slashes: */1/2"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@noon", "unrecognized descriptor: @noon"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
    ],
)
def test_what_is_no_schedule(text: str, why: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse(text)
    assert str(caught.value) == why


@given(st.text(alphabet="0123456789*/,-? @everymhsan", max_size=30) | st.text(max_size=20))
def test_any_text_is_a_schedule_or_not(text: str) -> None:
    try:
        assert isinstance(parse(text), Schedule)
    except ScheduleError as error:
        assert str(error)
