"""What the store's benchmark does to a cluster: one asyncio process with grpc.aio, the same for both stores."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import grpc.aio

from tests.bench.store_clusters import PREFIX, Call, Caller, Cluster, WatchStream, unary

VALUE = bytes(range(256)) * 2
KEYS_PER_CLIENT = 1000


@dataclass
class Rate:
    """Calls a second, and the time of one in ms; of several rounds the medians."""

    rates: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def add(self, count: int, seconds: float, times: Sequence[float]) -> None:
        self.rates.append(count / seconds)
        if times:
            self.times.append(1e3 * statistics.median(times))

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def time(self) -> float:
        return statistics.median(self.times)


async def calls(call: Callable[[int, int], Awaitable[None]], clients: int, seconds: float, into: Rate) -> None:
    """`clients` that each make one call after the other; `call` makes the one with this number of this client."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def client(name: int) -> None:
        number = 0
        while (began := time.perf_counter()) < end:
            await call(name, number)
            times.append(time.perf_counter() - began)
            number += 1

    began = time.perf_counter()
    await asyncio.gather(*(client(name) for name in range(clients)))
    into.add(len(times), time.perf_counter() - began, times)


async def puts(caller: Caller, clients: int, seconds: float, into: Rate) -> None:
    async def put(client: int, number: int) -> None:
        await caller.put(f"{PREFIX}{client}/{number % KEYS_PER_CLIENT}", VALUE)

    await calls(put, clients, seconds, into)


async def gets(caller: Caller, clients: int, seconds: float, into: Rate) -> None:
    async def get(client: int, number: int) -> None:
        await caller.get(f"{PREFIX}{client}/0")

    for client in range(clients):
        await caller.put(f"{PREFIX}{client}/0", VALUE)
    await calls(get, clients, seconds, into)


async def watched(
    cluster: Cluster, caller: Caller, channel: grpc.aio.Channel, watchers: int, writers: int, seconds: float, into: Rate
) -> None:
    """Events that all watchers together are given in a second, while `writers` write as fast as they can."""
    streams = await asyncio.gather(*(cluster.watch(channel) for _ in range(watchers)))
    seen = 0

    async def follow(stream: WatchStream) -> None:
        nonlocal seen
        while isinstance(reply := await stream.read(), bytes):
            seen += cluster.events(reply)

    following = [asyncio.create_task(follow(stream)) for stream in streams]
    began = time.perf_counter()
    await puts(caller, writers, seconds, Rate())
    into.add(seen, time.perf_counter() - began, ())
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*following, return_exceptions=True)


async def fill(caller: Caller, keys: int, clients: int) -> None:
    """Each key once, by a put of its own."""

    async def client(first: int) -> None:
        for number in range(first, keys, clients):
            await caller.put(f"{PREFIX}{number:08}", VALUE)

    await asyncio.gather(*(client(first) for first in range(clients)))


async def failover(cluster: Cluster) -> float:
    """Seconds from the kill -9 of the leader to the next write that is acknowledged, by whichever member."""
    leader = await cluster.leader()
    others = [name for name in cluster.members if name != leader]
    channels = [cluster.channel(name) for name in others]
    request = cluster.put_request(f"{PREFIX}failover", VALUE)
    try:
        # Connections stand, and every member takes writes, before it begins.
        for channel in channels:
            await unary(channel, cluster.put_path)(request, timeout=10.0)
        cluster.kill(leader)
        began = time.perf_counter()
        writers = [asyncio.create_task(_write(unary(channel, cluster.put_path), request)) for channel in channels]
        done, others_waiting = await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
        took = time.perf_counter() - began
        for writer in (*done, *others_waiting):
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    finally:
        for channel in channels:
            await channel.close(None)
    cluster.start(leader)
    await cluster.answers(leader)
    return took


async def _write(put: Call, request: bytes) -> None:
    """Try until it is acknowledged."""
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await put(request, timeout=1.0)
            return
        await asyncio.sleep(0.01)
