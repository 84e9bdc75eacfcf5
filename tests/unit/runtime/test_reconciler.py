"""The reconciler around a small controller: pods for a wanted number, under lost answers, conflicts and breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone, key_of
from orchestrator.api.v1 import ConfigMap, ObjectMeta, Pod
from orchestrator.client import Informer
from orchestrator.clock import FakeClock
from orchestrator.runtime import Deletion, Plan, Reconciler
from orchestrator.runtime.reconciler import AnyInformer
from tests.unit.client.fake_api import FakeApi


@dataclass(frozen=True)
class Seen:
    wish: ConfigMap
    pods: Sequence[Pod]


class Sizer:
    """Keeps as many pods labelled with a ConfigMap's name as the ConfigMap says, under names never used before.

    Random names are the hard case: doing it twice is not caught by the name being taken.
    """

    name = "sizer"

    def __init__(self, api: FakeApi, clock: FakeClock) -> None:
        self.wishes: Informer[ConfigMap] = Informer(api, ConfigMap, clock=clock, rng=random.Random(2))
        self.pods: Informer[Pod] = Informer(api, Pod, clock=clock, rng=random.Random(3))
        self.decided: list[tuple[int, int]] = []
        self.requeue_after: float | None = None
        self.bug = False
        self._names = iter(range(10**6))

    def informers(self) -> Sequence[AnyInformer]:
        return (self.wishes, self.pods)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        if informer is self.wishes:
            return (key_of(obj),)
        return (f"default/{obj.metadata.labels['of']}",)

    def observe(self, key: str) -> Seen | None:
        wish = self.wishes.get_by_key(key)
        if wish is None:
            return None
        return Seen(wish, [pod for pod in self.pods.list() if pod.metadata.labels["of"] == wish.metadata.name])

    def decide(self, seen: Seen, now: datetime) -> Plan:
        if self.bug:
            raise RuntimeError("a bug")
        wanted = int(seen.wish.data["pods"])
        self.decided.append((wanted, len(seen.pods)))
        of = seen.wish.metadata.name
        return Plan(
            create=[
                Pod(metadata=ObjectMeta(namespace="default", name=f"{of}-{next(self._names)}", labels={"of": of}))
                for _ in range(wanted - len(seen.pods))
            ],
            delete=[Deletion(pod) for pod in seen.pods[wanted:]],
            requeue_after=self.requeue_after,
        )


def wish(pods: int, name: str = "web") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="default", name=name), data={"pods": str(pods)})


@dataclass
class Scene:
    api: FakeApi
    clock: FakeClock
    controller: Sizer
    most: int = 0

    async def until(self, pods: int) -> None:
        for _ in range(100):
            if len(self.api.of(Pod)) == pods:
                break
            await self.clock.run(10)
        await self.clock.run(1)
        assert len(self.api.of(Pod)) == pods


@asynccontextmanager
async def running(api: FakeApi, *, workers: int = 3) -> AsyncIterator[Scene]:
    clock = FakeClock()
    controller = Sizer(api, clock)
    reconciler = Reconciler(controller, api, clock, workers=workers, rng=random.Random(4))
    ready = asyncio.Event()
    task = asyncio.ensure_future(reconciler.run(ready.set))
    try:
        await ready.wait()
        yield Scene(api, clock, controller)
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_acts_on_what_is_there_and_on_what_changes() -> None:
    api = FakeApi()
    api.put(wish(3))
    async with running(api) as scene:
        await scene.until(3)
        api.put(wish(1))
        await scene.until(1)
        api.remove(Pod, next(iter(api.of(Pod))))
        await scene.until(1)
        api.put(wish(2, "other"))
        await scene.until(3)


async def test_never_decides_before_it_sees_what_it_did() -> None:
    api = FakeApi()
    api.put(wish(3))
    async with running(api) as scene:
        await scene.until(3)
        # Each creation wakes the key again, and it sees either none or all of them.
        assert {present for _, present in scene.controller.decided} == {0, 3}
        assert len([1 for wanted, present in scene.controller.decided if present < wanted]) == 1


async def test_a_lost_answer_is_not_repeated() -> None:
    api = FakeApi(lose_answers=1)
    api.put(wish(3))
    async with running(api) as scene:
        await scene.until(3)
        assert len(api.called("batch")) == 1


async def test_a_lost_answer_while_the_watch_is_broken_is_not_repeated() -> None:
    api = FakeApi(lose_answers=1)
    api.put(wish(3))
    async with running(api) as scene:
        api.reachable.clear()
        api.cut(errors.ServiceUnavailable("down"))
        api.fail("list", *[errors.ServiceUnavailable("down")] * 2)
        await scene.clock.run(30)
        api.reachable.set()
        await scene.until(3)


async def test_refusals_are_retried_ever_more_slowly(caplog: pytest.LogCaptureFixture) -> None:
    refused = 12
    api = FakeApi()
    times: list[float] = []

    def allow(obj: KubeObject) -> errors.ApiError | None:
        if isinstance(obj, Pod) and len(times) < refused:
            times.append(scene.clock.monotonic())
            return errors.Forbidden("exceeded quota")
        return None

    api.allow = allow
    async with running(api) as scene:
        api.put(wish(1))
        await scene.until(1)
        assert times == sorted(times) and times[-1] - times[-2] > 10 * (times[2] - times[1])
        assert "reconcile failed" in caplog.text
        assert "web-" in str(caplog.records[0].__dict__["fields"])


async def test_a_controllers_fault_concerns_one_key(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    api.put(wish(1))
    async with running(api) as scene:
        await scene.until(1)
        scene.controller.bug = True
        api.put(wish(2))
        await scene.clock.run(1)
        assert "a bug" in caplog.text
        scene.controller.bug = False
        await scene.until(2)


async def test_looks_again_when_the_plan_says_so() -> None:
    api = FakeApi()
    api.put(wish(0))
    async with running(api) as scene:
        scene.controller.requeue_after = 30
        api.put(wish(0))
        await scene.clock.run(29)
        before = len(scene.controller.decided)
        await scene.clock.run(61)
        assert len(scene.controller.decided) == before + 3


async def test_looks_at_everything_now_and_then() -> None:
    api = FakeApi()
    api.put(wish(0))
    async with running(api) as scene:
        await scene.clock.run(10)
        before = len(scene.controller.decided)
        await scene.clock.run(3600)
        assert 4 <= len(scene.controller.decided) - before <= 7


async def test_a_second_run_starts_from_the_servers_state() -> None:
    api = FakeApi()
    api.put(wish(2))
    clock = FakeClock()
    controller = Sizer(api, clock)
    for present in (0, 5):
        while len(api.of(Pod)) < present:
            api.put(Pod(metadata=ObjectMeta(namespace="default", name=f"x{len(api.of(Pod))}", labels={"of": "web"})))
        controller.decided.clear()
        task = asyncio.ensure_future(Reconciler(controller, api, clock, rng=random.Random(1)).run(lambda: None))
        await clock.run(5)
        assert controller.decided[0] == (2, present)
        assert len(api.of(Pod)) == 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


moves = st.one_of(
    st.tuples(st.just("wish"), st.integers(0, 4)),
    st.tuples(st.just("kill"), st.integers(0, 3)),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("cut"), st.none()),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("fault"), st.sampled_from(["batch", "list", "watch"])),
    st.tuples(st.just("refuse"), st.none()),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.01, 1.0, 30.0])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(moves, max_size=25))
def test_never_more_pods_than_were_wanted(script: list[tuple[str, object]]) -> None:
    asyncio.run(play(script))


async def play(script: list[tuple[str, object]]) -> None:
    api = FakeApi()
    api.put(wish(2))
    # The highest wish there ever was bounds what may exist: each creation answers a pod that was really missing.
    highest = 2
    refusals: list[errors.ApiError] = []

    def allow(obj: KubeObject) -> errors.ApiError | None:
        if isinstance(obj, Pod):
            if refusals:
                return refusals.pop()
            assert len(api.of(Pod)) < highest, "one pod too many"
        return None

    api.allow = allow
    async with running(api) as scene:
        for move, argument in script:
            match move, argument:
                case "wish", int():
                    highest = max(highest, argument)
                    api.put(wish(argument))
                case "kill", int():
                    if argument < len(api.of(Pod)):
                        api.remove(Pod, sorted(api.of(Pod))[argument])
                case "lose", None:
                    api.lose_answers += 1
                case "cut", None:
                    api.cut(errors.ServiceUnavailable("broken"))
                case "compact", None:
                    api.compact()
                case "fault", str():
                    api.fail(argument, errors.ServiceUnavailable("broken"))
                case "refuse", None:
                    refusals.append(errors.Forbidden("no"))
                case "pass", float():
                    await scene.clock.run(argument, turns=5)
        wanted = int(clone(api.of(ConfigMap)["default/web"]).data["pods"])
        await scene.until(wanted)
