"""`bench store_engine`: how fast the store writes in its own process, beside the disk alone in the same run.

Options: --directory DIR, --seconds S.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from orchestrator.clock import SystemClock
from orchestrator.store import Put, ReplicatedStore, open_store
from tests.bench.figures import tell

VALUE = bytes(500)


def disk_alone(directory: Path, seconds: float) -> float:
    """The median time in ms of an append of a record's size and its fdatasync: the floor of one durable write."""
    descriptor = os.open(directory / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        os.write(descriptor, bytes(600))
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - started)
    os.close(descriptor)
    return statistics.median(times) * 1e3


async def write(store: ReplicatedStore, writers: int, seconds: float) -> tuple[float, float]:
    """Writes a second, and the median time of one in ms."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def writer(name: int) -> None:
        number = 0
        while time.perf_counter() < end:
            started = time.perf_counter()
            await store.txn([], [Put(f"/bench/{name}/{number % 1000}", VALUE)])
            times.append(time.perf_counter() - started)
            number += 1

    started = time.perf_counter()
    await asyncio.gather(*(writer(name) for name in range(writers)))
    return len(times) / (time.perf_counter() - started), statistics.median(times) * 1e3


async def main(directory: Path, seconds: float) -> None:
    floor = disk_alone(directory, seconds)
    store = await open_store(directory / "store", clock=SystemClock())
    for writers in (1, 64, 512):
        rate, latency = await write(store, writers, seconds)
        tell(f"store_engine_writes_{writers}_writers", rate, "1/s", 1e3 / floor)
        tell(f"store_engine_write_p50_{writers}_writers", latency, "ms", floor)
    await store.close()
    started = time.perf_counter()
    store = await open_store(directory / "store", clock=SystemClock())
    tell("store_engine_reopen", time.perf_counter() - started, "s")
    tell("store_engine_keys", store.status().keys, "keys")
    await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the store alone")
    parser.add_argument("--directory", type=Path, help="where to write; a temporary directory otherwise")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement takes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as scratch:
        uvloop.run(main(Path(scratch), arguments.seconds))
