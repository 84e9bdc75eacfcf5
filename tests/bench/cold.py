"""`bench cold`: from `navctl up` on an empty directory to a node that is Ready, and again with the state there.

The peer is containerd alone, started in the same place: the part of it that no orchestrator can save.
"""

from __future__ import annotations

import asyncio
import secrets
import time

from agents.cri.containerd import ContainerdProcess, Machine
from demo.world import World
from orchestrator.paths import Paths
from tests.bench.figures import tell

RUNS = 3


async def _containerd_alone(paths: Paths) -> float:
    process = ContainerdProcess(paths, Machine.detect())
    began = time.monotonic()
    await process.start()
    took = time.monotonic() - began
    await process.stop()
    return took


def main() -> None:
    fresh: list[float] = []
    again: list[float] = []
    alone: list[float] = []
    for _ in range(RUNS):
        with World(f"navarch-cold-{secrets.token_hex(3)}") as world:
            alone.append(asyncio.run(_containerd_alone(Paths(world.paths.root / "alone"))))
            for times in (fresh, again):
                began = time.monotonic()
                world.navctl("up", f"--root={world.paths.root}")
                times.append(time.monotonic() - began)
                world.navctl("down", f"--root={world.paths.root}")
    peer = sorted(alone)[RUNS // 2]
    tell("cold_first_start", sorted(fresh)[RUNS // 2], "s", peer)
    tell("cold_start_with_state", sorted(again)[RUNS // 2], "s", peer)


if __name__ == "__main__":
    main()
