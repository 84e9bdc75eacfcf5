"""Stops all pods of a runtime: what the supervisor runs before it ends the private containerd."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.leftovers import remove_pods


async def _stop(socket: Path) -> None:
    async with CriClient(socket) as runtime:
        await remove_pods(runtime)


if __name__ == "__main__":
    asyncio.run(_stop(Path(sys.argv[1])))
