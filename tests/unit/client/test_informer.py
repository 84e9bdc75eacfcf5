"""The informer against a scripted server: what it promises, one by one, and then under everything at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, ObjectMeta
from orchestrator.client import Informer
from orchestrator.clock import FakeClock
from tests.unit.client.fake_api import FakeApi

Seen = tuple[str, str | None, str | None]


def thing(name: str, value: str = "", *, uid: str = "") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="default", name=name, uid=uid), data={"value": value})


@dataclass
class Scene:
    api: FakeApi
    clock: FakeClock
    informer: Informer[ConfigMap]
    seen: list[Seen]

    def note(self, old: ConfigMap | None, new: ConfigMap | None) -> None:
        some = new if new is not None else old
        assert some is not None
        self.seen.append(
            (some.metadata.name, old.data["value"] if old is not None else None, new.data["value"] if new else None)
        )

    async def caught_up(self) -> None:
        """Until the cache includes everything the server has, however many backoffs that takes."""
        reached = asyncio.ensure_future(self.informer.reached(self.api.revision))
        while not reached.done():
            await self.clock.run(40)
            self.api.bookmark(ConfigMap)
        await reached


@asynccontextmanager
async def running(api: FakeApi, *, page_size: int = 500) -> AsyncIterator[Scene]:
    clock = FakeClock()
    informer: Informer[ConfigMap] = Informer(
        api,
        ConfigMap,
        indexes={"value": lambda obj: [obj.data["value"]]},
        clock=clock,
        rng=random.Random(1),
        page_size=page_size,
    )
    scene = Scene(api, clock, informer, [])
    informer.subscribe(scene.note)
    task = asyncio.ensure_future(informer.run())
    try:
        await informer.synced()
        yield scene
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_lists_in_pages_then_follows() -> None:
    api = FakeApi()
    for number in range(5):
        api.put(thing(f"t{number}", "old"))
    async with running(api, page_size=2) as scene:
        assert len(api.called("list")) == 3
        assert scene.informer.resource_version == api.revision
        assert api.called("list")[0] == ""
        assert {obj.metadata.name for obj in scene.informer.list("default")} == {f"t{n}" for n in range(5)}
        assert len(scene.seen) == 5

        api.put(thing("t1", "new"))
        removed = api.remove(ConfigMap, "default/t2")
        await scene.informer.reached(int(removed.metadata.resource_version))
        assert scene.seen[5:] == [("t1", "old", "new"), ("t2", "old", None)]
        changed = scene.informer.get_by_key("default/t1")
        assert changed is not None and changed.data["value"] == "new"
        assert scene.informer.get("default", "t2") is None
        assert len(scene.informer) == 4
        assert len(api.called("list")) == 3 and len(api.called("watch")) == 1


async def test_writes_between_the_pages_are_not_missed() -> None:
    api = FakeApi()
    for number in range(4):
        api.put(thing(f"t{number}", "old"))

    def before_page() -> None:
        if len(api.called("list")) == 2:
            api.put(thing("t0", "new"), thing("t9", "new"))

    api.before_page = before_page
    async with running(api, page_size=2) as scene:
        await scene.caught_up()
        assert scene.informer.resource_version == api.revision
        assert scene.seen[4:] == [("t0", "old", "new"), ("t9", None, "new")]


async def test_indexes_follow_the_objects() -> None:
    api = FakeApi()
    api.put(thing("a", "red"))
    api.put(thing("b", "red"))
    async with running(api) as scene:
        api.put(thing("a", "blue"))
        api.remove(ConfigMap, "default/b")
        await scene.informer.reached(api.revision)
        assert scene.informer.by_index("value", "red") == []
        assert [obj.metadata.name for obj in scene.informer.by_index("value", "blue")] == ["a"]
        assert scene.informer.index_values("value") == ["blue"]
        with pytest.raises(KeyError):
            scene.informer.by_index("colour", "blue")

        scene.informer.add_index("name", lambda obj: [obj.metadata.name])
        assert len(scene.informer.by_index("name", "a")) == 1
        with pytest.raises(ValueError, match="another index"):
            scene.informer.add_index("name", lambda obj: [])


async def test_resumes_where_it_was_without_repeating() -> None:
    api = FakeApi()
    async with running(api) as scene:
        # One revision with three changes, and the stream breaks after the second.
        api.stream_lengths.append(2)
        api.cut()
        await scene.clock.run(1)
        api.put(thing("a", "1"), thing("b", "1"), thing("c", "1"))
        await scene.caught_up()
        assert scene.seen == [("a", None, "1"), ("b", None, "1"), ("c", None, "1")]
        assert len(api.called("list")) == 1


async def test_a_bookmark_moves_the_point_of_resumption() -> None:
    api = FakeApi()
    async with running(api) as scene:
        for _ in range(7):
            api.write_elsewhere()
        api.bookmark(ConfigMap)
        await scene.informer.reached(api.revision)
        api.cut()
        await scene.clock.run(1)
        assert api.called("watch")[-1] == str(api.revision)
        assert scene.seen == []


async def test_compaction_while_disconnected_shows_the_difference() -> None:
    api = FakeApi()
    for name in ("same", "changed", "gone", "reborn"):
        api.put(thing(name, "old", uid=f"{name}-1"))
    async with running(api) as scene:
        same = scene.informer.get("default", "same")
        del scene.seen[:]
        api.cut(errors.ServiceUnavailable("the machine is gone"))
        api.put(thing("changed", "new"))
        api.remove(ConfigMap, "default/gone")
        api.remove(ConfigMap, "default/reborn")
        api.put(thing("reborn", "young", uid="reborn-2"))
        api.put(thing("added", "new"))
        api.compact()
        await scene.caught_up()
        assert sorted(scene.seen[:2]) == [("gone", "old", None), ("reborn", "old", None)]
        assert sorted(scene.seen[2:], key=str) == [
            ("added", None, "new"),
            ("changed", "old", "new"),
            ("reborn", None, "young"),
        ]
        # What did not change is the same object still: nothing was copied.
        assert scene.informer.get("default", "same") is same


async def test_subscribers_see_the_whole_difference_at_once() -> None:
    api = FakeApi()
    api.put(thing("a", "old"))
    async with running(api) as scene:
        sizes: list[int] = []
        scene.informer.subscribe(lambda old, new: sizes.append(len(scene.informer)))
        api.remove(ConfigMap, "default/a")
        for name in ("b", "c", "d"):
            api.put(thing(name, "new"))
        api.compact()
        await scene.caught_up()
        assert sizes == [3, 3, 3, 3]


async def test_a_store_that_went_back_in_time_is_believed() -> None:
    api = FakeApi(revision=1000)
    api.put(thing("a", "lost"))
    async with running(api) as scene:
        waiting = asyncio.ensure_future(scene.informer.reached(5000))
        await scene.clock.settle()
        api.objects.clear()
        api.history.clear()
        api.revision = 500
        api.put(thing("a", "restored"))
        api.fail("watch", errors.BadRequest("the revision is in the future"))
        api.cut()
        await scene.clock.run(5)
        assert waiting.done()
        found = scene.informer.get("default", "a")
        assert found is not None and found.data["value"] == "restored"
        assert scene.informer.resource_version == api.revision


async def test_refresh_shows_what_was_there_when_it_was_asked() -> None:
    api = FakeApi()
    async with running(api) as scene:
        lists = len(api.called("list"))
        api.stream_lengths.append(0)
        api.cut()
        await scene.clock.settle()
        api.put(thing("a", "1"))
        await scene.informer.refresh()
        assert scene.informer.get("default", "a") is not None
        assert len(api.called("list")) == lists + 1


async def test_refresh_during_a_list_waits_for_the_next() -> None:
    api = FakeApi()
    async with running(api) as scene:
        asked: list[asyncio.Future[None]] = []

        def during() -> None:
            if not asked:
                asked.append(asyncio.ensure_future(scene.informer.refresh()))

        lists = len(api.called("list"))
        api.before_page = during
        await scene.informer.refresh()
        await asked[0]
        assert len(api.called("list")) == lists + 2


async def test_an_unreachable_server_is_waited_for() -> None:
    api = FakeApi()
    async with running(api) as scene:
        api.reachable.clear()
        api.cut(errors.ServiceUnavailable("down"))
        api.put(thing("a", "1"))
        await scene.clock.run(600)
        assert len(api.called("watch")) == 1
        api.reachable.set()
        await scene.informer.reached(api.revision)
        assert scene.seen == [("a", None, "1")]


async def test_failures_are_retried_with_growing_delays() -> None:
    api = FakeApi()
    async with running(api) as scene:
        api.fail("watch", *[errors.InternalError("broken")] * 8)
        api.cut()
        began = scene.clock.monotonic()
        while api.faults["watch"]:
            await scene.clock.run(0.5)
        assert scene.clock.monotonic() - began > 3


async def test_a_failing_subscriber_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    async with running(api) as scene:

        def fails(old: ConfigMap | None, new: ConfigMap | None) -> None:
            raise RuntimeError("a bug")

        end = scene.informer.subscribe(fails)
        late: list[str] = []
        scene.informer.subscribe(lambda old, new: late.append("seen"))
        api.put(thing("a", "1"))
        await scene.informer.reached(api.revision)
        assert late == ["seen"] and "a bug" in caplog.text
        end()
        caplog.clear()
        api.put(thing("a", "2"))
        await scene.informer.reached(api.revision)
        assert caplog.text == ""


async def test_a_second_owner_takes_over() -> None:
    api = FakeApi()
    informer: Informer[ConfigMap] = Informer(api, ConfigMap, clock=FakeClock(), rng=random.Random(1))
    first, second = asyncio.ensure_future(informer.run()), asyncio.ensure_future(informer.run())
    await informer.synced()
    assert len(api.called("list")) == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await informer.synced()
    api.put(thing("a", "1"))
    await informer.reached(api.revision)
    assert informer.get("default", "a") is not None
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert not informer.has_synced


names = st.sampled_from(["a", "b", "c"])
steps = st.one_of(
    st.tuples(st.just("put"), st.lists(names, min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("cut"), st.sampled_from(["end", "break"])),
    st.tuples(st.just("short"), st.integers(0, 3)),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("fault"), st.sampled_from(["list", "watch"])),
    st.tuples(st.just("bookmark"), st.none()),
    st.tuples(st.just("refresh"), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 3.0])),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40), st.integers(1, 3))
def test_whatever_happens_the_cache_tells_the_servers_story(script: list[tuple[str, object]], page_size: int) -> None:
    asyncio.run(play(script, page_size))


async def play(script: list[tuple[str, object]], page_size: int) -> None:
    api = FakeApi()
    values = iter(range(10**6))
    told: list[tuple[str, int, str, str | None]] = []
    everything: list[tuple[str, int]] = []
    exact = True
    api.put(thing("a", "first"))
    async with running(api, page_size=page_size) as scene:
        state = {obj.metadata.name: obj.data["value"] for obj in scene.informer.list()}

        def follow(old: ConfigMap | None, new: ConfigMap | None) -> None:
            some = new or old
            assert some is not None
            name = some.metadata.name
            # Each change continues where the one before it ended.
            assert state.get(name) == (old.data["value"] if old is not None else None)
            if new is None:
                del state[name]
                told.append((name, 0, "gone", None))
            else:
                state[name] = new.data["value"]
                told.append((name, int(new.metadata.resource_version), "there", new.data["value"]))

        scene.informer.subscribe(follow)
        for what, argument in script:
            match what, argument:
                case "put", list():
                    api.put(*(thing(name, str(next(values))) for name in argument))
                    everything += [(name, api.revision) for name in argument]
                case "remove", str():
                    if (ConfigMap, f"default/{argument}") in api.objects:
                        api.remove(ConfigMap, f"default/{argument}")
                        everything.append((argument, 0))
                case "cut", str():
                    api.cut(errors.ServiceUnavailable("broken") if argument == "break" else None)
                case "short", int():
                    api.stream_lengths.append(argument)
                    api.cut()
                case "compact", None:
                    api.compact()
                    exact = False
                case "fault", str():
                    api.fail(argument, errors.InternalError("broken"))
                case "bookmark", None:
                    api.bookmark(ConfigMap)
                case "refresh", None:
                    exact = False
                    refresh = asyncio.ensure_future(scene.informer.refresh())
                    while not refresh.done():
                        await scene.clock.run(40)
                case "wait", float():
                    await scene.clock.run(argument, turns=3)
        await scene.caught_up()
        assert state == {obj.metadata.name: obj.data["value"] for obj in api.of(ConfigMap).values()}
        assert {obj.metadata.name: obj.metadata.resource_version for obj in scene.informer.list()} == {
            obj.metadata.name: obj.metadata.resource_version for obj in api.of(ConfigMap).values()
        }
        if exact:
            # Nothing was compacted, so every single change came, once, in order.
            assert [(name, revision) for name, revision, _, _ in told] == everything
