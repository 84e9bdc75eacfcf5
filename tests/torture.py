"""Torments the store for as long as one likes, half of the time as real processes, half in virtual time.

    python -m tests.torture --seconds 600 [--first-seed N] [--only processes|simulated]

Every run is a cluster under the faults of one seed, its clients' results held against what the store promises. Without
`--first-seed` the seeds are new every time; they are printed, and a seed goes the same way again: exactly in virtual
time, as far as machines do with processes. Ends with a line that says how many anomalies there were, and 1 if any.
"""

from __future__ import annotations

import argparse
import os
import random
from collections import Counter

from tests.torture_processes import torment_processes
from tests.torture_simulated import torment_simulated


def main() -> int:
    parser = argparse.ArgumentParser(description="Torment the store")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--first-seed", type=int, default=None)
    parser.add_argument("--only", choices=("processes", "simulated"), default=None)
    arguments = parser.parse_args()
    first = random.SystemRandom().randrange(1 << 31) if arguments.first_seed is None else arguments.first_seed
    print(f"seeds from {first}", flush=True)
    parts = {"processes": torment_processes, "simulated": torment_simulated}
    if arguments.only:
        parts = {arguments.only: parts[arguments.only]}
    elif os.geteuid() != 0:
        print("not root: only in virtual time, as namespaces cannot be made")
        del parts["processes"]
    total: Counter[str] = Counter()
    for name, part in parts.items():
        came = part(arguments.seconds / len(parts), first)
        print(f"{name}: {_line(came)}", flush=True)
        total += came
    print(_line(total))
    return 1 if total["anomalies"] else 0


def _line(total: Counter[str]) -> str:
    names = ("runs", "operations", "unknown", "elections", "faults", "anomalies")
    return " ".join(f"{name} {total[name]}" for name in names)


if __name__ == "__main__":
    raise SystemExit(main())
