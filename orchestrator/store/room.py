"""A member whose disk is full: what it says, and how it notices that there is room again.

The log finds out when it writes (`Log.flush` raises DiskFull). From then on the member has an alarm, and asks the log
to look for room now and then; the alarm ends when the log has found some, and with it what it keeps back for next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.store.errors import DiskFull
from orchestrator.store.log import Log
from orchestrator.store.metrics import Metrics

log = logging.getLogger(__name__)

NO_SPACE: Final = "nospace"
_MEANINGS = {NO_SPACE: "its disk is full: reads and, for a while, deletes go on, and everything once there is room"}
"""The alarm's name, as in StoreStatus."""
_LOOK: Final = 1.0
"""Seconds between two looks for room."""


class Room:
    def __init__(self, directory: Path, durable: Log, metrics: Metrics, seek: Callable[[], None]) -> None:
        """`seek` has the log flushed soon, with which it looks for room."""
        self._directory, self._log, self._metrics = directory, durable, metrics
        self._seek = seek
        self._alarm = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def alarms(self) -> tuple[str, ...]:
        return (NO_SPACE,) if self._alarm else ()

    def check(self) -> None:
        """Raises DiskFull while there is no room."""
        if self._alarm:
            raise DiskFull(f"the disk of {self._directory} is full: nothing was written, and nothing can be for now")

    def look(self) -> bool:
        """Take note of what the log has found; whether there is room again, where there was none before."""
        if self._log.full:
            if not self._alarm:
                self._alarm = True
                self._metrics.disk_full += 1
                log.error("the disk of %s is full: this member takes no writes until there is room", self._directory)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)
            return False
        if not self._alarm:
            return False
        self._alarm = False
        self.stop()
        log.warning("there is room on the disk of %s again", self._directory)
        return True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        self._seek()


def alarm_words(alarm: str) -> str:
    """An alarm, and what it means to a person."""
    return f"{alarm}: {_MEANINGS[alarm]}" if alarm in _MEANINGS else alarm
