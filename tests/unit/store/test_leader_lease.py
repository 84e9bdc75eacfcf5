"""Reads by lease: without a message while it is certain that nobody else leads, and never a moment longer."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from orchestrator.store import Put, StoreUnavailable
from orchestrator.store.membership import Timing
from orchestrator.store.replication import LEASE_SHARE
from orchestrator.store.v1.raft_pb2 import Appended, Message, RequestVote
from tests.unit.store.cluster.cluster import TIMING, Cluster
from tests.unit.store.cluster.virtual_time import run
from tests.unit.store.test_protocol import TIMING as ENGINE_TIMING
from tests.unit.store.test_protocol import Engine

Scenario = Callable[[Cluster], Coroutine[None, None, None]]


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[..., None]:
    def simulate(scenario: Scenario, *, seed: int = 1, timing: Timing = TIMING) -> None:
        async def everything() -> None:
            cluster = Cluster(tmp_path / str(seed), 3, seed, timing=timing)
            await cluster.start()
            try:
                async with asyncio.timeout(600):
                    await cluster.settle()
                    await scenario(cluster)
            finally:
                await cluster.close()

        run(everything())

    return simulate


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    engine.log.close()


def test_a_leader_reads_without_a_message(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        sent, now = cluster.network.sent, cluster.clock.monotonic()
        for _ in range(100):
            await cluster.stores[leader].get("/settled")
        assert (cluster.network.sent, cluster.clock.monotonic()) == (sent, now)

    simulate(scenario)


def test_without_leases_every_read_asks_a_majority(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        for _ in range(10):
            sent = cluster.network.sent
            await cluster.stores[leader].get("/settled")
            assert cluster.network.sent > sent

    simulate(scenario, timing=Timing(heartbeat=0.05, election=0.3, patience=2.0, lease=False))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cut_off", ["parted", "stopped"])
def test_the_lease_is_over_before_another_can_lead(simulate: Callable[..., None], seed: int, cut_off: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        old = await cluster.leader()
        others = [name for name in cluster.names if name != old]
        raft = cluster.stores[old]._raft
        assert raft.may_read()
        if cut_off == "parted":
            cluster.network.part([old], others)
        else:
            cluster.stop(old)
        while not any(cluster.stores[name]._raft.leads for name in others):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert not raft.may_read()
        await cluster.stores[others[0]].txn([], [Put("/a", b"new-%d" % seed)])
        if cut_off == "stopped":
            cluster.go_on(old)
        cluster.network.heal()
        found = await cluster.stores[old].get("/a")
        assert found is not None

    simulate(scenario, seed=seed)


def test_a_leader_that_hands_over_has_given_its_lease_up(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        old = await cluster.leader()
        heir = cluster.followers(old)[0]
        held: list[float] = []

        async def look() -> None:
            while not cluster.stores[heir]._raft.leads:  # noqa: ASYNC110
                await asyncio.sleep(0.0001)
            held.append(cluster.stores[old]._raft.may_read())

        looking = asyncio.create_task(look())
        await cluster.stores[old].transfer_leadership(heir)
        await looking
        assert held == [False]

    simulate(scenario)


def test_the_lease_counts_from_the_sending_of_what_a_majority_has_answered(engine: Engine) -> None:
    engine.lead()
    term, first = engine.log.term, engine.log.next_index - 1
    engine.wire.said.clear()
    engine.turn()
    sent_at = engine.clock.monotonic()
    sequences = {member: message.sequence for member, message in engine.wire.take("append_entries")}
    engine.clock.advance(0.2)

    def answer(member: str) -> None:
        body = Appended(success=True, match_index=first)
        engine.hear(member, Message(term=term, sequence=sequences[member], appended=body))
        engine.turn()

    if not sequences:
        engine.turn()
        sent_at = engine.clock.monotonic()
        sequences = {member: message.sequence for member, message in engine.wire.take("append_entries")}
        engine.clock.advance(0.2)
    answer("b")
    assert not engine.raft.may_read(), "two of five are no majority"
    answer("c")
    assert engine.raft.may_read()
    left = sent_at + LEASE_SHARE * ENGINE_TIMING.election - engine.clock.monotonic()
    engine.clock.advance(left - 0.01)
    assert engine.raft.may_read()
    engine.clock.advance(0.02)
    assert not engine.raft.may_read()
    answer("d")
    assert not engine.raft.may_read(), "a late answer to an old message is no news"


def test_whoever_asks_another_to_take_over_reads_by_no_lease_from_then_on(engine: Engine) -> None:
    engine.lead()
    term, last = engine.log.term, engine.log.next_index - 1
    engine.turn()
    engine.raft.send()
    for member in ("b", "c", "d", "e"):
        body = Appended(success=True, match_index=last)
        engine.hear(member, Message(term=term, sequence=1, appended=body))
    engine.turn()
    assert engine.raft.may_read()
    engine.raft.hand_over("b")
    engine.wire.said.clear()
    engine.turn()
    assert [member for member, _ in engine.wire.take("timeout_now")] == ["b"]
    assert not engine.raft.may_read(), "the others may elect b at once"


def test_a_restarted_member_elects_nobody_before_a_leader_it_forgot_has_lost_its_lease(tmp_path: Path) -> None:
    before = Engine(tmp_path)
    before.hear("b", before.offer(1, (1, 0), (2, 1)))
    before.turn()
    before.log.close()
    again = Engine(tmp_path)
    asked = RequestVote(last_index=9, last_term=1, since=1)
    again.hear("c", Message(term=2, request_vote=asked))
    again.clock.advance(ENGINE_TIMING.election * 0.99)
    again.hear("c", Message(term=2, request_vote=asked))
    assert not again.wire.take("vote")
    asked.transfer = True
    again.hear("c", Message(term=2, request_vote=asked))
    ((member, vote),) = again.wire.take("vote")
    assert (member, vote.vote.granted) == ("c", True), "the leader itself wants it"
    again.log.close()


def test_readers_on_followers_never_see_less_than_readers_on_the_leader(simulate: Callable[..., None]) -> None:
    """Everybody reads all the time while leaders are cut off, stopped and relieved of their lead."""

    async def scenario(cluster: Cluster) -> None:
        chance = random.Random(5)
        numbers = itertools.count()
        acknowledged = 0
        stop = asyncio.Event()

        async def write() -> None:
            nonlocal acknowledged
            while not stop.is_set():
                name = chance.choice(cluster.names)
                try:
                    result = await cluster.stores[name].txn([], [Put("/a", b"%d" % next(numbers))])
                except StoreUnavailable:
                    await asyncio.sleep(0.01)
                    continue
                acknowledged = max(acknowledged, result.revision)

        async def read() -> None:
            while not stop.is_set():
                name = chance.choice(cluster.names)
                expected = acknowledged
                try:
                    revision = (await cluster.stores[name].range("/a")).revision
                except StoreUnavailable:
                    await asyncio.sleep(0.01)
                    continue
                assert revision >= expected, f"{name} reads revision {revision}, {expected} was acknowledged"
                await asyncio.sleep(chance.expovariate(200))

        tasks = [asyncio.create_task(work()) for work in (write, read, read, read, read)]
        for _ in range(30):
            leader = next((name for name in cluster.names if cluster.stores[name]._raft.leads), cluster.names[0])
            match chance.randrange(3):
                case 0:
                    cluster.network.part([leader], [name for name in cluster.names if name != leader])
                case 1:
                    cluster.stop(leader)
                case 2:
                    cluster.stores[leader]._raft.hand_over()
            await asyncio.sleep(chance.uniform(0.1, 1.5))
            cluster.network.heal()
            cluster.go_on(leader)
            await asyncio.sleep(chance.uniform(0.1, 0.5))
        stop.set()
        await asyncio.gather(*tasks)
        assert acknowledged > 100

    simulate(scenario)
