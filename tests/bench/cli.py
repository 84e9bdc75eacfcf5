"""`bench cli`: `navctl get pods` as a whole process, beside an interpreter that imports gRPC and does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from tests.bench.figures import tell_times

RUNS = 20


def _time(command: Sequence[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def main() -> None:
    ours: list[float] = []
    floor: list[float] = []
    for _ in range(RUNS):
        ours.append(_time([sys.executable, "-m", "cli.navctl", "get", "pods"]))
        floor.append(_time([sys.executable, "-c", "import grpc"]))
    tell_times("cli_get_pods", ours, floor)


if __name__ == "__main__":
    main()
