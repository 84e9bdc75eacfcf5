"""How followers hear of what is committed: with what comes next, soon, or at once where somebody waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from orchestrator.store import Put
from orchestrator.store.v1.raft_pb2 import Message
from tests.unit.store.cluster.cluster import Cluster
from tests.unit.store.cluster.virtual_time import run

WRITES = 50


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[[Callable[[Cluster], Coroutine[None, None, None]]], None]:
    def simulate(scenario: Callable[[Cluster], Coroutine[None, None, None]]) -> None:
        async def everything() -> None:
            cluster = Cluster(tmp_path, 3, 1)
            await cluster.start()
            try:
                await scenario(cluster)
            finally:
                await cluster.close()

        run(everything())

    return simulate


async def _write(cluster: Cluster, member: str) -> list[float]:
    """The seconds that each of some writes took, one after the other."""
    times = []
    for number in range(WRITES):
        began = cluster.clock.monotonic()
        await cluster.stores[member].txn([], [Put(f"/{number}", b"%s writes %d" % (member.encode(), number))])
        times.append(cluster.clock.monotonic() - began)
    return times


def test_what_is_written_in_a_row_costs_each_follower_one_message(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        # What an election leaves behind, as somebody who has just read through a follower, is over.
        await asyncio.sleep(2.0)
        sent: Counter[str] = Counter()
        observe = cluster.network.observe
        assert observe is not None

        def count(sender: str, receiver: str, message: Message) -> None:
            if sender == leader and message.WhichOneof("body") == "append_entries":
                sent[receiver] += 1
            observe(sender, receiver, message)

        cluster.network.observe = count
        times = await _write(cluster, leader)
        # A sign of life now and then, and news that took longer than they may, come on top.
        assert max(sent.values()) <= 1.3 * WRITES + sum(times) / 0.005
        assert max(sent.values()) < 2 * WRITES

    simulate(scenario)


def test_a_follower_where_nobody_waits_hears_of_a_commit_soon(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        await asyncio.sleep(2.0)
        await _write(cluster, leader)
        await asyncio.sleep(0.03)
        revision = cluster.stores[leader].status().revision
        assert {store.status().revision for store in cluster.stores.values()} == {revision}

    simulate(scenario)


def test_a_write_through_a_follower_does_not_wait_for_what_comes_next(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        await asyncio.sleep(2.0)
        at_leader = await _write(cluster, leader)
        at_follower = await _write(cluster, cluster.followers(leader)[0])
        # There and back again once more; waiting for the delayed news would add five milliseconds.
        assert sorted(at_follower)[WRITES // 2] < sorted(at_leader)[WRITES // 2] + 0.004

    simulate(scenario)
