"""Rollout arithmetic: bounds and percentages, the size of the new one, cutting the old ones, proportional scaling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.v1 import ReplicaSet
from orchestrator.controllers.rollout import (
    MAXIMUM,
    Bounds,
    bounds_of,
    is_scaled,
    new_size,
    old_sizes,
    proportional_sizes,
)
from tests.unit.controllers.objects import deployment, replica_set

BOUNDS = [
    # replicas, maxSurge, maxUnavailable, most, fewest available
    (10, "25%", "25%", 13, 8),
    (3, "25%", "25%", 4, 3),
    (4, "25%", "25%", 5, 3),
    (1, "25%", "25%", 2, 1),
    (7, "10%", "90%", 8, 1),
    (100, "29%", "29%", 129, 71),
    (3, 1, 0, 4, 3),
    (3, 0, 1, 3, 2),
    (3, 0, "10%", 3, 2),
    (3, "0%", "0%", 3, 2),
    (2, 5, 5, 7, 0),
    (0, "25%", "25%", 0, 0),
    (3, "100%", "100%", 6, 0),
]


@pytest.mark.parametrize(("replicas", "surge", "unavailable", "most", "fewest"), BOUNDS)
def test_bounds(replicas: int, surge: int | str, unavailable: int | str, most: int, fewest: int) -> None:
    bounds = bounds_of(deployment(replicas=replicas, surge=surge, unavailable=unavailable))
    assert (bounds.most, bounds.fewest_available) == (most, fewest)


def test_recreate_has_no_slack() -> None:
    assert bounds_of(deployment(replicas=5, strategy="Recreate")) == Bounds(5, 0, 0)


def rs(name: str, replicas: int, available: int | None = None, **how: Any) -> ReplicaSet:
    return replica_set(name, replicas=replicas, available=available, **how)


def unobserved(name: str, replicas: int) -> ReplicaSet:
    made = rs(name, replicas)
    made.metadata.generation += 1
    return made


NEW = [
    ("first of all", Bounds(3, 1, 0), None, [], 3),
    ("surge only", Bounds(10, 3, 2), None, [rs("old", 10)], 3),
    ("no surge: room comes from what was cut", Bounds(3, 0, 1), rs("new", 0), [rs("old", 2)], 1),
    ("pods that still go take room", Bounds(3, 0, 1), rs("new", 0), [rs("old", 2, pods=3)], 0),
    ("never more than wanted", Bounds(3, 5, 0), rs("new", 2), [rs("old", 1)], 3),
    ("never less than it has", Bounds(3, 1, 0), rs("new", 2), [rs("old", 5)], 2),
    ("more than wanted is cut", Bounds(3, 1, 0), rs("new", 5), [], 3),
    ("nothing while one has not told of its last size", Bounds(3, 1, 0), rs("new", 1), [unobserved("old", 2)], 1),
    ("but never more than wanted", Bounds(3, 1, 0), unobserved("new", 4), [], 3),
    ("its own that still go take room too", Bounds(4, 0, 1), rs("new", 2, pods=4), [], 2),
]


@pytest.mark.parametrize(("name", "bounds", "new", "old", "size"), NEW, ids=[each[0] for each in NEW])
def test_new_size(name: str, bounds: Bounds, new: ReplicaSet | None, old: list[ReplicaSet], size: int) -> None:
    assert new_size(bounds, new, old) == size


OLD = [
    ("nothing available yet: nothing to give", Bounds(3, 1, 0), rs("new", 1, 0), [rs("old", 3)], {}),
    ("one new is available: one old goes", Bounds(3, 1, 0), rs("new", 1), [rs("old", 3)], {"old": 2}),
    ("as many as may be missing go at once", Bounds(10, 0, 3), rs("new", 0, 0), [rs("old", 10)], {"old": 7}),
    ("unhealthy ones go first", Bounds(10, 0, 2), rs("new", 0, 0), [rs("old", 10, 8)], {"old": 8}),
    (
        "unhealthy ones of younger sets go before healthy ones of older",
        Bounds(4, 1, 0),
        rs("new", 1, 1),
        [rs("older", 2, 2, age=20), rs("younger", 2, 1, age=10)],
        {"younger": 1},
    ),
    (
        "unhealthy ones go while the new one waits",
        Bounds(10, 3, 2),
        rs("new", 3, 0),
        [rs("old", 10, 8)],
        {"old": 8},
    ),
    ("but enough are left to come up yet", Bounds(10, 3, 2), rs("new", 3, 0), [rs("old", 10, 2)], {"old": 8}),
    ("a status from before the last cut gives nothing away", Bounds(3, 1, 0), rs("new", 1), [rs("old", 2, 3)], {}),
    ("a new one that was cut is not counted twice", Bounds(3, 1, 0), rs("new", 1, 3), [rs("old", 3)], {"old": 2}),
    ("the oldest first", Bounds(4, 2, 0), rs("new", 2), [rs("b", 2, age=10), rs("a", 2, age=20)], {"a": 0}),
]


@pytest.mark.parametrize(("name", "bounds", "new", "old", "sizes"), OLD, ids=[each[0] for each in OLD])
def test_old_sizes(name: str, bounds: Bounds, new: ReplicaSet, old: list[ReplicaSet], sizes: Mapping[str, int]) -> None:
    assert old_sizes(bounds, new, old) == sizes


def scaled_from(most: int, *sets: tuple[str, int, float]) -> list[ReplicaSet]:
    return [rs(name, replicas, age=age, annotations={MAXIMUM: str(most)}) for name, replicas, age in sets]


PROPORTIONAL = [
    (
        "the documentation's example",
        Bounds(15, 3, 2),
        scaled_from(13, ("old", 8, 20), ("new", 5, 10)),
        {"old": 11, "new": 7},
    ),
    (
        "equal ones: the newest gets the remainder",
        Bounds(6, 1, 0),
        scaled_from(6, ("old", 3, 20), ("new", 3, 10)),
        {"new": 4},
    ),
    ("down: equally", Bounds(4, 2, 0), scaled_from(12, ("old", 6, 20), ("new", 6, 10)), {"old": 3, "new": 3}),
    (
        "down: the rest from the oldest",
        Bounds(5, 0, 1),
        scaled_from(6, ("a", 3, 20), ("b", 3, 10)),
        {"a": 2},
    ),
    ("to nothing", Bounds(0, 0, 0), scaled_from(13, ("old", 8, 20), ("new", 5, 10)), {"old": 0, "new": 0}),
    ("no change", Bounds(10, 3, 0), scaled_from(13, ("old", 8, 20), ("new", 5, 10)), {}),
    ("empty ones stay empty", Bounds(20, 0, 1), scaled_from(10, ("a", 10, 20), ("b", 0, 10)), {"a": 20}),
    ("without the annotation", Bounds(20, 0, 1), [rs("a", 6, age=20), rs("b", 4, age=10)], {"a": 12, "b": 8}),
]


@pytest.mark.parametrize(("name", "bounds", "sets", "sizes"), PROPORTIONAL, ids=[each[0] for each in PROPORTIONAL])
def test_proportional_sizes(name: str, bounds: Bounds, sets: list[ReplicaSet], sizes: Mapping[str, int]) -> None:
    assert proportional_sizes(bounds, sets) == sizes


@given(
    replicas=st.integers(0, 60),
    surge=st.integers(0, 9),
    spare=st.integers(0, 9),
    parts=st.lists(st.integers(0, 30), min_size=1, max_size=4),
)
def test_proportional_sizes_add_up(replicas: int, surge: int, spare: int, parts: list[int]) -> None:
    sets = scaled_from(sum(parts) + spare, *((f"rs{at}", size, float(at)) for at, size in enumerate(parts)))
    sizes = {each.metadata.name: each.spec.replicas for each in sets} | proportional_sizes(
        Bounds(replicas, surge, 1), sets
    )
    assert all(size >= 0 for size in sizes.values())
    wanted = replicas + surge if replicas else 0
    if any(parts):
        assert sum(sizes.values()) == wanted
    assert all(sizes[f"rs{at}"] == 0 for at, size in enumerate(parts) if size == 0)


SCALED = [
    ("sized for another number", [rs("a", 2, annotations={"deployment.kubernetes.io/desired-replicas": "2"})], True),
    ("sized for this number", [rs("a", 2, annotations={"deployment.kubernetes.io/desired-replicas": "3"})], False),
    ("inactive ones don't count", [rs("a", 0, annotations={"deployment.kubernetes.io/desired-replicas": "2"})], False),
    ("never sized", [rs("a", 2)], False),
]


@pytest.mark.parametrize(("name", "sets", "scaled"), SCALED, ids=[each[0] for each in SCALED])
def test_is_scaled(name: str, sets: list[ReplicaSet], scaled: bool) -> None:
    assert is_scaled(deployment(replicas=3), sets) is scaled
