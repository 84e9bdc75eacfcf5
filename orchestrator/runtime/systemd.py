"""What a daemon tells systemd: that it is ready, that it is alive, that it stops (sd_notify(3), `Type=notify`,
`WatchdogSec=`).

Started by anything else, all of this does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sdnotify import SystemdNotifier

from orchestrator.clock import Clock


class Notifier:
    """The line to systemd of this process."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._notifier = SystemdNotifier()
        self._ready = False
        self._interval = watchdog_interval(environment)

    def ready(self) -> None:
        """Everything runs. Told once: a service that is restarted later is not another start of the process."""
        if not self._ready:
            self._ready = True
            self._notifier.notify("READY=1")

    def stopping(self) -> None:
        self._notifier.notify("STOPPING=1")

    async def beat(self, clock: Clock) -> None:
        """Feed the watchdog while the event loop turns; it goes hungry when that hangs. Returns if there is none."""
        if self._interval is None:
            return
        while True:
            self._notifier.notify("WATCHDOG=1")
            await clock.sleep(self._interval)


def watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Seconds between signs of life: half of what systemd allows. None when it wants none of this process."""
    allowed = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", "")
    if not allowed.isdigit() or int(allowed) == 0 or (meant and meant != str(os.getpid())):
        return None
    return int(allowed) / 2 / 1_000_000
