"""Leader election in a world of candidates, one server that may be out of reach, and a clock that a test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.v1 import Lease
from orchestrator.client import Change, Listing
from orchestrator.clock import FakeClock
from orchestrator.runtime import LeaderElection
from tests.unit.client.fake_api import FakeApi

K = TypeVar("K", bound=KubeObject)


class Line:
    """One candidate's connection to the server, which can be cut; calls then hang until they are given up."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.up = asyncio.Event()
        self.up.set()
        self.hangs = False
        self.silent = 0
        """So many calls get no answer, as from one of several servers whose machine has died."""

    def cut(self, *, hangs: bool = False) -> None:
        self.hangs = hangs
        self.up.clear()
        self.api.cut(errors.ServiceUnavailable("cut"))

    def restore(self) -> None:
        self.up.set()

    async def _through(self) -> None:
        if self.silent:
            self.silent -= 1
            await asyncio.Event().wait()
        if self.up.is_set():
            return
        if self.hangs:
            await self.up.wait()
        raise errors.ServiceUnavailable("cut")

    async def connected(self) -> None:
        await self.up.wait()

    async def create(self, obj: K) -> K:
        await self._through()
        return await self.api.create(obj)

    async def update(self, obj: K) -> K:
        await self._through()
        return await self.api.update(obj)

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        await self._through()
        return await self.api.get(kind, name, namespace)

    async def list(
        self,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Listing[K]:
        await self._through()
        return await self.api.list(kind, namespace=namespace, limit=limit, continue_token=continue_token)

    async def watch(
        self,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> AsyncGenerator[Change[K], None]:
        await self._through()
        async for change in self.api.watch(kind, resource_version=resource_version):
            yield change


class Candidate:
    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.line = Line(world.api)
        self.world = world
        self.election = LeaderElection(self.line, "scheduler", name, world.clock, rng=random.Random(name))
        self.task: asyncio.Future[None] | None = None
        self.finish = asyncio.Event()

    def start(self) -> None:
        self.task = asyncio.ensure_future(self.election.run(self.work))

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def work(self) -> None:
        self.world.working.append(self.name)
        assert len(self.world.working) == 1, f"two lead: {self.world.working}"
        self.world.terms.append((self.name, self.world.clock.monotonic()))
        try:
            await self.finish.wait()
        finally:
            self.world.working.remove(self.name)


class World:
    def __init__(self) -> None:
        self.api = FakeApi()
        self.clock = FakeClock()
        self.working: list[str] = []
        self.terms: list[tuple[str, float]] = []
        self.candidates: list[Candidate] = []

    def join(self, name: str) -> Candidate:
        candidate = Candidate(self, name)
        candidate.start()
        self.candidates.append(candidate)
        return candidate

    @property
    def lease(self) -> Lease:
        return self.api.of(Lease)["kube-system/scheduler"]


@asynccontextmanager
async def made() -> AsyncIterator[World]:
    world = World()
    try:
        yield world
    finally:
        for candidate in world.candidates:
            candidate.line.restore()
            if candidate.task is not None:
                candidate.task.cancel()
        await asyncio.gather(*(each.task for each in world.candidates if each.task), return_exceptions=True)


async def test_one_leads_and_keeps_leading() -> None:
    async with made() as world:
        a = world.join("a")
        await world.clock.run(1)
        b = world.join("b")
        await world.clock.run(120)
        assert world.terms == [("a", 0)]
        assert a.election.leading and not b.election.leading
        assert b.election.holder == "a"
        spec = world.lease.spec
        assert (spec.holder_identity, spec.lease_duration_seconds, spec.lease_transitions) == ("a", 15, 0)
        assert spec.renew_time.ToDatetime() > spec.acquire_time.ToDatetime()


async def test_a_graceful_stop_hands_over_at_once() -> None:
    async with made() as world:
        a = world.join("a")
        await world.clock.run(1)
        world.join("b")
        await world.clock.run(60)
        stopped = world.clock.monotonic()
        await a.stop()
        await world.clock.settle(50)
        assert world.working == ["b"] and world.terms[1] == ("b", stopped)
        assert world.lease.spec.lease_transitions == 1


async def test_a_silent_end_is_waited_out() -> None:
    async with made() as world:
        a = world.join("a")
        await world.clock.run(1)
        world.join("b")
        await world.clock.run(31)
        # As if the machine were gone: nothing is given back.
        a.line.cut()
        await a.stop()
        gone = world.clock.monotonic()
        await world.clock.run(30)
        assert world.working == ["b"]
        assert 12 < world.terms[1][1] - gone < 18


@pytest.mark.parametrize("hangs", [False, True], ids=["refused", "hanging"])
async def test_who_cant_renew_steps_down_before_another_may_begin(hangs: bool) -> None:
    async with made() as world:
        a = world.join("a")
        await world.clock.run(1)
        world.join("b")
        await world.clock.run(31)
        a.line.cut(hangs=hangs)
        cut = world.clock.monotonic()
        while world.working == ["a"]:
            await world.clock.run(0.5)
        assert world.clock.monotonic() - cut <= 10.5
        while world.working != ["b"]:
            assert world.clock.monotonic() - cut < 20
            await world.clock.run(0.5)
        # Back again, it waits for its turn.
        a.line.restore()
        await world.clock.run(60)
        assert world.working == ["b"] and a.election.holder == "b"


@pytest.mark.parametrize(("silent", "leads"), [(1, True), (2, True), (3, False)])
async def test_one_silent_server_of_several_costs_no_lease(silent: int, leads: bool) -> None:
    async with made() as world:
        a = world.join("a")
        await world.clock.run(1)
        world.join("b")
        await world.clock.run(30)
        a.line.silent = silent
        await world.clock.run(60)
        assert (world.working == ["a"] and world.terms == [("a", 0)]) == leads


async def test_a_renewal_whose_answer_was_lost_is_still_held() -> None:
    async with made() as world:
        a = world.join("a")
        await world.clock.run(1)
        # The write happened, the answer did not come: the version known here is old.
        moved = clone(world.lease)
        world.api.put(moved)
        await world.clock.run(30)
        assert world.terms == [("a", 0)] and a.election.leading


async def test_a_lease_taken_by_force_is_lost() -> None:
    async with made() as world:
        a = world.join("a")
        await world.clock.run(1)
        forced = clone(world.lease)
        forced.spec.holder_identity = "somebody"
        world.api.put(forced)
        await world.clock.run(3)
        assert world.working == [] and not a.election.leading
        assert world.lease.spec.holder_identity == "somebody"
        await world.clock.run(20)
        assert world.working == ["a"]


async def test_work_that_ends_by_itself_ends_the_election() -> None:
    async with made() as world:
        a = world.join("a")
        await world.clock.run(5)
        a.finish.set()
        assert a.task is not None
        await a.task
        assert world.lease.spec.holder_identity == ""


async def test_work_that_fails_gives_the_lease_back_and_says_so() -> None:
    api, clock = FakeApi(), FakeClock()
    election = LeaderElection(Line(api), "scheduler", "a", clock, rng=random.Random(1))

    async def work() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await election.run(work)
    assert api.of(Lease)["kube-system/scheduler"].spec.holder_identity == ""


def test_the_times_must_leave_room() -> None:
    with pytest.raises(ValueError, match="retry < renew deadline < lease duration"):
        LeaderElection(FakeApi(), "x", "a", FakeClock(), lease_seconds=10, renew_deadline_seconds=10)


moves = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 2)),
    st.tuples(st.just("hang"), st.integers(0, 2)),
    st.tuples(st.just("restore"), st.integers(0, 2)),
    st.tuples(st.just("restart"), st.integers(0, 2)),
    st.tuples(st.just("pass"), st.sampled_from([1, 4, 11, 16])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(moves, max_size=15))
def test_never_two_and_in_the_end_one(script: list[tuple[str, int]]) -> None:
    asyncio.run(play(script))


async def play(script: list[tuple[str, int]]) -> None:
    async with made() as world:
        for name in ("a", "b", "c"):
            world.join(name)
        for move, argument in script:
            match move:
                case "cut" | "hang":
                    world.candidates[argument].line.cut(hangs=move == "hang")
                case "restore":
                    world.candidates[argument].line.restore()
                case "restart":
                    stopping = asyncio.ensure_future(world.candidates[argument].stop())
                    await world.clock.run(3)
                    await stopping
                    world.candidates[argument].start()
                case _:
                    await world.clock.run(argument)
            assert all(each.task is not None and not each.task.done() for each in world.candidates)
        for candidate in world.candidates:
            candidate.line.restore()
        await world.clock.run(60)
        assert len(world.working) == 1
