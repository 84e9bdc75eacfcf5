"""Times in the form the API shows them: RFC 3339 in UTC, with seconds ("2006-01-02T15:04:05Z") or microseconds.

Times are seconds and nanoseconds since 1970, as in protobuf's Timestamp. Anything finer than the form shows is cut off
when a time is read, so that what was read and what is shown next are the same time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_FIRST = -62135596800  # year 1
_LAST = 253402300799  # the end of year 9999


@lru_cache(maxsize=8192)
def format_timestamp(seconds: int, nanos: int, *, micro: bool = False) -> str:
    """RFC 3339; a time that no calendar has (possible on the wire) shows as the nearest one that exists."""
    moment = _EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))
    # Not strftime: it does not pad years before 1000.
    text = moment.replace(tzinfo=None).isoformat(timespec="seconds")
    return f"{text}.{min(max(nanos, 0), 999_999_999) // 1000:06d}Z" if micro else f"{text}Z"


def parse_timestamp(text: str, *, micro: bool = False) -> tuple[int, int] | None:
    """(seconds, nanos), the latter 0 unless `micro`; None when `text` is not a time in RFC 3339 form."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    date, time, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        return None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if not _FIRST <= seconds <= _LAST:
        return None
    nanos = int((fraction or "0").ljust(9, "0")) // 1000 * 1000 if micro else 0
    return seconds, nanos


def to_datetime(timestamp: Timestamp) -> datetime:
    """An aware datetime in UTC, to the microsecond."""
    seconds = min(max(timestamp.seconds, _FIRST), _LAST)
    return _EPOCH + timedelta(seconds=seconds, microseconds=timestamp.nanos // 1000)


def to_timestamp(moment: datetime) -> Timestamp:
    """The Timestamp of an aware datetime."""
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)
