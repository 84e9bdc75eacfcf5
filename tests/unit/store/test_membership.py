"""Members come, get a vote, move, lead, go and are replaced, while writes go on; in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.store import (
    ChangeInProgress,
    MemberExists,
    MemberNotReady,
    NothingWritten,
    Put,
    QuorumAtRisk,
    Settings,
    StoreUnavailable,
    UnknownMember,
)
from orchestrator.store.v1.raft_pb2 import Message
from tests.unit.store.cluster.cluster import TIMING, Cluster
from tests.unit.store.cluster.virtual_time import run

Scenario = Callable[[Cluster], Coroutine[None, None, None]]
SMALL = Settings(segment_size=4096, entries_in_memory=10, snapshot_entries=50)
"""So small that a new member is helped by a snapshot."""
_NUMBERS = itertools.count()


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[..., None]:
    """Run a scenario on a fresh cluster in virtual time."""

    def simulate(
        scenario: Scenario, *, size: int = 3, seed: int = 1, settings: Settings | None = None, name: str = "it"
    ) -> None:
        async def everything() -> None:
            cluster = Cluster(tmp_path / name, size, seed, settings=settings)
            await cluster.start()
            try:
                async with asyncio.timeout(600):
                    await scenario(cluster)
            finally:
                await cluster.close()

        run(everything())

    return simulate


async def put(cluster: Cluster, member: str, key: str = "/key") -> int:
    return (await cluster.stores[member].txn([], [Put(key, b"%d" % next(_NUMBERS))])).revision


async def promote(cluster: Cluster, name: str) -> None:
    """As soon as it has caught up."""
    leader = await cluster.leader()
    while True:
        try:
            await cluster.stores[leader].promote_member(name)
            return
        except MemberNotReady:
            await asyncio.sleep(0.05)


async def grow(cluster: Cluster, name: str) -> None:
    """A new machine becomes a member with a vote."""
    cluster.add_machine(name)
    await cluster.start(name)
    leader = await cluster.leader()
    await cluster.stores[leader].add_member(name, name)
    await promote(cluster, name)


def voters(cluster: Cluster, member: str) -> list[str]:
    return sorted(cluster.stores[member]._raft.configuration.voters)


@asynccontextmanager
async def writing(cluster: Cluster) -> AsyncIterator[list[int]]:
    """Meanwhile somebody writes all the time, on whoever leads; the revisions of what was acknowledged."""
    revisions: list[int] = []
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            try:
                revisions.append(await put(cluster, await cluster.leader()))
            except (StoreUnavailable, KeyError):
                await asyncio.sleep(0.01)

    writer = asyncio.create_task(write())
    try:
        yield revisions
    finally:
        stop.set()
        await writer


def test_a_lone_member_grows_to_three_and_shrinks_to_another_one(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        await put(cluster, "a")
        async with writing(cluster) as revisions:
            await grow(cluster, "b")
            await grow(cluster, "c")
            assert voters(cluster, await cluster.leader()) == ["a", "b", "c"]
            await cluster.stores["c"].transfer_leadership("c")
            assert cluster.stores["c"].status().is_leader
            for name in ("a", "b"):
                gone = cluster.stores[name]
                await cluster.stores["c"].remove_member(name)
                assert "no member" in await gone.wait_failed() or "removed" in await gone.wait_failed()
                cluster.remove_machine(name)
        assert len(revisions) > 20
        assert voters(cluster, "c") == ["c"]
        last = await put(cluster, "c")
        assert last >= revisions[-1] + 1
        cluster.kill("c")
        await cluster.start("c")
        await cluster.stores["c"].wait_ready()
        assert (await cluster.stores["c"].range("/")).revision == last, "alone, it needs nobody to start again"

    simulate(scenario, size=1)


@pytest.mark.parametrize("settings", [Settings(), SMALL], ids=["by the log", "by a snapshot"])
def test_a_new_member_catches_up_and_counts_only_with_its_vote(
    simulate: Callable[..., None], settings: Settings
) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        for number in range(200):
            await put(cluster, leader, f"/{number % 20}")
        cluster.add_machine("d")
        await cluster.start("d")
        listing = await cluster.stores[leader].add_member("d", "d")
        assert [(each.name, each.learner) for each in listing.members][-1] == ("d", True)
        await cluster.settle()
        learner = cluster.stores["d"]
        assert await learner.range("/") == await cluster.stores[leader].range("/"), "it also reads fresh"
        followers = [name for name in cluster.followers(leader) if name != "d"]
        cluster.network.part(followers, [leader, "d"])
        with pytest.raises(StoreUnavailable):
            await put(cluster, leader)
        cluster.network.heal()
        await promote(cluster, "d")
        leader = await cluster.leader()
        away = next(name for name in cluster.followers(leader) if name != "d")
        cluster.network.part([away], [name for name in cluster.names if name != away])
        assert await put(cluster, leader) > 200, "three of four"

    simulate(scenario, settings=settings)


def test_a_learner_never_leads_and_a_dead_one_holds_nobody_up(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        cluster.add_machine("d")
        await cluster.start("d")
        await cluster.stores[leader].add_member("d", "d")
        await cluster.settle()
        with pytest.raises(MemberNotReady, match="no vote"):
            await cluster.stores[leader].transfer_leadership("d")
        cluster.network.part(["d"], cluster.followers("d"))
        await asyncio.sleep(10 * TIMING.election)
        term = cluster.stores[leader].status().term
        cluster.network.heal()
        await asyncio.sleep(10 * TIMING.election)
        assert cluster.stores[leader].status().term == term
        cluster.kill("d")
        await put(cluster, leader)
        with pytest.raises(MemberNotReady):
            await asyncio.sleep(2 * TIMING.election)
            await cluster.stores[leader].promote_member("d")

    simulate(scenario)


@pytest.mark.parametrize("asked", ["leader", "follower"])
def test_the_leader_is_removed_by_itself_and_another_leads_at_once(simulate: Callable[..., None], asked: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        gone = cluster.stores[leader]
        where = leader if asked == "leader" else cluster.followers(leader)[0]
        listing = await cluster.stores[where].remove_member(leader)
        assert leader not in [each.name for each in listing.members]
        assert "has been removed" in await gone.wait_failed()
        cluster.remove_machine(leader)
        began = cluster.clock.monotonic()
        await put(cluster, cluster.names[0])
        assert cluster.clock.monotonic() - began < TIMING.election
        assert voters(cluster, cluster.names[0]) == cluster.names

    simulate(scenario)


def test_who_alone_has_its_own_removal_in_its_log_may_be_the_one_to_lead(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        (other,) = cluster.followers(leader)
        await cluster.settle()
        gone = cluster.stores[leader]
        cluster.network.part([leader], [other])
        removing = asyncio.create_task(gone.remove_member(leader))
        await asyncio.sleep(0.05)
        cluster.kill(leader)
        with pytest.raises(StoreUnavailable, match="unknown"):
            await removing
        cluster.network.heal()
        await cluster.start(leader)
        await put(cluster, other)
        assert voters(cluster, other) == [other], "the other could not win against the longer log"
        assert "removed" in await cluster.stores[leader].wait_failed()

    simulate(scenario, size=2)


def test_a_member_left_alone_with_a_full_disk_is_not_sure_of_what_the_old_leader_has(
    simulate: Callable[..., None],
) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        (other,) = cluster.followers(leader)
        await cluster.settle()
        carry = cluster.network.carry

        def lossy(sender: str, receiver: str, message: Message) -> None:
            if sender != other or message.WhichOneof("body") != "appended":
                carry(sender, receiver, message)

        cluster.network.carry = lossy  # type: ignore[method-assign]
        left, store = cluster.stores[leader], cluster.stores[other]
        removal = asyncio.create_task(left.remove_member(leader))
        while not store._raft.is_alone or store._log.dirty or store._flushing:  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
        cluster.disks[other].full = True
        write = asyncio.create_task(put(cluster, other, "/mine"))
        while not store._log.full:  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
        assert left._raft.leads
        assert left._raft.last_index > store._raft.last_index, "the leader has what its follower gave up"
        cluster.disks[other].full = False
        revision = await write
        page = await store.range("/mine")
        assert [each.mod_revision for each in page.items] == [revision]
        removal.cancel()
        await asyncio.wait([removal])

    simulate(scenario, size=2, settings=Settings(segment_size=64))


def test_the_only_voter_s_full_disk_begins_another_term_where_learners_have_what_it_gave_up(
    simulate: Callable[..., None],
) -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.add_machine("d")
        await cluster.start("d")
        voter, learner = cluster.stores["a"], cluster.stores["d"]
        await voter.add_member("d", "d")
        await cluster.settle()
        term, last = voter._log.term, voter._raft.last_index
        cluster.flush_takes = 0.05
        cluster.disks["a"].full = True
        writes = [asyncio.create_task(put(cluster, "a"))]
        while not voter._log.full:  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
        assert learner._raft.last_index > last
        cluster.disks["a"].full = False
        await asyncio.sleep(3)
        writes.append(asyncio.create_task(put(cluster, "a")))
        await asyncio.wait(writes)
        assert writes[-1].exception() is None
        await cluster.settle()
        assert voter._log.term > term
        assert voter._log.entries[-1] == learner._log.entries[-1]

    simulate(scenario, size=1, settings=Settings(segment_size=64))


def test_a_member_that_was_away_when_it_was_removed_is_told_and_disturbs_nobody(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        absent, present = cluster.followers(leader)
        cluster.network.part([absent], [leader, present])
        await cluster.stores[present].remove_member(absent)
        await put(cluster, present)
        term = cluster.stores[leader].status().term
        await asyncio.sleep(10 * TIMING.election)
        cluster.network.heal()
        assert "is no member of this store any more" in await cluster.stores[absent].wait_failed()
        assert cluster.stores[leader].status().term == term
        cluster.kill(absent)
        await cluster.start(absent)
        assert "is no member of this store any more" in await cluster.stores[absent].wait_failed()
        cluster.remove_machine(absent)
        await put(cluster, leader)

    simulate(scenario)


def test_a_dead_member_is_replaced_by_a_new_one_of_its_name(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        dead, present = cluster.followers(leader)
        cluster.kill(dead)
        await put(cluster, leader)
        with pytest.raises(QuorumAtRisk):
            await asyncio.sleep(2 * TIMING.election)
            await cluster.stores[leader].remove_member(present)
        with pytest.raises(MemberExists):
            await cluster.stores[leader].add_member(dead, dead)
        await cluster.stores[leader].remove_member(dead)
        await put(cluster, leader)
        await grow(cluster, dead)
        leader = await cluster.leader()
        assert voters(cluster, leader) == sorted(["a", "b", "c"])
        other = next(name for name in cluster.names if name not in (leader, dead))
        cluster.kill(other)
        last = await put(cluster, leader)
        cluster.kill(dead)
        await cluster.start(dead)
        await cluster.stores[dead].wait_ready()
        assert (await cluster.stores[dead].range("/")).revision == last

    simulate(scenario, settings=SMALL)


def test_changes_one_at_a_time_and_none_that_makes_no_sense(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        store = cluster.stores[leader]
        follower = cluster.followers(leader)[0]
        for attempt, error in (
            (store.remove_member("x"), UnknownMember),
            (store.promote_member("x"), UnknownMember),
            (store.move_member("x", "y"), UnknownMember),
            (store.promote_member(follower), MemberExists),
            (store.add_member("d", follower), MemberExists),
            (cluster.stores[follower].transfer_leadership("x"), UnknownMember),
        ):
            with pytest.raises(error):
                await attempt
        outcomes = await asyncio.gather(
            *(cluster.stores[follower].add_member(name, name) for name in "def"), return_exceptions=True
        )
        refused = [each for each in outcomes if isinstance(each, ChangeInProgress)]
        assert len(refused) == 2
        assert len((await cluster.stores[follower].members()).members) == 4

    simulate(scenario)


def test_a_change_that_reaches_no_majority_is_unknown_and_rolled_back(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        old = await cluster.leader()
        others = [name for name in cluster.names if name != old]
        cluster.network.part([old], others)
        removing = asyncio.create_task(cluster.stores[old].remove_member(others[0]))
        await asyncio.sleep(0.05)
        assert voters(cluster, old) == sorted([old, others[1]]), "in force as soon as it is in the log"
        with pytest.raises(StoreUnavailable, match="unknown") as caught:
            await removing
        assert not isinstance(caught.value, NothingWritten)
        await put(cluster, others[0])
        cluster.network.heal()
        await cluster.settle()
        assert voters(cluster, old) == sorted(cluster.names)
        assert len((await cluster.stores[old].members()).members) == 3

    simulate(scenario)


def test_a_question_that_gets_lost_is_asked_again(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        follower = cluster.followers(leader)[0]
        await cluster.settle()
        cluster.network.cut([follower], [leader])
        asking = asyncio.create_task(cluster.stores[follower].members())
        await asyncio.sleep(TIMING.election / 2)
        cluster.network.heal()
        assert len((await asking).members) == 3

    simulate(scenario)


def test_whoever_is_no_leader_any_more_is_not_asked_again_and_again(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        follower = cluster.followers(leader)[0]
        await cluster.settle()
        cluster.kill(leader)
        await cluster.start(leader)
        asked: list[float] = []
        carry = cluster.network.carry

        def count(sender: str, receiver: str, message: Message) -> None:
            if message.WhichOneof("body") == "member_request":
                asked.append(cluster.clock.monotonic())
            carry(sender, receiver, message)

        cluster.network.carry = count  # type: ignore[method-assign]
        assert len((await cluster.stores[follower].members()).members) == 3
        assert len(asked) <= 3 * TIMING.election / TIMING.heartbeat

    simulate(scenario)


def test_without_a_leader_a_change_certainly_does_not_happen(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        absent, present = cluster.followers(leader)
        cluster.network.part([absent], [leader, present])
        await asyncio.sleep(4 * TIMING.election)
        with pytest.raises(NothingWritten):
            await cluster.stores[absent].add_member("d", "d")

    simulate(scenario)


def test_members_survive_restarts_at_any_step(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        async def restart_all() -> None:
            names = list(cluster.stores)
            for name in names:
                cluster.kill(name)
            await cluster.start(*names)
            await cluster.leader()

        for number in range(120):
            await put(cluster, await cluster.leader(), f"/{number % 20}")
        cluster.add_machine("d")
        await cluster.start("d")
        await restart_all()
        await cluster.stores[await cluster.leader()].add_member("d", "d")
        await restart_all()
        await promote(cluster, "d")
        await restart_all()
        assert voters(cluster, "d") == ["a", "b", "c", "d"]
        await cluster.stores[await cluster.leader()].move_member("d", "elsewhere")
        await restart_all()
        gone = cluster.followers(await cluster.leader())[0]
        store = cluster.stores[gone]
        await cluster.stores["d"].remove_member(gone)
        await store.wait_failed()
        cluster.remove_machine(gone)
        await restart_all()
        listing = await cluster.stores["d"].members()
        assert {each.name: each.address for each in listing.members}["d"] == "elsewhere"
        assert gone not in [each.name for each in listing.members]
        await cluster.settle()

    simulate(scenario, settings=SMALL)


def test_a_member_that_is_promoted_and_dies_is_only_waited_for_by_a_majority(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        await grow(cluster, "d")
        await grow(cluster, "e")
        leader = await cluster.leader()
        for name in ("d", "e"):
            if name != leader:
                cluster.kill(name)
        await put(cluster, leader)
        listing = await cluster.stores[leader].members()
        assert len(listing.members) == 5
        await asyncio.sleep(2 * TIMING.election)
        listing = await cluster.stores[leader].members()
        assert [each.name for each in listing.members if not each.reachable] == [
            name for name in ("d", "e") if name != leader
        ]

    simulate(scenario)


def test_the_lead_goes_where_it_is_sent_under_load(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        async with writing(cluster) as revisions:
            for name in ("c", "a", "b", "b"):
                asked = cluster.names[len(revisions) % 3]
                listing = await cluster.stores[asked].transfer_leadership(name)
                assert [each.name for each in listing.members if each.leader] == [name]
            await cluster.stores["a"].transfer_leadership()
            assert not cluster.stores["b"].status().is_leader
        assert revisions == sorted(revisions)

    simulate(scenario)


def test_the_lead_stays_where_nobody_can_take_it(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        absent, present = cluster.followers(leader)
        cluster.network.part([absent], [leader, present])
        await asyncio.sleep(2 * TIMING.election)
        with pytest.raises(MemberNotReady):
            await cluster.stores[leader].transfer_leadership(absent)
        await put(cluster, leader)
        assert cluster.stores[leader].status().is_leader

    simulate(scenario)


def test_whoever_has_just_been_left_alone_answers_nothing_before_it_has_what_others_acknowledged(
    simulate: Callable[..., None],
) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.stores[await cluster.leader()].transfer_leadership("a")
        revisions: list[int] = []

        async def write() -> None:
            with contextlib.suppress(StoreUnavailable):
                while True:
                    revisions.append(await put(cluster, "a"))

        async def remove() -> None:
            with contextlib.suppress(StoreUnavailable):
                await cluster.stores["a"].remove_member("a")

        tasks = [asyncio.create_task(write()) for _ in range(4)] + [asyncio.create_task(remove())]
        reads = 0
        while reads < 50:
            acknowledged = max(revisions, default=0)
            try:
                found = await cluster.stores["b"].range("/", limit=1)
            except StoreUnavailable:
                continue
            assert found.revision >= acknowledged
            reads += cluster.stores["b"]._raft.is_alone
            await asyncio.sleep(0.0002)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    for seed in range(5):
        simulate(scenario, size=2, seed=seed, name=f"{seed}")


def test_a_first_member_whose_disk_was_lost_elects_nobody_who_lacks_what_it_had(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.stores[await cluster.leader()].transfer_leadership("a")
        cluster.network.part(["c"], ["a", "b"])
        revision = await put(cluster, "a", "/acknowledged")
        cluster.kill("b")
        cluster.empty_machine("b")
        cluster.kill("a")
        cluster.network.heal()
        await cluster.start("b")
        await asyncio.sleep(10 * TIMING.election)
        assert not any(cluster.stores[name].status().leader for name in ("b", "c"))
        await cluster.start("a")
        async with asyncio.timeout(10):
            for name in "abc":
                found = None
                while found is None:
                    with contextlib.suppress(StoreUnavailable):
                        found = await cluster.stores[name].get("/acknowledged")
                assert found.mod_revision == revision
            await cluster.settle()
        await asyncio.sleep(2 * TIMING.heartbeat)
        # It has its vote back now.
        cluster.kill("a")
        async with asyncio.timeout(10):
            await put(cluster, await cluster.leader())

    simulate(scenario)


def test_a_first_member_whose_disk_was_lost_catches_up_under_the_same_leader(simulate: Callable[..., None]) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = await cluster.leader()
        lost, _ = cluster.followers(leader)
        await put(cluster, leader, "/acknowledged")
        await cluster.settle()
        cluster.kill(lost)
        cluster.empty_machine(lost)
        await cluster.start(lost)
        async with asyncio.timeout(10):
            await cluster.settle()
        assert await cluster.leader() == leader
        assert await cluster.stores[lost].get("/acknowledged", serializable=True) is not None

    simulate(scenario)
