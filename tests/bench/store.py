"""`bench store`: the store beside etcd, in the same run, called by the same process, on the same disk.

Rounds are short and alternate, so that whatever else the machine does meets both; a figure is the median of its rounds.
All clients are one asyncio process with grpc.aio. The store's clients share its own client's stream, etcd's make a call
each, as its API has it; the figures named `unary` are the store's with a call each too. That process is often what
limits: `store_client_alone` is what it does against a server that only answers. Three members are asked through their
leader. Options: --directory DIR, --rounds N, --seconds S, PART...
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.bench.figures import tell
from tests.bench.store_clusters import Caller, Cluster, EchoCluster, EtcdCluster, OurCluster, etcd_is_missing
from tests.bench.store_load import Rate, failover, fill, gets, puts, watched

CLIENTS = (1, 64, 512)
READERS = 64
WATCHERS, WRITERS = 100, 16
KEYS = 100_000
FILLERS = 256
KILLS = 15
SETTLE_SECONDS = 3.0


@dataclass(frozen=True)
class Run:
    directory: Path
    rounds: int
    seconds: float


Load = Callable[[Cluster, Caller, Rate], Awaitable[None]]


@dataclass
class Pair:
    """Both stores with so many members each, and clients of each one's leader."""

    ours: Cluster
    etcd: Cluster
    to_ours: Caller
    to_ours_unary: Caller
    to_etcd: Caller

    async def measure(self, run: Run, load: Load, *, unary: bool = False) -> tuple[Rate, Rate, Rate]:
        """Ours, etcd's, and if so wished ours with a call each, in turn; who begins changes."""
        rates = Rate(), Rate(), Rate()
        sides = [(self.ours, self.to_ours, rates[0]), (self.etcd, self.to_etcd, rates[1])]
        if unary:
            sides.append((self.ours, self.to_ours_unary, rates[2]))
        for _ in range(run.rounds):
            for side in sides:
                gc.collect()
                await load(*side)
            sides.append(sides.pop(0))
        return rates


@asynccontextmanager
async def pair(run: Run, size: int, name: str) -> AsyncIterator[Pair]:
    ours = OurCluster(run.directory / f"{name}-store", size)
    etcd = EtcdCluster(run.directory / f"{name}-etcd", size)
    callers: list[Caller] = []
    try:
        for cluster in (ours, etcd):
            await cluster.start_all()
        leader = await ours.leader()
        callers = [ours.caller(leader), ours.unary_caller(leader), etcd.caller(await etcd.leader())]
        yield Pair(ours, etcd, *callers)
    finally:
        for caller in callers:
            await caller.close()
        ours.stop()
        etcd.stop()


async def throughput(run: Run, size: int) -> None:
    members = "one_member" if size == 1 else f"{size}_members"
    async with pair(run, size, members) as stores:
        for clients in CLIENTS:

            async def put(_: Cluster, caller: Caller, into: Rate, clients: int = clients) -> None:
                await puts(caller, clients, run.seconds, into)

            ours, etcd, unary = await stores.measure(run, put, unary=True)
            tell(f"store_puts_{members}_{clients}_clients", ours.rate, "1/s", etcd.rate)
            tell(f"store_put_p50_{members}_{clients}_clients", ours.time, "ms", etcd.time)
            tell(f"store_unary_puts_{members}_{clients}_clients", unary.rate, "1/s", etcd.rate)

        async def get(_: Cluster, caller: Caller, into: Rate) -> None:
            await gets(caller, READERS, run.seconds, into)

        ours, etcd, unary = await stores.measure(run, get, unary=True)
        tell(f"store_gets_{members}_{READERS}_clients", ours.rate, "1/s", etcd.rate)
        tell(f"store_unary_gets_{members}_{READERS}_clients", unary.rate, "1/s", etcd.rate)


async def client_alone(run: Run, _: int) -> None:
    """What the client does against a server that only answers."""
    cluster = EchoCluster(run.directory / "echo", 1)
    member = cluster.members[0]
    try:
        await cluster.start_all()
        for name, caller in (("", cluster.caller(member)), ("_unary", cluster.unary_caller(member))):
            for clients in CLIENTS:
                rate = Rate()
                await puts(caller, clients, run.seconds, rate)
                tell(f"store_client_alone{name}_{clients}_clients", rate.rate, "1/s")
            await caller.close()
    finally:
        cluster.stop()


async def watching(run: Run, size: int) -> None:
    async with pair(run, size, f"watch-{size}") as stores:

        async def watch(cluster: Cluster, caller: Caller, into: Rate) -> None:
            async with cluster.channel(cluster.members[0]) as channel:
                await watched(cluster, caller, channel, WATCHERS, WRITERS, 2 * run.seconds, into)

        ours, etcd, _ = await stores.measure(run, watch)
        tell(f"store_watch_events_{WATCHERS}_watchers", ours.rate, "1/s", etcd.rate)


async def memory_and_restart(run: Run, size: int) -> None:
    async with pair(run, size, "memory") as stores:
        resident: list[float] = []
        restart: list[float] = []
        for cluster, caller in ((stores.ours, stores.to_ours), (stores.etcd, stores.to_etcd)):
            await fill(caller, KEYS, FILLERS)
            await asyncio.sleep(SETTLE_SECONDS)
            member = cluster.members[0]
            resident.append(cluster.resident(member))
            cluster.kill(member)
            began = time.perf_counter()
            cluster.start(member)
            await cluster.answers(member)
            restart.append(time.perf_counter() - began)
        tell("store_memory_100000_keys", resident[0], "MB", resident[1])
        tell("store_restart_100000_keys", restart[0], "s", restart[1])


async def failing_over(run: Run, size: int) -> None:
    async with pair(run, size, "failover") as stores:
        times: dict[str, list[float]] = {stores.ours.name: [], stores.etcd.name: []}
        for _ in range(KILLS):
            for cluster in (stores.ours, stores.etcd):
                times[cluster.name].append(await failover(cluster))
        ours, etcd = times[stores.ours.name], times[stores.etcd.name]
        tell("store_failover_p50", statistics.median(ours), "s", statistics.median(etcd))
        # Of so few the largest is the 99th percentile.
        tell("store_failover_p99", max(ours), "s", max(etcd))


PARTS: dict[str, tuple[Callable[[Run, int], Awaitable[None]], int]] = {
    "client": (client_alone, 1),
    "one": (throughput, 1),
    "three": (throughput, 3),
    "watch": (watching, 1),
    "memory": (memory_and_restart, 1),
    "failover": (failing_over, 3),
}


async def measure(run: Run, only: list[str]) -> None:
    for name, (part, size) in PARTS.items():
        if not only or name in only:
            await part(run, size)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the store beside etcd")
    parser.add_argument("only", nargs="*", choices=[[], *PARTS], help="parts to measure; all otherwise")
    parser.add_argument("--directory", type=Path, help="where to write; a temporary directory otherwise")
    parser.add_argument("--rounds", type=int, default=3, help="how often each store is measured")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each round takes")
    arguments = parser.parse_args()
    if (missing := etcd_is_missing()) is not None:
        print(f"bench: {missing}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(dir=arguments.directory) as scratch:
        uvloop.run(measure(Run(Path(scratch), arguments.rounds, arguments.seconds), arguments.only))
    return 0


if __name__ == "__main__":
    sys.exit(main())
