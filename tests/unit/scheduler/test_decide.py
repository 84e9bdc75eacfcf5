"""Where pods go, and what is said of those that go nowhere."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api.v1 import Node, NodeSelectorTerm, Pod, Toleration
from orchestrator.scheduler.decide import Candidate, decide
from orchestrator.scheduler.plugins import PLUGINS
from orchestrator.scheduler.shape import shape_of
from tests.unit.scheduler.making import make_node, make_pod, owned, place, snapshot, with_preferred, with_required


def with_selector(**labels: str) -> Pod:
    pod = make_pod()
    pod.spec.node_selector.update(labels)
    return pod


def with_toleration(toleration: Toleration) -> Pod:
    pod = make_pod()
    pod.spec.tolerations.append(toleration)
    return pod


TAINTED = make_node("n1", taints=[("dedicated", "db", "NoSchedule")])


@pytest.mark.parametrize(
    ("name", "node", "pod", "message"),
    [
        ("fits", make_node("n1"), make_pod(cpu="4"), None),
        ("too little cpu", make_node("n1"), make_pod(cpu="4001m"), "1 Insufficient cpu"),
        (
            "both too little",
            make_node("n1"),
            make_pod(cpu="5", memory="9Gi"),
            "1 Insufficient cpu, 1 Insufficient memory",
        ),
        ("no more pods", make_node("n1", pods="0"), make_pod(), "1 Too many pods"),
        (
            "a resource nobody has",
            make_node("n1"),
            make_pod(extended={"example.com/gpu": "1"}),
            "1 Insufficient example.com/gpu",
        ),
        (
            "an extended one",
            make_node("n1", extended={"example.com/gpu": "1"}),
            make_pod(extended={"example.com/gpu": "1"}),
            None,
        ),
        ("cordoned", make_node("n1", unschedulable=True), make_pod(), "1 node(s) were unschedulable"),
        (
            "cordoned and tolerated",
            make_node("n1", unschedulable=True),
            with_toleration(Toleration(key="node.kubernetes.io/unschedulable", operator="Exists")),
            None,
        ),
        ("tainted", TAINTED, make_pod(), "1 node(s) had untolerated taint {dedicated: db}"),
        ("tolerated", TAINTED, with_toleration(Toleration(key="dedicated", value="db")), None),
        ("only discouraged", make_node("n1", taints=[("k", "v", "PreferNoSchedule")]), make_pod(), None),
        ("selector", make_node("n1", labels={"disk": "ssd"}), with_selector(disk="ssd"), None),
        (
            "selector without match",
            make_node("n1", labels={"disk": "hdd"}),
            with_selector(disk="ssd"),
            "1 node(s) didn't match Pod's node affinity/selector",
        ),
        ("affinity NotIn", make_node("n1"), with_required("disk", "NotIn", "hdd"), None),
        ("affinity Gt", make_node("n1", labels={"cores": "8"}), with_required("cores", "Gt", "4"), None),
        ("affinity by name", make_node("n1"), with_required("metadata.name", "In", "n1", field=True), None),
        (
            "affinity by another name",
            make_node("n1"),
            with_required("metadata.name", "In", "n2", field=True),
            "1 node(s) didn't match Pod's node affinity/selector",
        ),
    ],
)
def test_one_pod_one_node(name: str, node: Node, pod: Pod, message: str | None) -> None:
    decisions = place(snapshot(node), pod)
    if message is None:
        assert decisions.placed == {pod.metadata.uid: "n1"}, name
    else:
        assert decisions.refused[pod.metadata.uid].message == f"0/1 nodes are available: {message}.", name


def test_an_empty_term_matches_nothing() -> None:
    pod = make_pod()
    required = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    required.node_selector_terms.append(NodeSelectorTerm())
    assert place(snapshot(make_node("n1")), pod).refused


def test_without_nodes() -> None:
    assert place(snapshot(), make_pod()).refused["uid-web"].message == "no nodes available to schedule pods"


def test_each_node_is_counted_for_the_first_rule_that_refuses_it() -> None:
    nodes = snapshot(
        make_node("n1", taints=[("k", "v", "NoSchedule")], cpu="1"),
        make_node("n2", cpu="1"),
        make_node("n3", taints=[("k", "v", "NoExecute")]),
    )
    message = place(nodes, make_pod(cpu="2")).refused["uid-web"].message
    assert message == "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {k: v}."


def test_host_ports_are_taken_once_a_node() -> None:
    nodes = snapshot(make_node("n1"), make_node("n2"))
    decisions = place(nodes, *(make_pod(f"p{number}", host_port=8080) for number in range(3)))
    assert sorted(decisions.placed.values()) == ["n1", "n2"]
    reason = "2 node(s) didn't have free ports for the requested pod ports"
    assert decisions.refused["uid-p2"].message == f"0/2 nodes are available: {reason}."
    nodes.put_pod("uid-p0", "n1", shape_of(make_pod(host_port=8080)))
    assert place(nodes, make_pod("p4", host_port=8080)).placed == {"uid-p4": "n2"}
    nodes.remove_pod("uid-p0")
    assert place(nodes, *(make_pod(f"p{number}", host_port=8080) for number in range(2))).refused == {}


def test_equal_pods_spread() -> None:
    nodes = snapshot(*(make_node(f"n{number}") for number in range(4)))
    placed = place(nodes, *(make_pod(f"p{number}") for number in range(8))).placed
    assert set(Counter(placed.values()).values()) == {2}


def test_the_emptier_node_wins() -> None:
    nodes = snapshot(make_node("n1"), make_node("n2"))
    nodes.put_pod("other", "n1", shape_of(make_pod(cpu="2", memory="4Gi")))
    assert place(nodes, make_pod(cpu="1", memory="2Gi")).placed == {"uid-web": "n2"}


def test_a_discouraging_taint_counts_for_more_than_room() -> None:
    nodes = snapshot(make_node("n1", taints=[("k", "v", "PreferNoSchedule")]), make_node("n2"))
    nodes.put_pod("other", "n2", shape_of(make_pod(cpu="2", memory="4Gi")))
    assert place(nodes, make_pod(cpu="100m")).placed == {"uid-web": "n2"}


def test_preferred_affinity_is_preferred() -> None:
    nodes = snapshot(make_node("n1"), make_node("n2", labels={"disk": "ssd"}), make_node("n3"))
    assert {place(nodes, with_preferred(1, "disk", "ssd"), seed=seed).placed["uid-web"] for seed in range(5)} == {"n2"}


def test_replicas_spread_even_where_other_nodes_are_emptier() -> None:
    nodes = snapshot(*(make_node(f"n{number}") for number in range(3)))
    nodes.put_pod("other", "n0", shape_of(make_pod(cpu="1", memory="2Gi")))
    pods = [owned(make_pod(f"p{number}", cpu="100m", memory="100Mi"), "rs") for number in range(3)]
    assert sorted(place(nodes, *pods).placed.values()) == ["n0", "n1", "n2"]


def test_ties_are_broken_by_the_seed() -> None:
    nodes = snapshot(*(make_node(f"n{number}") for number in range(3)))
    assert {place(nodes, make_pod(), seed=seed).placed["uid-web"] for seed in range(30)} == {"n0", "n1", "n2"}


def test_the_more_important_and_then_the_older_get_the_room() -> None:
    """Also when pods of one shape are older and younger than those of another."""
    nodes = snapshot(make_node("n1", cpu="3"))
    small, large = shape_of(make_pod(cpu="1")), shape_of(make_pod(cpu="2"))
    pods = [
        Candidate("young small", small, created=3.0),
        Candidate("large", large, created=2.0),
        Candidate("old small", small, created=1.0),
    ]
    assert decide(nodes, pods, 0).placed.keys() == {"old small", "large"}
    pods.append(Candidate("important", large, priority=1, created=9.0))
    assert decide(nodes, pods, 0).placed.keys() == {"important", "old small"}


def test_pods_count_whenever_their_node_comes() -> None:
    nodes = snapshot()
    nodes.put_pod("early", "n1", shape_of(make_pod(cpu="3")))
    nodes.put_node(make_node("n1"))
    assert place(nodes, make_pod(cpu="2")).refused
    nodes.remove_node("n1")
    nodes.put_node(make_node("n1"))
    assert place(nodes, make_pod(cpu="2")).refused
    nodes.remove_pod("early")
    assert place(nodes, make_pod(cpu="2")).placed == {"uid-web": "n1"}


AMOUNTS = st.integers(0, 5)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=12),
    pods=st.lists(st.tuples(AMOUNTS, AMOUNTS, st.sampled_from([0, 0, 80, 81])), max_size=20),
    removed=st.sets(st.integers(0, 11)),
    seed=st.integers(0, 1000),
)
def test_no_node_is_overcommitted_and_nobody_waits_in_vain(
    sizes: list[tuple[int, int]], pods: list[tuple[int, int, int]], removed: set[int], seed: int
) -> None:
    """Whatever rows have come and gone: placements fit, and who was refused fits nowhere after the others' placing."""
    nodes = snapshot(*(make_node(f"n{i}", cpu=str(cpu), memory=f"{mem}Gi") for i, (cpu, mem) in enumerate(sizes)))
    left = {f"n{i}": list(size) for i, size in enumerate(sizes) if i not in removed}
    for number in removed:
        nodes.remove_node(f"n{number}")
    made = {
        f"uid-p{i}": make_pod(f"p{i}", host_port=port, cpu=str(cpu), memory=f"{mem}Gi")
        for i, (cpu, mem, port) in enumerate(pods)
    }
    before = nodes.usage()
    decisions = place(nodes, *made.values(), seed=seed)
    assert decisions == place(nodes, *made.values(), seed=seed)
    assert (nodes.usage().requested == before.requested).all()
    assert decisions.placed.keys() | decisions.refused.keys() == made.keys()
    assert not decisions.placed.keys() & decisions.refused.keys()
    ports: set[tuple[str, int]] = set()
    for uid, name in decisions.placed.items():
        cpu, mem, port = pods[int(uid.removeprefix("uid-p"))]
        left[name][0] -= cpu
        left[name][1] -= mem
        assert min(left[name]) >= 0
        if port:
            assert (name, port) not in ports
            ports.add((name, port))
    for uid in decisions.refused:
        cpu, mem, port = pods[int(uid.removeprefix("uid-p"))]
        assert not any(
            free[0] >= cpu and free[1] >= mem and (not port or (name, port) not in ports) for name, free in left.items()
        )


KEYS = st.sampled_from(["a", "b"])
LABELS = st.dictionaries(KEYS, st.sampled_from(["1", "2"]), max_size=2)


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.lists(st.tuples(LABELS, st.lists(KEYS, max_size=2, unique=True), st.booleans()), max_size=8),
    pods=st.lists(st.tuples(LABELS, st.sets(KEYS), st.integers(0, 2), st.sampled_from(["", "r", "s"])), max_size=12),
    seed=st.integers(0, 1000),
)
def test_no_rule_is_ever_broken(
    nodes: list[tuple[dict[str, str], list[str], bool]],
    pods: list[tuple[dict[str, str], set[str], int, str]],
    seed: int,
) -> None:
    """Each placement obeys selectors, taints and cordons, checked without the plugins; whoever is refused had no node,
    and the reasons count every node once."""
    known = snapshot(
        *(
            make_node(
                f"n{i}", labels=labels, taints=[(key, "", "NoSchedule") for key in taints], unschedulable=cordoned
            )
            for i, (labels, taints, cordoned) in enumerate(nodes)
        )
    )
    made: list[Pod] = []
    for i, (selector, tolerated, priority, owner) in enumerate(pods):
        pod = make_pod(f"p{i}", cpu="100m")
        pod.spec.node_selector.update(selector)
        pod.spec.tolerations.extend(Toleration(key=key, operator="Exists") for key in sorted(tolerated))
        pod.spec.priority = priority
        made.append(owned(pod, owner) if owner else pod)
    decisions = place(known, *made, seed=seed)
    assert decisions == place(known, *made, seed=seed)
    for (selector, tolerated, _, _), pod in zip(pods, made, strict=True):
        possible = {
            f"n{i}"
            for i, (labels, taints, cordoned) in enumerate(nodes)
            if selector.items() <= labels.items() and tolerated.issuperset(taints) and not cordoned
        }
        uid = pod.metadata.uid
        if possible:
            assert decisions.placed[uid] in possible
        else:
            refusal = decisions.refused[uid]
            assert sum(refusal.reasons.values()) == refusal.nodes == len(nodes)
            assert refusal.plugins <= {plugin.name for plugin in PLUGINS}
