"""Who is tried when."""

from __future__ import annotations

import pytest

from orchestrator.scheduler.decide import Candidate
from orchestrator.scheduler.pending import LONGEST_REST, Change, Pending, Waiting
from orchestrator.scheduler.shape import shape_of
from tests.unit.scheduler.making import make_pod

SHAPE = shape_of(make_pod())
OTHER = shape_of(make_pod(cpu="1"))


def refused(*plugins: str, times: int = 1) -> Pending:
    """One pod that has been refused so many times, the last time at 1000."""
    pending = Pending()
    pending.put("default/web", Candidate("u", SHAPE))
    for number in range(times):
        now = 1000.0 - (times - 1 - number) * LONGEST_REST
        (pod,) = pending.take(10, now)
        pending.refuse(pod, frozenset(plugins), now)
    return pending


def taken(pending: Pending, now: float) -> list[str]:
    return [pod.uid for pod in pending.take(10, now)]


def test_a_new_pod_is_tried_at_once_and_in_order() -> None:
    pending = Pending()
    for number in range(3):
        assert pending.put(f"default/p{number}", Candidate(f"u{number}", SHAPE))
    assert pending.next_due() == 0.0
    assert [pod.uid for pod in pending.take(2, 0.0)] == ["u0", "u1"]
    assert [pod.uid for pod in pending.take(2, 0.0)] == ["u2"]
    assert pending.next_due() is None


def test_the_more_important_and_then_the_older_go_first() -> None:
    pending = Pending()
    pending.put("default/young", Candidate("young", SHAPE, created=2.0))
    pending.put("default/old", Candidate("old", SHAPE, created=1.0))
    pending.put("default/vip", Candidate("vip", SHAPE, priority=5, created=3.0))
    assert [pod.uid for pod in pending.take(2, 0.0)] == ["vip", "old"]


@pytest.mark.parametrize(
    ("plugin", "change", "wakes"),
    [
        ("NodeResourcesFit", Change.ROOM, True),
        ("NodePorts", Change.ROOM, True),
        ("TaintToleration", Change.ROOM, False),
        ("NodeAffinity", Change.ROOM, False),
        ("TaintToleration", Change.NODE, True),
        ("NodeResourcesFit", Change.NODE, True),
    ],
)
def test_only_what_could_help_wakes(plugin: str, change: Change, wakes: bool) -> None:
    pending = refused(plugin)
    assert taken(pending, 1050.0) == []
    assert pending.wake(change) is wakes
    assert taken(pending, 1050.0) == (["u"] if wakes else [])


def test_a_node_helps_who_was_refused_for_want_of_nodes() -> None:
    pending = refused()
    assert pending.wake(Change.NODE)
    assert taken(pending, 1050.0) == ["u"]


@pytest.mark.parametrize(("times", "delay"), [(1, 0.05), (2, 0.1), (3, 0.2), (8, 6.4), (9, 10.0), (50, 10.0)])
def test_a_refused_pod_waits_longer_each_time(times: int, delay: float) -> None:
    pending = refused("NodeResourcesFit", times=times)
    pending.wake(Change.NODE)
    assert pending.next_due() == pytest.approx(1000.0 + delay)


@pytest.mark.parametrize(("times", "delay"), [(1, 1.0), (2, 2.0), (4, 8.0), (5, 10.0), (50, 10.0)])
def test_after_errors_nothing_comes_back_sooner(times: int, delay: float) -> None:
    pending = Pending()
    pending.put("default/web", Candidate("u", SHAPE))
    now = 0.0
    for _ in range(times):
        now += 100.0
        (pod,) = pending.take(10, now)
        pending.retry(pod, now)
    assert not pending.wake(Change.NODE)
    assert pending.next_due() == now + delay


def test_an_error_after_a_refusal_is_an_error() -> None:
    pending = refused("NodeResourcesFit")
    pending.wake(Change.NODE)
    (pod,) = pending.take(10, 1050.0)
    pending.retry(pod, 1050.0)
    assert not pending.wake(Change.NODE)
    assert pending.next_due() == 1051.0


def test_the_safety_net() -> None:
    pending = refused("NodeAffinity")
    assert taken(pending, 1000.0 + LONGEST_REST - 1) == []
    assert taken(pending, 1000.0 + LONGEST_REST) == ["u"]


def test_an_unchanged_pod_rests_on_and_a_changed_one_is_tried_again() -> None:
    pending = refused("NodeResourcesFit")
    assert not pending.put("default/web", Candidate("u", SHAPE))
    assert taken(pending, 1050.0) == []
    assert pending.put("default/web", Candidate("u", OTHER))
    assert [pod.candidate.shape for pod in pending.take(10, 1050.0)] == [OTHER]


def test_a_removed_pod_does_not_come_back() -> None:
    pending = Pending()
    pending.put("default/web", Candidate("u", SHAPE))
    (pod,) = pending.take(10, 0.0)
    pending.remove("u")
    pending.refuse(pod, frozenset(), 0.0)
    pending.retry(pod, 0.0)
    assert pending.next_due() is None


def test_people_hear_what_is_new_and_now_and_then_the_same_again() -> None:
    pod = Waiting("default/web", Candidate("u", SHAPE))
    assert pod.told("no room", 0.0)
    assert not pod.told("no room", 1.0)
    assert pod.told("no nodes", 2.0)
    assert not pod.told("no nodes", 2.0 + LONGEST_REST - 1)
    assert pod.told("no nodes", 2.0 + LONGEST_REST)
