"""The columns of the snapshot: whatever comes and goes, they say what a fresh count would say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scheduler.shape import PodShape, shape_of
from orchestrator.scheduler.snapshot import Nodes
from tests.unit.scheduler.making import make_node, make_pod, owned, snapshot

SHAPES = [
    shape_of(make_pod()),
    shape_of(make_pod(cpu="1", memory="1Gi")),
    shape_of(owned(make_pod(cpu="1", host_port=80), "rs")),
    shape_of(make_pod(extended={"example.com/gpu": "1"})),
]
NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.one_of(
    st.tuples(st.just("node"), NAMES, st.integers(1, 3)),
    st.tuples(st.just("no node"), NAMES, st.just(0)),
    st.tuples(st.just("pod"), NAMES, st.integers(0, 9)),
    st.tuples(st.just("no pod"), NAMES, st.integers(0, 9)),
)


def described(nodes: Nodes) -> dict[str, object]:
    """Everything a decision could see, by name instead of by row."""
    usage = nodes.usage()
    counted = usage.owned("rs")
    return {
        name: (
            {each: int(nodes.allocatable[row, column]) for each, column in nodes.resources.items()
             if nodes.allocatable[row, column]},
            {each: int(usage.requested[row, column]) for each, column in nodes.resources.items()
             if usage.requested[row, column]},
            usage.scored[row].tolist(),
            sorted(map(str, usage.ports.get(row, ()))),
            int(counted[row]),
        )
        for row, name in enumerate(nodes.names)
    }  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_changes_one_by_one_add_up_to_the_state(steps: list[tuple[str, str, int]]) -> None:
    nodes = Nodes()
    offered: dict[str, int] = {}
    running: dict[str, tuple[str, PodShape]] = {}
    for what, name, number in steps:
        match what:
            case "node":
                nodes.put_node(make_node(name, cpu=str(number)))
                offered[name] = number
            case "no node":
                assert nodes.remove_node(name) is (offered.pop(name, None) is not None)
            case "pod":
                shape = SHAPES[number % len(SHAPES)]
                nodes.put_pod(str(number), name, shape)
                running[str(number)] = (name, shape)
            case _:
                assert nodes.remove_pod(str(number)) is (running.pop(str(number), None) is not None)
    fresh = snapshot(*(make_node(name, cpu=str(cpu)) for name, cpu in offered.items()))
    for uid, (name, shape) in running.items():
        fresh.put_pod(uid, name, shape)
    assert described(nodes) == described(fresh)


def test_only_what_matters_counts_as_a_change() -> None:
    nodes = Nodes()
    node = make_node("a", labels={"disk": "ssd"}, taints=[("k", "v", "NoSchedule")])
    assert nodes.put_node(node)
    node.status.conditions.add(type="Ready", status="True")
    node.metadata.annotations["heartbeat"] = "1"
    assert not nodes.put_node(node)
    node.metadata.labels["disk"] = "hdd"
    assert nodes.put_node(node)
    node.status.allocatable["cpu"] = "8"
    assert nodes.put_node(node)
    node.spec.unschedulable = True
    assert nodes.put_node(node)
    del node.spec.taints[:]
    assert nodes.put_node(node)


def test_capacity_stands_in_for_allocatable() -> None:
    node = make_node("a")
    node.status.capacity.update(node.status.allocatable)
    node.status.allocatable.clear()
    assert described(snapshot(node)) == described(snapshot(make_node("a")))
