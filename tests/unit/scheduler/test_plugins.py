"""Each rule of placing alone: which nodes it lets pass, which it prefers, what it says of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from orchestrator.api.v1 import Node, Pod, Toleration
from orchestrator.scheduler.plugins.balanced_allocation import BalancedAllocation
from orchestrator.scheduler.plugins.host_ports import HostPorts
from orchestrator.scheduler.plugins.interface import Plugin
from orchestrator.scheduler.plugins.node_affinity import NodeAffinity
from orchestrator.scheduler.plugins.resources import ResourcesFit
from orchestrator.scheduler.plugins.spreading import OwnerSpreading
from orchestrator.scheduler.plugins.taints import TaintToleration
from orchestrator.scheduler.plugins.unschedulable import Unschedulable
from orchestrator.scheduler.shape import shape_of
from orchestrator.scheduler.snapshot import ALL, Nodes
from tests.unit.scheduler.making import make_node, make_pod, owned, snapshot, with_preferred, with_required


def tolerating(*tolerations: Toleration) -> Pod:
    pod = make_pod()
    pod.spec.tolerations.extend(tolerations)
    return pod


def on_address(address: str, protocol: str = "TCP") -> Pod:
    pod = make_pod(host_port=80)
    pod.spec.containers[0].ports[0].host_ip = address
    pod.spec.containers[0].ports[0].protocol = protocol
    return pod


DISKS = (make_node("a", labels={"disk": "ssd", "cores": "8"}), make_node("b", labels={"disk": "hdd"}), make_node("c"))
TAINTS = (
    make_node("a", taints=[("k", "v", "NoSchedule")]),
    make_node("b", taints=[("k", "v", "NoExecute"), ("j", "", "NoSchedule")]),
    make_node("c", taints=[("k", "v", "PreferNoSchedule")]),
    make_node("d"),
)
EXISTS = Toleration(key="k", operator="Exists")


@pytest.mark.parametrize(
    ("name", "plugin", "nodes", "pod", "passing"),
    [
        ("cordoned", Unschedulable(), [make_node("a", unschedulable=True), make_node("b")], make_pod(), "b"),
        ("cordon tolerated by all-tolerant", Unschedulable(), [make_node("a", unschedulable=True)],
         tolerating(Toleration(operator="Exists")), "a"),
        ("no tolerations", TaintToleration(), TAINTS, make_pod(), "cd"),
        ("one key, all effects", TaintToleration(), TAINTS, tolerating(EXISTS), "acd"),
        ("wrong value", TaintToleration(), TAINTS, tolerating(Toleration(key="k", value="w")), "cd"),
        ("wrong effect", TaintToleration(), TAINTS, tolerating(Toleration(key="k", value="v", effect="NoExecute")),
         "cd"),
        ("two tolerations", TaintToleration(), TAINTS, tolerating(EXISTS, Toleration(key="j", operator="Exists")),
         "abcd"),
        ("everything", TaintToleration(), TAINTS, tolerating(Toleration(operator="Exists")), "abcd"),
        ("In", NodeAffinity(), DISKS, with_required("disk", "In", "ssd", "nvme"), "a"),
        ("NotIn", NodeAffinity(), DISKS, with_required("disk", "NotIn", "ssd"), "bc"),
        ("Exists", NodeAffinity(), DISKS, with_required("disk", "Exists"), "ab"),
        ("DoesNotExist", NodeAffinity(), DISKS, with_required("disk", "DoesNotExist"), "c"),
        ("Gt", NodeAffinity(), DISKS, with_required("cores", "Gt", "7"), "a"),
        ("Gt, equal", NodeAffinity(), DISKS, with_required("cores", "Gt", "8"), ""),
        ("Lt", NodeAffinity(), DISKS, with_required("cores", "Lt", "9"), "a"),
        ("by name", NodeAffinity(), DISKS, with_required("metadata.name", "NotIn", "a", field=True), "bc"),
        ("preference refuses nobody", NodeAffinity(), DISKS, with_preferred(5, "disk", "ssd"), "abc"),
    ],
)  # fmt: skip
def test_mask(name: str, plugin: Plugin, nodes: Sequence[Node], pod: Pod, passing: str) -> None:
    known = snapshot(*nodes)
    mask = plugin.mask(shape_of(pod), known, known.usage())
    assert "".join(known.names[row] for row in np.flatnonzero(mask)) == passing, name


def test_all_terms_are_tried_and_all_requirements_of_a_term_must_hold() -> None:
    pod = with_required("disk", "In", "hdd")
    terms = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
    terms.add().match_expressions.add(key="disk", operator="In", values=["ssd"])
    nodes = snapshot(*DISKS)
    assert NodeAffinity().mask(shape_of(pod), nodes, nodes.usage()).tolist() == [True, True, False]
    terms[1].match_expressions.add(key="cores", operator="DoesNotExist")
    assert NodeAffinity().mask(shape_of(pod), nodes, nodes.usage()).tolist() == [False, True, False]
    pod.spec.node_selector["cores"] = "8"
    assert not NodeAffinity().mask(shape_of(pod), nodes, nodes.usage()).any()


@pytest.mark.parametrize(
    ("taken", "wanted", "free"),
    [
        (make_pod(host_port=80), make_pod(host_port=80), False),
        (make_pod(host_port=80), make_pod(host_port=81), True),
        (make_pod(host_port=80), make_pod(), True),
        (make_pod(host_port=80), on_address("10.0.0.1"), False),
        (on_address("10.0.0.1"), on_address("10.0.0.2"), True),
        (on_address(""), on_address("", "UDP"), True),
    ],
)
def test_host_ports(taken: Pod, wanted: Pod, free: bool) -> None:
    nodes = snapshot(make_node("a"), make_node("b"))
    nodes.put_pod("u", "b", shape_of(taken))
    assert HostPorts().mask(shape_of(wanted), nodes, nodes.usage()).tolist() == [True, free]
    assert HostPorts().mask(shape_of(wanted), nodes, nodes.usage(), np.array([1])).tolist() == [free]


@pytest.mark.parametrize(
    ("pod", "fits"),
    [
        (make_pod(), True),
        (make_pod(cpu="1", memory="1Gi"), True),
        (make_pod(cpu="1001m"), False),
        (make_pod(memory="1025Mi"), False),
        (make_pod(extended={"ephemeral-storage": "1"}), False),
        (make_pod(extended={"example.com/gpu": "1"}), True),
        (make_pod(extended={"example.com/gpu": "2"}), False),
        (make_pod(extended={"example.com/unknown": "0"}), True),
    ],
)
def test_resources(pod: Pod, fits: bool) -> None:
    nodes = snapshot(make_node("a", cpu="2", memory="2Gi", extended={"example.com/gpu": "1"}))
    nodes.put_pod("u", "a", shape_of(make_pod(cpu="1", memory="1Gi")))
    nodes.request(shape_of(pod))
    assert ResourcesFit().mask(shape_of(pod), nodes, nodes.usage()).tolist() == [fits]


def test_a_node_that_shrank_below_what_runs_there_still_takes_pods_that_ask_for_nothing() -> None:
    nodes = snapshot(make_node("a", cpu="1"))
    nodes.put_pod("u", "a", shape_of(make_pod(cpu="2")))
    assert ResourcesFit().mask(shape_of(make_pod(cpu="1m")), nodes, nodes.usage()).tolist() == [False]
    assert ResourcesFit().mask(shape_of(make_pod()), nodes, nodes.usage()).tolist() == [True]


def test_several_resources_of_one_node_are_all_named() -> None:
    nodes = snapshot(make_node("a", cpu="1"), make_node("b", memory="1Gi"), make_node("c"))
    shape = shape_of(make_pod(cpu="2", memory="2Gi"))
    reasons = ResourcesFit().explain(shape, nodes, nodes.usage(), np.array([True, True, False]))
    assert reasons == {"Insufficient cpu": 1, "Insufficient memory": 1}


def test_taints_are_explained_by_the_first_that_is_not_tolerated() -> None:
    nodes = snapshot(*TAINTS)
    shape, usage = shape_of(tolerating(EXISTS)), nodes.usage()
    assert TaintToleration().explain(shape, nodes, usage, np.array([False, True, False, False])) == {
        "node(s) had untolerated taint {j: }": 1
    }
    reasons = TaintToleration().explain(shape_of(make_pod()), nodes, usage, np.array([True, True, False, False]))
    assert reasons == {"node(s) had untolerated taint {k: v}": 2}


def scores(plugin: Plugin, pod: Pod, nodes: Nodes) -> list[float]:
    possible = np.ones(len(nodes), np.bool_)
    answer = plugin.score(shape_of(pod), nodes, nodes.usage())
    by_row = [plugin.score(shape_of(pod), nodes, nodes.usage(), np.array([row]))[0] for row in range(len(nodes))]
    assert answer.tolist() == by_row
    assert plugin.score(shape_of(pod), nodes, nodes.usage(), ALL).tolist() == by_row
    return list(map(float, answer if plugin.depends_on_usage else plugin.normalized(answer, possible)))


def test_soft_taints_cost() -> None:
    soft = [("k", "v", "PreferNoSchedule"), ("j", "", "PreferNoSchedule")]
    nodes = snapshot(make_node("a", taints=soft), make_node("b", taints=soft[:1]), make_node("c"))
    assert scores(TaintToleration(), make_pod(), nodes) == [0, 50, 100]
    assert scores(TaintToleration(), tolerating(EXISTS), nodes) == [0, 100, 100]


def test_preferences_add_up() -> None:
    pod = with_preferred(10, "disk", "ssd")
    preferred = pod.spec.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.add(weight=5)
    preferred.preference.match_expressions.add(key="disk", operator="Exists")
    assert scores(NodeAffinity(), pod, snapshot(*DISKS)) == [100, 33, 0]


def test_least_allocated() -> None:
    nodes = snapshot(make_node("a", cpu="4", memory="4Gi"), make_node("b", cpu="4", memory="4Gi"), make_node("c"))
    nodes.put_pod("u", "b", shape_of(make_pod(cpu="1", memory="1Gi")))
    assert scores(ResourcesFit(), make_pod(cpu="1", memory="1Gi"), nodes) == [75, 50, 81]


def test_balance() -> None:
    nodes = snapshot(make_node("a", cpu="4", memory="4Gi"), make_node("b", cpu="4", memory="16Gi"))
    assert scores(BalancedAllocation(), make_pod(cpu="2", memory="2Gi"), nodes) == [100, 81]


def test_pods_without_requests_weigh_something() -> None:
    nodes = snapshot(make_node("a"), make_node("b"))
    nodes.put_pod("u", "b", shape_of(make_pod()))
    a, b = scores(ResourcesFit(), make_pod(), nodes)
    assert a > b


def test_owners_spread() -> None:
    nodes = snapshot(make_node("a"), make_node("b"), make_node("c"))
    for uid, node in (("1", "b"), ("2", "c"), ("3", "c"), ("4", "elsewhere")):
        nodes.put_pod(uid, node, shape_of(owned(make_pod(), "rs")))
    nodes.put_pod("5", "a", shape_of(owned(make_pod(), "other")))
    assert scores(OwnerSpreading(), owned(make_pod(), "rs"), nodes) == [100, 50, pytest.approx(100 / 3)]
    assert scores(OwnerSpreading(), make_pod(), nodes) == [0, 0, 0]
    nodes.remove_pod("2")
    nodes.remove_pod("1")
    assert scores(OwnerSpreading(), owned(make_pod(), "rs"), nodes) == [100, 100, 50]
