"""Runs benchmarks: all, or those named on the command line. Each prints one JSON line per figure.

A benchmark is a module of this package with a `main()`. Those that need a cluster get a fresh one, in a network
namespace and a directory of their own, and run inside it.
"""

from __future__ import annotations

import secrets
import subprocess
import sys

from cli import machine
from demo.world import World

# Name -> whether it runs inside a cluster that is up.
BENCHMARKS = {
    "store": False,
    "store_engine": False,
    "cold": False,
    "cli": True,
    "memory": True,
    "service": True,
    "pod_start": True,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"bench: there is no {', '.join(unknown)}: choose from {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    if found := machine.obstacles():
        print("bench: can't run here: " + "; ".join(found), file=sys.stderr)
        return 1
    failed = [name for name in names or BENCHMARKS if _run(name)]
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str) -> int:
    if not BENCHMARKS[name]:
        return subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=False).returncode
    with World(f"navarch-bench-{secrets.token_hex(3)}") as world:
        world.navctl("up", f"--root={world.paths.root}")
        command = world.python(f"tests.bench.{name}", str(world.paths.root))
        return subprocess.run(command, env=world.environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
