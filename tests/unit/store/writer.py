"""A process for test_kill to kill: writes without end and says on its standard output what was acknowledged.

One line per acknowledgement: key, value, revision. The line leaves in one write, so it is whole or not there.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.store import Delete, Put, Settings, Store, open_store


async def write(store: Store, name: str) -> None:
    number = 0
    while True:
        key = f"/{name}/{number % 20}"
        if number % 10 == 7:
            revision = (await store.txn([], [Delete(key), Put("/deleted", key.encode())])).revision
            os.write(1, f"{key} - {revision}\n".encode())
        else:
            value = f"{number}-" + "x" * (number % 300)
            revision = (await store.txn([], [Put(key, value.encode())])).revision
            os.write(1, f"{key} {value} {revision}\n".encode())
        number += 1


async def main(directory: Path, run: str) -> None:
    settings = Settings(segment_size=64 << 10, snapshot_entries=300)
    store = await open_store(directory, clock=SystemClock(), settings=settings)
    async with asyncio.TaskGroup() as writers:
        for number in range(6):
            writers.create_task(write(store, f"{run}-{number}"))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
