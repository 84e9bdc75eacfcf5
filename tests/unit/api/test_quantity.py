"""Quantities are exact, bounded, and written in one way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.quantity import QuantityError, canonical, milli, parse_quantity, whole

CANONICAL = {
    "0": "0",
    "0Gi": "0",
    "-0": "0",
    "1": "1",
    "0.5": "500m",
    ".5": "500m",
    "5.": "5",
    "1000m": "1",
    "1500m": "1500m",
    "0.1": "100m",
    "100": "100",
    "1000": "1k",
    "1500": "1500",
    "1234567": "1234567",
    "1024Mi": "1Gi",
    "1.5Gi": "1536Mi",
    "100Ki": "100Ki",
    "1000Ki": "1000Ki",
    "0.1Ki": "102400m",
    "1Ei": "1Ei",
    "1E": "1E",
    "1e3": "1e3",
    "12E6": "12e6",
    "1e-3": "1e-3",
    "-1.5": "-1500m",
    "+2": "2",
    "1n": "1n",
    "0.1n": "1n",
    "-0.1n": "-1n",
    "1u": "1u",
    "1e99999": "9223372036854775807e0",
    "100Ei": "9223372036854775807",
}


@pytest.mark.parametrize(("text", "expected"), CANONICAL.items(), ids=CANONICAL)
def test_canonical_form(text: str, expected: str) -> None:
    assert canonical(text) == expected.removesuffix("e0")


MALFORMED = ["", " ", "a", "1.2.3", "1kk", "1 G", "Gi", "1e", "1K", "--1", "1e999999", "1e3i", "0x1", "١", "1" * 300]


@pytest.mark.parametrize("text", MALFORMED, ids=repr)
def test_malformed(text: str) -> None:
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "thousandths", "units"),
    [("250m", 250, 1), ("0.25", 250, 1), ("2", 2000, 2), ("1u", 1, 1), ("1Ki", 1024000, 1024), ("1500m", 1500, 2)],
    ids=str,
)
def test_rounding_up(text: str, thousandths: int, units: int) -> None:
    assert milli(text) == thousandths
    assert whole(text) == units


SUFFIXES = st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "e3", "E2", "e-2"])
NUMBERS = st.decimals(-(10**6), 10**6, places=4, allow_nan=False).map(lambda number: format(number, "f"))
QUANTITIES = st.builds(str.__add__, NUMBERS, SUFFIXES)


@given(QUANTITIES)
def test_the_canonical_form_means_the_same_and_is_its_own(text: str) -> None:
    once = canonical(text)
    exact = parse_quantity(text).value
    if parse_quantity(text).suffix.value != "binary" or exact == exact.to_integral_value():
        assert parse_quantity(once) == parse_quantity(text)
    assert canonical(once) == once


@given(QUANTITIES, QUANTITIES)
def test_sums_and_order_are_exact(one: str, other: str) -> None:
    a, b = parse_quantity(one), parse_quantity(other)
    assert (a + b) - b == a
    assert (a < b) == (a.value < b.value)
    assert not (a == b and hash(a) != hash(b))


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        parse_quantity(text)
    except QuantityError:
        return
    assert milli(text) >= 1000 * (whole(text) - 1)
