"""Node lifecycle: when a node is lost, its taints, and which pods have to go when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from orchestrator.api.conventions import NOT_READY, UNREACHABLE, UNSCHEDULABLE
from orchestrator.api.kinds import clone
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Lease, Node, NodeCondition, ObjectMeta, Pod, Taint, Toleration
from orchestrator.client import Client, Informer
from orchestrator.clock import FakeClock
from orchestrator.controllers.informers import Informers
from orchestrator.controllers.node_lifecycle import GRACE_SECONDS, NodeLifecycleController, Observed, decide, tolerates
from orchestrator.controllers.silence import Silence
from orchestrator.runtime import Plan
from tests.unit.controllers.objects import NOW, ago, metadata, pod

HEALTHY = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
LOST = dict.fromkeys(HEALTHY, "Unknown")


def node(conditions: Mapping[str, str] = HEALTHY, *taints: Taint, unschedulable: bool = False) -> Node:
    made = Node(metadata=metadata("n1"))
    made.metadata.namespace = ""
    made.spec.unschedulable = unschedulable
    made.spec.taints.extend(taints)
    for kind, value in conditions.items():
        made.status.conditions.append(NodeCondition(type=kind, status=value))
    return made


def look(seen: Node, *pods: Pod, silent: float = 0.0) -> Plan:
    return decide(Observed(seen, pods, silent), NOW)


def taint(key: str, effect: str = "NoExecute", since: float = 0.0, value: str = "") -> Taint:
    return Taint(key=key, effect=effect, value=value, time_added=to_timestamp(ago(since)))


def taints(plan: Plan) -> set[tuple[str, str]]:
    (updated,) = plan.update
    assert isinstance(updated, Node)
    return {(each.key, each.effect) for each in updated.spec.taints}


TAINTS: list[tuple[str, Node, float, set[tuple[str, str]] | None]] = [
    ("healthy", node(), 0, None),
    ("not ready", node({"Ready": "False"}), 0, {(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")}),
    ("lost", node(), GRACE_SECONDS, {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}),
    ("nothing told yet", node({}), 0, {(NOT_READY, "NoSchedule")}),
    ("never told anything", node({}), GRACE_SECONDS, {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}),
    (
        "short of memory",
        node(HEALTHY | {"MemoryPressure": "True"}),
        0,
        {("node.kubernetes.io/memory-pressure", "NoSchedule")},
    ),
    ("cordoned", node(unschedulable=True), 0, {(UNSCHEDULABLE, "NoSchedule")}),
    ("uncordoned", node(HEALTHY, taint(UNSCHEDULABLE, "NoSchedule")), 0, set()),
    ("ready again", node(HEALTHY, taint(UNREACHABLE), taint(UNREACHABLE, "NoSchedule")), 0, set()),
    (
        "somebody's own taint stays",
        node(HEALTHY, taint("team", "NoSchedule", value="a"), taint(NOT_READY)),
        0,
        {("team", "NoSchedule")},
    ),
    (
        "from not ready to lost",
        node({"Ready": "False"}, taint(NOT_READY), taint(NOT_READY, "NoSchedule")),
        99,
        {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")},
    ),
    ("known already", node(LOST, taint(UNREACHABLE, "NoSchedule"), taint(UNREACHABLE)), 99, None),
]


@pytest.mark.parametrize(("name", "seen", "silent", "expected"), TAINTS, ids=[each[0] for each in TAINTS])
def test_taints(name: str, seen: Node, silent: float, expected: set[tuple[str, str]] | None) -> None:
    plan = look(seen, silent=silent)
    if expected is None:
        assert not plan.update
    else:
        assert taints(plan) == expected


def test_the_time_of_a_taint_that_stays_is_kept() -> None:
    plan = look(node({"Ready": "False"}, taint(NOT_READY, since=100)))
    (updated,) = plan.update
    assert isinstance(updated, Node)
    times = {each.effect: each.time_added for each in updated.spec.taints}
    assert times == {"NoExecute": to_timestamp(ago(100)), "NoSchedule": to_timestamp(NOW)}


def test_a_lost_node_is_told_once() -> None:
    healthy, unready = pod("a"), pod("b", ready=False)
    for each in (healthy, unready):
        each.spec.tolerations.append(forever())
    plan = look(node(), healthy, unready, pod("done", phase="Succeeded"), silent=GRACE_SECONDS)
    told, not_ready = plan.update_status
    assert isinstance(told, Node) and isinstance(not_ready, Pod)
    assert {each.type: each.status for each in told.status.conditions} == LOST
    assert {each.reason for each in told.status.conditions} == {"NodeStatusUnknown"}
    assert not_ready.metadata.name == "a" and not_ready.status.conditions[0].status == "False"
    assert [(each.reason, each.message) for each in plan.events] == [
        ("NodeNotReady", "Node n1 status is now: NodeNotReady")
    ]
    assert plan.requeue_after is None
    (updated,) = plan.update
    known = clone(updated)
    assert isinstance(known, Node)
    known.status.CopyFrom(told.status)
    after = look(known, not_ready, unready, silent=GRACE_SECONDS + 9)
    assert not (after.update or after.update_status or after.delete or after.events)


def test_a_node_that_says_it_is_not_ready_speaks_for_its_pods() -> None:
    assert not look(node({"Ready": "False"}), pod("a")).update_status


def test_a_node_that_never_told_anything() -> None:
    (told,) = look(node({}), silent=GRACE_SECONDS).update_status
    assert isinstance(told, Node)
    assert {each.reason for each in told.status.conditions} == {"NodeStatusNeverUpdated"}


def test_the_next_look_is_when_the_grace_ends() -> None:
    assert look(node(), silent=15.0).requeue_after == GRACE_SECONDS - 15


def forever(key: str = "") -> Toleration:
    return Toleration(key=key, operator="Exists", effect="NoExecute")


def for_seconds(seconds: int, key: str = NOT_READY) -> Toleration:
    made = Toleration(key=key, operator="Exists", effect="NoExecute")
    made.toleration_seconds = seconds
    return made


EVICTIONS: list[tuple[str, Sequence[Toleration], float, float | None]] = [
    # tolerations, how long the taint is there, seconds until eviction (None: never)
    ("tolerates nothing", [], 0, 0),
    ("tolerates all", [forever()], 9999, None),
    ("tolerates this one", [forever(NOT_READY)], 9999, None),
    ("tolerates another one", [forever("team")], 0, 0),
    ("for a while", [for_seconds(300)], 100, 200),
    ("for a while that is over", [for_seconds(300)], 300, 0),
    ("the shortest of several", [for_seconds(300), for_seconds(30), forever()], 10, 20),
    ("no time at all", [for_seconds(0)], 0, 0),
    ("a negative time is none", [for_seconds(-5)], 0, 0),
]


@pytest.mark.parametrize(("name", "tolerations", "since", "expected"), EVICTIONS, ids=[each[0] for each in EVICTIONS])
def test_evictions(name: str, tolerations: Sequence[Toleration], since: float, expected: float | None) -> None:
    tainted = node({"Ready": "False"}, taint(NOT_READY, since=since), taint(NOT_READY, "NoSchedule"))
    victim = pod("victim", ready=False)
    victim.spec.tolerations.extend(tolerations)
    plan = look(tainted, victim, pod("leaving", leaving=True, ready=False), pod("done", phase="Failed", ready=False))
    if expected == 0:
        assert [each.obj for each in plan.delete] == [victim]
        assert [(each.reason, each.message) for each in plan.events] == [
            ("TaintManagerEviction", "Marking for deletion Pod default/victim")
        ]
        return
    assert not plan.delete
    assert plan.requeue_after == min(GRACE_SECONDS, GRACE_SECONDS if expected is None else expected)


def test_a_taint_takes_effect_once_it_is_on_the_node() -> None:
    plan = look(node(), pod("victim"), silent=GRACE_SECONDS)
    assert plan.update and not plan.delete
    (tainted,) = plan.update
    assert isinstance(tainted, Node)
    assert look(tainted, pod("victim"), silent=GRACE_SECONDS).delete


def test_without_another_ready_node_nobody_has_to_leave() -> None:
    tainted = node({"Ready": "False"}, taint(NOT_READY, since=9999), taint(NOT_READY, "NoSchedule"))
    plan = decide(Observed(tainted, [pod("victim", ready=False)], 0.0, others_ready=False), NOW)
    assert taints(plan) == {(NOT_READY, "NoSchedule")} and not plan.delete


def test_without_another_ready_node_traffic_stays_where_it_is() -> None:
    alone = Observed(node(), [pod("a")], GRACE_SECONDS, others_ready=False)
    (told,) = decide(alone, NOW).update_status
    assert isinstance(told, Node)
    # Once it has somewhere else to go, it goes.
    (not_ready,) = decide(Observed(told, [pod("a")], GRACE_SECONDS), NOW).update_status
    assert isinstance(not_ready, Pod)


def test_every_taint_has_to_be_tolerated() -> None:
    tainted = node({"Ready": "False"}, taint(NOT_READY), taint(NOT_READY, "NoSchedule"), taint("team", value="a"))
    victim = pod("victim", ready=False)
    victim.spec.tolerations.append(forever(NOT_READY))
    assert look(tainted, victim).delete
    victim.spec.tolerations.append(Toleration(key="team", value="a"))
    assert not look(tainted, victim).delete


TOLERATES = [
    (Toleration(operator="Exists"), True),
    (Toleration(operator="Exists", effect="NoSchedule"), False),
    (Toleration(key="team", operator="Exists"), True),
    (Toleration(key="team", operator="Equal", value="a"), True),
    (Toleration(key="team", value="a"), True),
    (Toleration(key="team", value="b"), False),
    (Toleration(key="other", operator="Exists"), False),
    (Toleration(), False),
]


@pytest.mark.parametrize(("toleration", "expected"), TOLERATES)
def test_tolerates(toleration: Toleration, expected: bool) -> None:
    assert tolerates(toleration, taint("team", value="a")) is expected


def test_leases_and_heartbeats_are_signs_of_life() -> None:
    clock = FakeClock(NOW)
    informers = Informers(cast(Client, None), clock)
    controller = NodeLifecycleController(informers, clock)
    lease = Lease(metadata=ObjectMeta(name="n1", namespace="kube-node-lease"))

    def silent() -> float:
        seen = controller.observe("n1")
        assert seen is not None
        return seen.silent_seconds

    def tell(obj: Node | Lease, version: int) -> None:
        told = clone(obj)
        told.metadata.resource_version = str(version)
        informer: Informer[Any] = informers.of(type(obj))
        informer._cache.put(told)

    beating = node()
    tell(beating, 10_001)
    assert silent() == 0
    clock.advance(30)
    assert silent() == 30
    tell(lease, 10_002)
    assert silent() == 0
    clock.advance(30)
    beating.metadata.labels["zone"] = "a"
    tell(beating, 10_003)
    assert silent() == 30, "somebody else's change is no sign of life"
    beating.status.conditions[0].last_heartbeat_time.CopyFrom(to_timestamp(NOW))
    tell(beating, 10_004)
    assert silent() == 0
    clock.advance(30)
    tell(lease, 10_005)
    assert silent() == 0
    assert list(controller.keys(informers.of(Lease), lease)) == ["n1"]


def test_silence_is_counted_from_the_last_change_seen_here() -> None:
    clock = FakeClock(NOW)
    silence = Silence(clock)
    assert silence.seconds("n1", "1") == 0
    clock.advance(30)
    assert silence.seconds("n1", "1") == 30
    assert silence.seconds("n2", "1") == 0
    assert silence.seconds("n1", "2") == 0
    clock.advance(5)
    silence.forget("n1")
    assert silence.seconds("n1", "2") == 0
    assert clock.now() == NOW + timedelta(seconds=35)
