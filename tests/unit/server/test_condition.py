"""A server that has no leader for long says so, once, and says when that is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest

from orchestrator.clock import FakeClock
from orchestrator.server.condition import LOOK_SECONDS, PATIENCE_SECONDS, Condition, trouble
from orchestrator.server.directory import advertised, reachable
from orchestrator.store import Store, StoreStatus

WELL = StoreStatus(
    member="n1",
    leader="n2",
    is_leader=False,
    term=3,
    revision=9,
    compacted_revision=1,
    keys=2,
    db_size=10,
    history_size=0,
    history_events=0,
    leases=0,
    log_size=100,
    log_first_index=1,
    log_last_index=9,
    commit_index=9,
    applied_index=9,
    snapshot_index=0,
    watchers=1,
    fsyncs=4,
    fsync_seconds=0.1,
    pending_writes=0,
    failure=None,
)
LEADERLESS = replace(WELL, leader=None)


class Told:
    """The part of a store that is looked at, and what came of it."""

    def __init__(self) -> None:
        self.now = WELL
        self.turns: list[str] = []

    def status(self) -> StoreStatus:
        return self.now

    async def turned(self, problem: str) -> None:
        self.turns.append(problem)


@asynccontextmanager
async def looking(told: Told, clock: FakeClock) -> AsyncIterator[None]:
    task = asyncio.create_task(Condition(cast("Store", told), clock, told.turned).run())
    await clock.sleeping()
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (WELL, ""),
        (LEADERLESS, "the store has no leader"),
        (replace(WELL, failure="fsync failed"), "the store has failed: fsync failed"),
        (replace(WELL, alarms=("nospace",)), "nospace: its disk is full: reads and, for a while, deletes go on"),
    ],
    ids=["well", "leaderless", "failed", "alarm"],
)
def test_what_is_trouble(status: StoreStatus, said: str) -> None:
    assert said in trouble(status)
    assert bool(said) == bool(trouble(status))


async def test_an_election_is_no_reason_to_stop_serving() -> None:
    told, clock = Told(), FakeClock()
    async with looking(told, clock):
        for _ in range(10):
            told.now = LEADERLESS
            await clock.run(PATIENCE_SECONDS - LOOK_SECONDS)
            told.now = WELL
            await clock.run(LOOK_SECONDS)
    assert told.turns == []


async def test_lasting_trouble_is_told_once_and_its_end_too() -> None:
    told, clock = Told(), FakeClock()
    async with looking(told, clock):
        for status in (LEADERLESS, WELL, LEADERLESS, WELL):
            told.now = status
            await clock.run(PATIENCE_SECONDS + 2 * LOOK_SECONDS)
    assert [bool(problem) for problem in told.turns] == [True, False, True, False]


@pytest.mark.parametrize(
    ("local", "others", "found"),
    [
        ("127.0.0.1:7443", {}, ["127.0.0.1:7443"]),
        (
            "127.0.0.1:7443",
            {"n3": "10.0.0.3:7443", "n2": "10.0.0.2:7443"},
            ["127.0.0.1:7443", "10.0.0.2:7443", "10.0.0.3:7443"],
        ),
        ("127.0.0.1:7443", {"n2": "[fd00::2]:7443", "n3": "n3.example:7443"}, ["127.0.0.1:7443"]),
        ("[::1]:7443", {"n2": "[fd00::2]:7443", "n3": "10.0.0.3:7443"}, ["[::1]:7443", "[fd00::2]:7443"]),
        ("n1.example:7443", {"n2": "10.0.0.2:7443"}, ["n1.example:7443"]),
        ("127.0.0.1:7443", {"n2": "127.0.0.1:7443"}, ["127.0.0.1:7443"]),
    ],
)
def test_the_servers_a_machine_can_use(local: str, others: dict[str, str], found: list[str]) -> None:
    assert reachable(local, others) == found


@pytest.mark.parametrize(
    ("addresses", "local", "said"),
    [
        (["10.0.0.1"], "127.0.0.1:7443", "10.0.0.1:7443"),
        (["fd00::1"], "[::1]:7443", "[fd00::1]:7443"),
        ([], "127.0.0.1:9", "127.0.0.1:9"),
        ([], "[::1]:9", "[::1]:9"),
    ],
)
def test_where_others_reach_a_server(addresses: list[str], local: str, said: str) -> None:
    assert advertised(addresses, local) == said
