"""The deciders with few cases: namespaces, pod networks, pods of removed nodes, service accounts, fresh services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from orchestrator.api.kinds import Kind, KubeObject, find_kind
from orchestrator.api.v1 import ConfigMap, Namespace, Node, ObjectMeta, Pod, ServiceAccount
from orchestrator.controllers import namespace, pod_cidr, pod_gc, service_account
from orchestrator.controllers.fresh import Fresh
from orchestrator.runtime import Plan
from tests.unit.controllers.objects import NOW, metadata, pod

PODS, CONFIG_MAPS = find_kind("pods"), find_kind("configmaps")


def conditions(plan: Plan) -> dict[str, tuple[str, str, str]]:
    (told,) = plan.update_status
    assert isinstance(told, Namespace)
    return {each.type: (each.status, each.reason, each.message) for each in told.status.conditions}


def ending(contents: Mapping[Kind, Sequence[KubeObject]], before: Namespace | None = None) -> Plan:
    leaving = before or Namespace(metadata=ObjectMeta(name="team", uid="u", resource_version="1"))
    return namespace.decide(namespace.Observed(leaving, contents), NOW)


def test_an_empty_namespace_needs_nothing() -> None:
    assert ending({PODS: [], CONFIG_MAPS: []}) == Plan()


def test_what_is_in_a_namespace_is_deleted_once() -> None:
    held = ConfigMap(metadata=metadata("held"))
    held.metadata.finalizers.append("example.com/hold")
    held.metadata.deletion_timestamp.FromDatetime(NOW)
    fresh = pod("fresh")
    plan = ending({PODS: [fresh, pod("leaving", leaving=True)], CONFIG_MAPS: [held]})
    assert [each.obj for each in plan.delete] == [fresh]
    assert conditions(plan) == {
        "NamespaceContentRemaining": (
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: configmaps has 1 resource instances, pods has 2 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
        ),
    }
    assert plan.requeue_after
    (told,) = plan.update_status
    assert isinstance(told, Namespace)
    after = ending({PODS: [pod("leaving", leaving=True)]}, told)
    assert conditions(after)["NamespaceFinalizersRemaining"][:2] == ("False", "ContentHasNoFinalizers")
    (again,) = after.update_status
    assert isinstance(again, Namespace)
    assert not ending({PODS: [pod("leaving", leaving=True)]}, again).update_status


def node(name: str, network: str = "", *, leaving: bool = False) -> Node:
    made = Node(metadata=metadata(name))
    made.spec.pod_cidr = network
    if leaving:
        made.metadata.deletion_timestamp.FromDatetime(NOW)
    return made


def networks(plan: Plan) -> dict[str, str]:
    given = {each.metadata.name: each.spec.pod_cidr for each in plan.update if isinstance(each, Node)}
    assert all(list(each.spec.pod_cidrs) == [each.spec.pod_cidr] for each in plan.update if isinstance(each, Node))
    return given


NETWORKS: list[tuple[str, list[Node], dict[str, str]]] = [
    ("the first", [node("a")], {"a": "10.244.0.0/24"}),
    ("in the order of names", [node("b"), node("a")], {"a": "10.244.0.0/24", "b": "10.244.1.0/24"}),
    ("the first free one", [node("a", "10.244.0.0/24"), node("b"), node("c", "10.244.2.0/24")], {"b": "10.244.1.0/24"}),
    ("all have theirs", [node("a", "10.244.7.0/24")], {}),
    (
        "one that leaves gets none, and keeps its own",
        [node("a", leaving=True), node("b", "10.244.0.0/24", leaving=True), node("c")],
        {"c": "10.244.1.0/24"},
    ),
]


@pytest.mark.parametrize(("name", "nodes", "expected"), NETWORKS, ids=[each[0] for each in NETWORKS])
def test_pod_networks(name: str, nodes: list[Node], expected: dict[str, str]) -> None:
    assert networks(pod_cidr.decide(pod_cidr.Observed(nodes), NOW)) == expected


def test_the_pod_network_ends() -> None:
    plan = pod_cidr.decide(pod_cidr.Observed([node(f"n{number:03}") for number in range(257)]), NOW)
    assert len(set(networks(plan).values())) == 256
    (event,) = plan.events
    assert (event.obj.metadata.name, event.type, event.reason) == ("n256", "Warning", "CIDRNotAvailable")


def test_pods_of_a_missing_node_are_given_time_and_then_removed() -> None:
    lost = pod("lost")
    waiting = pod_gc.decide(pod_gc.Lost([lost], 10.0), NOW)
    assert (waiting.delete, waiting.requeue_after) == ((), pod_gc.QUARANTINE_SECONDS - 10)
    (deletion,) = pod_gc.decide(pod_gc.Lost([lost], pod_gc.QUARANTINE_SECONDS), NOW).delete
    assert (deletion.obj, deletion.grace_period_seconds) == (lost, 0)
    assert not pod_gc.decide(pod_gc.Lost([], 0.0), NOW).delete


def test_the_oldest_finished_pods_go_when_there_are_too_many() -> None:
    finished = [pod(f"p{age:05}", phase="Failed", age=age) for age in range(pod_gc.FINISHED_LIMIT)]
    assert not pod_gc.decide(pod_gc.Finished(finished), NOW).delete
    finished[5:5] = [pod("older", phase="Succeeded", age=10**6), pod("oldest", phase="Failed", age=10**7)]
    plan = pod_gc.decide(pod_gc.Finished(finished), NOW)
    assert [each.obj.metadata.name for each in plan.delete] == ["oldest", "older"]


@pytest.mark.parametrize(("has_default", "leaving", "made"), [(False, False, 1), (True, False, 0), (False, True, 0)])
def test_default_service_accounts(has_default: bool, leaving: bool, made: int) -> None:
    team = Namespace(metadata=ObjectMeta(name="team"))
    if leaving:
        team.metadata.deletion_timestamp.FromDatetime(NOW)
    plan = service_account.decide(service_account.Observed(team, has_default), NOW)
    accounts = [ServiceAccount(metadata=ObjectMeta(name="default", namespace="team"))]
    assert list(plan.create) == accounts[:made]


async def test_a_fresh_service_is_made_for_each_run() -> None:
    class Counting:
        name = "counting"
        made = 0

        def __init__(self) -> None:
            type(self).made += 1

        async def run(self, ready: Callable[[], None]) -> None:
            ready()

    readied: list[Pod | None] = []
    service = Fresh("counting", Counting)
    for _ in range(2):
        await service.run(lambda: readied.append(None))
    assert (service.name, Counting.made, len(readied)) == ("counting", 2, 2)
