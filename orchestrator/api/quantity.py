"""Amounts of resources: "250m", "1.5Gi", "2e3", exact and comparable.

A quantity is a decimal number with a suffix: decimal (n u m k M G T P E), binary (Ki Mi Gi Ti Pi Ei) or a decimal
exponent (e3). Values are kept as Decimal, so 0.1 is a tenth and nothing is lost between reading and writing. As in
Kubernetes, fractions below one billionth are rounded up and the magnitude ends at 2^63-1, so that any two
implementations agree on a sum.

The canonical form has no fraction and the largest suffix that allows it: "0.5" is "500m", "1024Mi" is "1Gi".
Parsing is cached: a cluster uses few distinct quantities, and the scheduler reads them very often.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_UP, Context, Decimal
from functools import lru_cache, total_ordering

PATTERN = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
MALFORMED = f"quantities must match the regular expression '{PATTERN}'"
LARGEST = Decimal(2**63 - 1)

_NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([A-Za-z0-9+-]*)\Z", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]{1,5})\Z", re.ASCII)
_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NANO = Decimal("1e-9")
_LONGEST = 256  # characters; a longer text is no honest amount and would only cost time
# Exact for every text of that length: the default context would round after 28 digits.
_EXACT = Context(prec=2 * _LONGEST, Emin=-200_000, Emax=200_000)
_THOUSAND = Decimal(1000)


class QuantityError(ValueError):
    """The text is not a quantity; the message says what one looks like."""


class Suffix(enum.Enum):
    """How a quantity was written, and so how a computed one beside it should be."""

    DECIMAL = "decimal"
    BINARY = "binary"
    EXPONENT = "exponent"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount. Two are equal when their values are, however they were written."""

    value: Decimal
    suffix: Suffix = Suffix.DECIMAL

    @property
    def milli(self) -> int:
        """Thousandths, rounded up: millicores of a CPU amount."""
        return int(_EXACT.multiply(self.value, _THOUSAND).to_integral_value(ROUND_CEILING))

    @property
    def whole(self) -> int:
        """Units, rounded up: bytes of a memory amount."""
        return int(self.value.to_integral_value(ROUND_CEILING))

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self.value < other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(_EXACT.add(self.value, other.value), self.suffix if self.value else other.suffix)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(_EXACT.subtract(self.value, other.value), self.suffix if self.value else other.suffix)

    def __str__(self) -> str:
        return _format(self.value, self.suffix)


@lru_cache(maxsize=8192)
def parse_quantity(text: str) -> Quantity:
    """Raises QuantityError when the text is no quantity."""
    number = _NUMBER.match(text) if len(text) <= _LONGEST else None
    if number is None:
        raise QuantityError(MALFORMED)
    digits, suffix = number.groups()
    value = Decimal(digits)
    if suffix in _DECIMAL_SUFFIXES:
        return Quantity(_bounded(value.scaleb(_DECIMAL_SUFFIXES[suffix], _EXACT)), Suffix.DECIMAL)
    if suffix in _BINARY_SUFFIXES:
        return Quantity(_bounded(_EXACT.multiply(value, Decimal(1 << _BINARY_SUFFIXES[suffix]))), Suffix.BINARY)
    exponent = _EXPONENT.match(suffix)
    if exponent is None:
        raise QuantityError(MALFORMED)
    return Quantity(_bounded(value.scaleb(int(exponent[1]), _EXACT)), Suffix.EXPONENT)


@lru_cache(maxsize=8192)
def milli(text: str) -> int:
    """Thousandths, rounded up: "0.25" and "250m" are 250."""
    return parse_quantity(text).milli


@lru_cache(maxsize=8192)
def whole(text: str) -> int:
    """Units, rounded up: "1Ki" is 1024, "1500m" is 2."""
    return parse_quantity(text).whole


@lru_cache(maxsize=8192)
def canonical(text: str) -> str:
    """The one way to write this amount, keeping the kind of suffix: "0.5" is "500m", "1024Mi" is "1Gi"."""
    return str(parse_quantity(text))


def _bounded(value: Decimal) -> Decimal:
    if abs(value) >= LARGEST:
        return LARGEST.copy_sign(value)
    if value and abs(value) < _NANO:
        return _NANO.copy_sign(value)
    return value.quantize(_NANO, ROUND_UP, _EXACT).normalize(_EXACT)


def _format(value: Decimal, suffix: Suffix) -> str:
    value = _bounded(value)
    if not value:
        return "0"
    if suffix is Suffix.BINARY and abs(value) >= 1024:
        value = value.to_integral_value(ROUND_UP)
        if not value % 1024:
            return _format_binary(int(value))
    # The largest power of a thousand that leaves no fraction.
    exponent = -9
    amount = _EXACT.multiply(value, Decimal(10**9))
    while exponent < 18 and not amount % _THOUSAND:
        amount /= _THOUSAND
        exponent += 3
    if suffix is Suffix.EXPONENT:
        return f"{int(amount)}e{exponent}" if exponent else str(int(amount))
    letter = next(letter for letter, power in _DECIMAL_SUFFIXES.items() if power == exponent)
    return f"{int(amount)}{letter}"


def _format_binary(amount: int) -> str:
    letter = ""
    for suffix in _BINARY_SUFFIXES:
        if amount % 1024:
            break
        amount //= 1024
        letter = suffix
    return f"{amount}{letter}"
