"""Durations as people type them."""

from __future__ import annotations

import contextlib

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.durations import DURATION


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("0s", 0), ("30s", 30), ("250ms", 0.25), ("5m", 300), ("2h", 7200), ("1h30m", 5400),
        ("1m0.5s", 60.5), ("1.5h", 5400), ("1h2m3s4ms", 3723.004),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5s ", "1d", "five", "1h-30m", "5S", "1e3s", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a duration: write it as 30s, 5m or 1h30m"):
        DURATION.convert(text, None, None)


def test_defaults_pass() -> None:
    assert DURATION.convert(60.0, None, None) == 60.0


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with contextlib.suppress(click.BadParameter):
        assert DURATION.convert(text, None, None) >= 0
