"""A member's clock that runs wrong: the time of day jumps, and seconds are a little too long or too short.

The monotonic one still never goes back, as the kernel promises; nothing promises that it keeps time.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class SkewedClock:
    def __init__(self) -> None:
        self._rate = 1.0
        self._offset = 0.0
        self._real = self._shown = time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._offset)

    def monotonic(self) -> float:
        return self._shown + (time.monotonic() - self._real) * self._rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds / self._rate))

    def step(self, seconds: float) -> None:
        """The time of day jumps, forward or back."""
        self._offset += seconds

    def drift(self, rate: float) -> None:
        """From now on a second is `1 / rate` real ones."""
        self._shown, self._real = self.monotonic(), time.monotonic()
        self._rate = rate
