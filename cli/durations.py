"""Durations as people type them: 90s, 5m, 1h30m, 250ms."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        if value == "0":
            return 0.0
        parts = _PART.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f'"{value}" is not a duration: write it as 30s, 5m or 1h30m', param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)


DURATION = _Duration()
"""A click parameter type: seconds, as a float."""
