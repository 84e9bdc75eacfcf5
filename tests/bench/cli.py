"""`bench cli`: `navctl get pods` as a whole process, beside an interpreter that imports gRPC and does nothing.

The pods it shows can't be scheduled: there is something to print, and nothing else goes on meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from tests.bench.figures import tell_times

RUNS = 20
_NAVCTL = (sys.executable, "-m", "cli.navctl")
_PODS = "\n---\n".join(
    f"{{apiVersion: v1, kind: Pod, metadata: {{name: bench-cli-{number}}}, spec: {{nodeSelector: {{none: such}}, "
    "containers: [{name: main, image: registry.test/none:1}]}}"
    for number in range(10)
)


def _time(command: Sequence[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def main() -> None:
    ours: list[float] = []
    floor: list[float] = []
    subprocess.run([*_NAVCTL, "apply", "-f", "-"], input=_PODS, text=True, check=True, capture_output=True)
    try:
        for _ in range(RUNS):
            ours.append(_time([*_NAVCTL, "get", "pods"]))
            floor.append(_time([sys.executable, "-c", "import grpc"]))
    finally:
        subprocess.run([*_NAVCTL, "delete", "-f", "-"], input=_PODS, text=True, check=True, capture_output=True)
    tell_times("cli_get_pods", ours, floor)


if __name__ == "__main__":
    main()
