"""How long ago: the short durations of tables, "42s", "3m12s", "5d", with Kubernetes' steps of precision."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api.timestamps import to_datetime

UNKNOWN = "<unknown>"


def human_duration(duration: timedelta) -> str:
    """Two units at most, and fewer the longer it is: 119s, 9m59s, 179m, 7h59m, 47h, 7d23h, 729d, 7y364d, 8y."""
    seconds = int(duration.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def is_set(moment: Timestamp) -> bool:
    """False for an absent time, which reads as the beginning of 1970."""
    return bool(moment.seconds or moment.nanos)


def age(now: datetime, moment: Timestamp | datetime | None) -> str:
    """How long `moment` is ago; "<unknown>" when there is none."""
    if moment is None or (isinstance(moment, Timestamp) and not is_set(moment)):
        return UNKNOWN
    return human_duration(now - (to_datetime(moment) if isinstance(moment, Timestamp) else moment))
