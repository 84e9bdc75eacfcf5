"""`bench memory`: resident memory of the idle daemons, beside that of the containerd they use.

Proportional set size: what several processes share is divided among them, so the sum is what the machine pays.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cli.supervisor import pid_file, read_table
from orchestrator.paths import Paths
from tests.bench.figures import tell

# Long enough for what the start needed to be given back.
SETTLE_SECONDS = 10.0


def _megabytes(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def main() -> None:
    paths = Paths(Path(sys.argv[1]))
    time.sleep(SETTLE_SECONDS)  # idle time is what is measured
    names = [program.name for program in read_table(paths.run / "processes.json")]
    pids = {name: int(pid_file(paths.run, name).read_text()) for name in (*names, "supervisor")}
    runtime = _megabytes(pids.pop("containerd"), "Rss")
    resident = {name: _megabytes(pid, "Rss") for name, pid in pids.items()}
    for name, value in resident.items():
        tell(f"memory_{name}_rss", value, "MB", runtime)
    tell("memory_daemons_rss", sum(resident.values()), "MB", runtime)
    tell("memory_daemons_pss", sum(_megabytes(pid, "Pss") for pid in pids.values()), "MB", runtime)


if __name__ == "__main__":
    main()
