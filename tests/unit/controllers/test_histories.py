"""Whole histories of a Deployment in a world in memory: each step within bounds, each with an end, and then quiet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.controllers.deployment_status import COMPLETE
from orchestrator.controllers.rollout import bounds_of
from tests.unit.controllers.objects import deployment
from tests.unit.controllers.world import World, does_something

STRATEGIES = st.one_of(
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.tuples(st.sampled_from(["0%", "10%", "25%", "50%", "100%"]), st.sampled_from(["0%", "10%", "25%", "100%"])),
)


def take_step(world: World, data: st.DataObject) -> None:
    """One of those that work does one of its steps."""
    looks = [f"look at {name}" for name in sorted(world.replica_sets)]
    starts = [f"start {name}" for name in world.waiting()]
    ends = [f"end {name}" for name in world.leaving()]
    word, _, name = data.draw(st.sampled_from(["decide -", *looks, *starts, *ends])).rpartition(" ")
    match word:
        case "decide":
            world.look_at_deployment()
        case "look at":
            world.look_at_replica_set(name)
        case "start":
            world.start_pod(name)
        case _:
            world.end_pod(name)


def is_done(world: World, image: str) -> bool:
    replicas = world.deployment.spec.replicas
    return world.images() == [image] * replicas and world.available() == replicas and len(world.pods) == replicas


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 8), STRATEGIES, st.integers(5, 50), st.data())
def test_an_update_never_leaves_its_bounds_and_ends(
    replicas: int, strategy: tuple[Any, Any], steps: int, data: st.DataObject
) -> None:
    world = World(deployment(replicas=replicas, surge=strategy[0], unavailable=strategy[1]))
    world.settle()
    bounds = bounds_of(world.deployment)
    image = "v1"
    for number in range(steps):
        if number == 0 or data.draw(st.integers(0, 9)) == 0:
            image = data.draw(st.sampled_from(["v1", "v2", "v3"]))
            world.change(image=image)
        take_step(world, data)
        assert bounds.fewest_available <= world.available(), str(world)
        assert len(world.active()) <= bounds.most, str(world)
    world.settle()
    assert is_done(world, image), str(world)


def test_pods_nobody_has_told_of_yet_take_room() -> None:
    """v2 is made and at once given up for v3, while the pod of v2 has been made but is not yet in any status."""
    world = World(deployment(replicas=1, surge=1, unavailable=0))
    world.settle()
    known = set(world.replica_sets)
    world.change(image="v2")
    world.look_at_deployment()
    (second,) = set(world.replica_sets) - known
    world.change(image="v3")
    world.look_at_deployment()
    (third,) = set(world.replica_sets) - known - {second}
    world.look_at_replica_set(second)
    for _ in range(3):
        world.look_at_deployment()
        world.look_at_replica_set(third)
        assert world.images() == ["v1", "v2"]
    world.settle()
    assert is_done(world, "v3")


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 6),
    st.sampled_from(["RollingUpdate", "Recreate"]),
    st.lists(
        st.one_of(
            st.fixed_dictionaries({"replicas": st.integers(0, 8)}),
            st.fixed_dictionaries({"image": st.sampled_from(["v1", "v2", "v3"])}),
            st.fixed_dictionaries({"paused": st.booleans()}),
        ),
        max_size=8,
    ),
    st.data(),
)
def test_whatever_is_asked_for_comes_about(
    replicas: int, strategy: str, changes: list[dict[str, Any]], data: st.DataObject
) -> None:
    world = World(deployment(replicas=replicas, strategy=strategy))
    for change in changes:
        world.change(**change)
        for _ in range(data.draw(st.integers(0, 8))):
            take_step(world, data)
            images = {each.spec.containers[0].image for each in world.pods.values()}
            assert strategy != "Recreate" or len(images) <= 1
    world.change(paused=False)
    world.settle()
    assert is_done(world, world.deployment.spec.template.spec.containers[0].image), str(world)
    assert not does_something(world.look_at_deployment())
    assert sum(each.spec.replicas > 0 for each in world.replica_sets.values()) <= 1
    told = world.deployment.status
    assert (told.updated_replicas, told.available_replicas, told.unavailable_replicas) == (
        world.deployment.spec.replicas,
        world.deployment.spec.replicas,
        0,
    )
    assert [each.reason for each in told.conditions if each.type == "Progressing"] == [COMPLETE]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), STRATEGIES, st.integers(0, 30), st.integers(0, 12), st.data())
def test_scaling_in_the_middle_of_an_update_stays_below_the_most(
    replicas: int, strategy: tuple[Any, Any], before: int, wanted: int, data: st.DataObject
) -> None:
    world = World(deployment(replicas=replicas, surge=strategy[0], unavailable=strategy[1]))
    world.settle()
    world.change(image="v2")
    for _ in range(before):
        take_step(world, data)
    world.change(replicas=wanted)
    world.settle()
    assert is_done(world, "v2"), str(world)


def test_names_are_the_same_in_every_run() -> None:
    def run() -> tuple[list[str], list[str]]:
        world = World(deployment(replicas=3))
        world.deployment.metadata.resource_version = "1"
        world.settle()
        world.change(image="v2")
        world.settle()
        return sorted(world.replica_sets), sorted(world.pods)

    assert run() == run()


@pytest.mark.parametrize("replicas", [5000])
def test_thousands_of_pods(replicas: int) -> None:
    world = World(deployment(replicas=replicas))
    world.look_at_deployment()
    (name,) = world.replica_sets
    rounds = 0
    while world.look_at_replica_set(name).create:
        rounds += 1
    assert (len(world.pods), rounds) == (replicas, 10)
