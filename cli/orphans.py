"""Daemons that have outlived their supervisor: found and ended, by `navctl up` and `navctl down` alike.

When a supervisor is killed the kernel sends its children a SIGTERM, but one that hangs doesn't end of that, and one
that is busy takes its time. Until they are gone they hold ports, the store and the runtime's files, so neither a new
cluster may start nor the old one's remains be removed. A process is only touched when it has the number that the
supervisor wrote down *and* the very command line that it started: numbers are used again.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from cli.supervisor import STOP_SECONDS, pid_file, read_table


def end_orphans(run: Path) -> None:
    """Returns when nothing of the last table of processes runs any more. Only for who holds the supervisor's lock."""
    orphans = _orphans(run)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in orphans:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, number)
            deadline = time.monotonic() + STOP_SECONDS
            for process in orphans:
                # A process descriptor becomes readable when the process has ended.
                select.select([process], [], [], max(0.0, deadline - time.monotonic()))
    finally:
        for process in orphans:
            os.close(process)


def _orphans(run: Path) -> Sequence[int]:
    """Process descriptors."""
    try:
        programs = read_table(run / "processes.json")
    except (OSError, ValueError, TypeError):
        # Nothing was started here, or a start was cut off before it had begun anything.
        return []
    found = []
    for program in programs:
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file(run, program.name).read_text())
            process = os.pidfd_open(pid)
            words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if words == [os.fsencode(word) for word in program.command]:
                found.append(process)
            else:
                os.close(process)
    return found
