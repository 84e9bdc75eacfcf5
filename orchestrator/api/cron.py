"""Schedules in crontab's language: five fields (minute, hour, day of the month, month, day of the week), or a name.

A field is a list of numbers, ranges and steps: "*/15", "1-5", "MON-FRI", "0,30". Names are @yearly, @annually,
@monthly, @weekly, @daily, @midnight, @hourly, and "@every 1h30m", which counts from the last time. `parse` makes a
Schedule of the text once; ScheduleError says, in the words of the parser that Kubernetes uses, what is wrong with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PIECE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ns|us|µs|ms|s|m|h)")
_LONGEST_NUMBER = 9


class ScheduleError(ValueError):
    """The text is no schedule."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The numbers that each field allows. With `every`, the fields mean nothing: it is a plain period."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = True
    """The day of the month is not restricted; when both kinds of day are, either of them suffices."""
    any_weekday: bool = True
    every: timedelta | None = None


def parse(text: str) -> Schedule:
    """Raises ScheduleError."""
    text = text.strip()
    if not text:
        raise ScheduleError("empty spec string")
    if text.startswith("@every "):
        return Schedule(every=_period(text, text.removeprefix("@every ")))
    if text.startswith("@"):
        if text not in _NAMED:
            raise ScheduleError(f"unrecognized descriptor: {text}")
        text = _NAMED[text]
    fields = text.split()
    if len(fields) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    minutes, _ = _field(fields[0], 0, 59)
    hours, _ = _field(fields[1], 0, 23)
    days, any_day = _field(fields[2], 1, 31)
    months, _ = _field(fields[3], 1, 12, _MONTHS)
    weekdays, any_weekday = _field(fields[4], 0, 6, _DAYS)
    return Schedule(minutes, hours, days, months, weekdays, any_day, any_weekday)


def _period(text: str, length: str) -> timedelta:
    pieces = list(_PIECE.finditer(length))
    if not pieces or "".join(piece[0] for piece in pieces) != length:
        raise ScheduleError(f'failed to parse duration {text}: time: invalid duration "{length}"')
    seconds = sum(float(piece[1]) * _UNITS[piece[2]] for piece in pieces)
    # A period is a whole number of seconds, and at least one.
    return timedelta(seconds=min(max(1, int(seconds)), 10**9))


def _field(text: str, low: int, high: int, words: tuple[str, ...] = ()) -> tuple[frozenset[int], bool]:
    """The numbers, and whether the field restricts nothing."""
    allowed: set[int] = set()
    free = False
    for part in text.split(","):
        if part:
            numbers, star = _range(part, low, high, words)
            allowed.update(numbers)
            free = free or star
    return frozenset(allowed), free


def _range(text: str, low: int, high: int, words: tuple[str, ...]) -> tuple[range, bool]:
    extent, *steps = text.split("/")
    bounds = extent.split("-")
    star = bounds[0] in {"*", "?"}
    if star:
        start, end = low, high
    else:
        if len(bounds) > 2:
            raise ScheduleError(f"too many hyphens: {text}")
        start = _number(bounds[0], low, words)
        end = _number(bounds[1], low, words) if len(bounds) == 2 else start
    step = 1
    if len(steps) > 1:
        raise ScheduleError(f"too many slashes: {text}")
    if steps:
        step = _integer(steps[0])
        if len(bounds) == 1 and not star:
            end = high
        star = star and step <= 1
    if start < low:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ScheduleError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ScheduleError(f"step of range should be a positive number: {text}")
    return range(start, end + 1, step), star


def _number(text: str, low: int, words: tuple[str, ...]) -> int:
    return words.index(text.lower()) + low if text.lower() in words else _integer(text)


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_NUMBER:
        raise ScheduleError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
