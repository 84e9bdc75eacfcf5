"""Structured logs on the standard library's logging.

A line is a time, a level, a component, a message for people, and fields for machines:

    2026-11-22T18:00:00.123Z INFO scheduler bound pod pod=default/web node=n1

or the same as one JSON object. Fields travel in the record (`log.info("bound pod", extra=fields(pod=key))`), so the
message stays constant and can be searched for. A line is always one line: newlines in values are escaped; only the
traceback of an exception follows on lines of its own in the text form.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

# What a field may hold; anything else is shown by its `str`.
Value = str | int | float | bool | None | object

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_PACKAGES = ("orchestrator.", "agents.", "cli.")


def fields(**values: Value) -> dict[str, object]:
    """The `extra` of a log call: `log.info("bound pod", extra=fields(pod="default/web", node="n1"))`."""
    return {"fields": values}


def setup(level: str = "info", format: Literal["text", "json"] = "text", stream: TextIO | None = None) -> None:
    """Send everything at `level` and above to `stream` (standard error), replacing what was set up before."""
    try:
        threshold = _LEVELS[level.lower()]
    except KeyError:
        raise ValueError(f'unknown log level "{level}": must be one of {", ".join(_LEVELS)}') from None
    if format not in ("text", "json"):
        raise ValueError(f'unknown log format "{format}": must be "text" or "json"')
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(level=threshold, handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """Time, level, component, message, then `key=value` pairs (logfmt)."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_time(record)} {record.levelname} {component(record.name)} {_one_line(record.getMessage())}"
        pairs = [f"{key}={_logfmt(value)}" for key, value in _fields_of(record).items()]
        line = " ".join([head, *pairs])
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a field can't shadow the line's own keys."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = dict(_fields_of(record))
        line |= {
            "time": _time(record),
            "level": record.levelname,
            "component": component(record.name),
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def component(logger_name: str) -> str:
    """The part of the system a logger speaks for: "scheduler" for "scheduler" and "orchestrator.scheduler.cycle"."""
    for package in _PACKAGES:
        if logger_name.startswith(package):
            return logger_name.removeprefix(package).split(".", 1)[0]
    return logger_name


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(record.msecs):03d}Z"


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    found = getattr(record, "fields", None)
    return found if isinstance(found, dict) else {}


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _logfmt(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if text and all(character.isprintable() and character not in ' "=' for character in text):
        return text
    return json.dumps(text, ensure_ascii=False)
