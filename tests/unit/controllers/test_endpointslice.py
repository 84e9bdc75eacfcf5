"""EndpointSlices: who is in them, with which ports, in how many slices, and how few are rewritten."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Value
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api.conventions import SERVICE_NAME
from orchestrator.api.kinds import clone
from orchestrator.api.v1 import ContainerPort, Endpoint, EndpointSlice, Pod, Service, ServicePort, ServiceSpec
from orchestrator.controllers.endpointslice import HEADLESS, MANAGED_BY, MANAGER, Observed, decide
from orchestrator.runtime import Plan
from tests.unit.controllers.objects import LABELS, NOW, metadata, pod


def service(
    *ports: ServicePort, headless: bool = False, publish: bool = False, selects: bool = True, kind: str = "ClusterIP"
) -> Service:
    return Service(
        metadata=metadata("web", {"team": "a"}),
        spec=ServiceSpec(
            type=kind,
            cluster_ip="None" if headless else "10.96.0.20",
            selector=LABELS if selects else {},
            ports=ports or (ServicePort(name="http", port=80, protocol="TCP", target_port=Value(number_value=8080)),),
            publish_not_ready_addresses=publish,
        ),
    )


def running(number: int, **how: Any) -> Pod:
    return pod(f"p{number:04}", ip=f"10.244.{number // 250}.{number % 250 + 1}", **how)


class Slices:
    """The slices of one Service, kept by carrying out plans."""

    def __init__(self, of: Service) -> None:
        self.service = of
        self.present: dict[str, EndpointSlice] = {}

    def follow(self, pods: Sequence[Pod]) -> Plan:
        plan = decide(Observed(self.service, pods, list(self.present.values())), NOW)
        for obj in plan.create:
            assert isinstance(obj, EndpointSlice)
            assert obj.metadata.name not in self.present
            made = clone(obj)
            made.metadata.uid, made.metadata.resource_version = f"uid-{obj.metadata.name}", "1"
            self.present[obj.metadata.name] = made
        for obj in plan.update:
            assert isinstance(obj, EndpointSlice) and obj != self.present[obj.metadata.name]
            self.present[obj.metadata.name] = obj
        for deletion in plan.delete:
            del self.present[deletion.obj.metadata.name]
        return plan

    def endpoints(self) -> list[Endpoint]:
        return [each for name in sorted(self.present) for each in self.present[name].endpoints]

    def only(self) -> EndpointSlice:
        (piece,) = self.present.values()
        return piece


def writes(plan: Plan) -> tuple[int, int, int]:
    return len(plan.create), len(plan.update), len(plan.delete)


CONDITIONS = [
    # how the pod is, publishNotReadyAddresses, (ready, serving, terminating)
    ("ready", {}, False, (True, True, False)),
    ("not ready", {"ready": False}, False, (False, False, False)),
    ("not ready, published", {"ready": False}, True, (True, False, False)),
    ("leaving", {"leaving": True}, False, (False, True, True)),
    ("leaving, no longer ready", {"leaving": True, "ready": False}, False, (False, False, True)),
]


@pytest.mark.parametrize(("name", "how", "publish", "expected"), CONDITIONS, ids=[each[0] for each in CONDITIONS])
def test_conditions(name: str, how: dict[str, Any], publish: bool, expected: tuple[bool, bool, bool]) -> None:
    slices = Slices(service(publish=publish))
    slices.follow([running(1, **how)])
    (endpoint,) = slices.endpoints()
    found = endpoint.conditions
    assert (found.ready, found.serving, found.terminating) == expected
    assert (endpoint.addresses[0], endpoint.node_name, endpoint.target_ref.name) == ("10.244.0.2", "n1", "p0001")


@pytest.mark.parametrize("left_out", [pod("no address"), running(1, phase="Failed"), running(1, phase="Succeeded")])
def test_pods_without_address_and_finished_ones_are_left_out(left_out: Pod) -> None:
    slices = Slices(service())
    slices.follow([left_out])
    assert not slices.endpoints()


def test_what_a_slice_carries() -> None:
    slices = Slices(service())
    slices.follow([running(1)])
    piece = slices.only()
    assert dict(piece.metadata.labels) == {"team": "a", SERVICE_NAME: "web", MANAGED_BY: MANAGER}
    assert piece.address_type == "IPv4" and piece.metadata.name.startswith("web-")
    assert [(each.kind, each.uid, each.controller) for each in piece.metadata.owner_references] == [
        ("Service", "uid-web", True)
    ]
    assert [(each.name, each.protocol, each.port) for each in piece.ports] == [("http", "TCP", 8080)]


def test_labels_follow_the_service() -> None:
    slices = Slices(service(headless=True))
    slices.follow([running(1)])
    assert slices.only().metadata.labels[HEADLESS] == ""
    slices.service = service()
    del slices.service.metadata.labels["team"]
    assert writes(slices.follow([running(1)])) == (0, 1, 0)
    assert dict(slices.only().metadata.labels) == {SERVICE_NAME: "web", MANAGED_BY: MANAGER}


def test_headless_services_may_have_no_ports() -> None:
    headless = service(headless=True)
    del headless.spec.ports[:]
    slices = Slices(headless)
    assert writes(slices.follow([])) == (1, 0, 0)
    assert writes(slices.follow([running(1)])) == (0, 1, 0), "the empty one is filled"
    assert len(slices.endpoints()) == 1 and not slices.only().ports


def test_hostnames_of_a_subdomain() -> None:
    named, elsewhere = running(1), running(2)
    named.spec.hostname, named.spec.subdomain = "first", "web"
    elsewhere.spec.hostname, elsewhere.spec.subdomain = "second", "other"
    slices = Slices(service())
    slices.follow([named, elsewhere])
    assert [each.hostname for each in slices.endpoints()] == ["first", ""]


def with_port(number: int, name: str, port: int, protocol: str = "TCP") -> Pod:
    made = running(number)
    made.spec.containers[0].ports.append(ContainerPort(name=name, container_port=port, protocol=protocol))
    return made


def test_named_ports_lead_where_each_pod_says() -> None:
    named = ServicePort(name="http", port=80, protocol="TCP", target_port=Value(string_value="web"))
    slices = Slices(service(named, ServicePort(name="metrics", port=9090, protocol="TCP")))
    pods = [with_port(1, "web", 8080), with_port(2, "web", 8081), with_port(3, "web", 8080), with_port(4, "other", 1)]
    slices.follow([*pods, with_port(5, "web", 53, "UDP")])
    by_ports = {
        tuple((port.name, port.port) for port in piece.ports): sorted(each.target_ref.name for each in piece.endpoints)
        for piece in slices.present.values()
    }
    assert by_ports == {
        (("http", 8080), ("metrics", 9090)): ["p0001", "p0003"],
        (("http", 8081), ("metrics", 9090)): ["p0002"],
        (("metrics", 9090),): ["p0004", "p0005"],
    }


def test_a_hundred_to_a_slice_and_one_change_rewrites_one() -> None:
    slices = Slices(service())
    pods = [running(number) for number in range(250)]
    assert writes(slices.follow(pods)) == (3, 0, 0)
    assert sorted(len(each.endpoints) for each in slices.present.values()) == [50, 100, 100]
    assert writes(slices.follow(pods)) == (0, 0, 0)
    pods[120] = running(120, ready=False)
    assert writes(slices.follow(pods)) == (0, 1, 0)
    del pods[7]
    assert writes(slices.follow(pods)) == (0, 1, 0)
    pods.append(running(300))
    assert writes(slices.follow(pods)) == (0, 1, 0)
    del pods[30]
    pods.append(running(301))
    assert writes(slices.follow(pods)) == (0, 1, 0), "a new one goes where one is changed anyway"


def test_the_order_of_pods_means_nothing() -> None:
    slices = Slices(service())
    pods = [running(number) for number in range(150)]
    slices.follow(pods)
    random.Random(1).shuffle(pods)
    assert writes(slices.follow(pods)) == (0, 0, 0)


def test_there_is_always_a_slice_and_it_is_used_again() -> None:
    slices = Slices(service())
    assert writes(slices.follow([])) == (1, 0, 0)
    empty = slices.only()
    assert not empty.endpoints and not empty.ports
    assert writes(slices.follow([])) == (0, 0, 0)
    for pods in ([running(1)], [], [running(2), running(3)]):
        assert writes(slices.follow(pods)) == (0, 1, 0)
        assert slices.only().metadata.uid == empty.metadata.uid
        assert len(slices.endpoints()) == len(pods)


def test_another_target_port_is_changed_in_place() -> None:
    slices = Slices(service())
    slices.follow([running(number) for number in range(150)])
    moved = ServicePort(name="http", port=80, protocol="TCP", target_port=Value(number_value=9090))
    slices.service = service(moved)
    assert writes(slices.follow([running(number) for number in range(150)])) == (0, 2, 0)
    assert {port.port for piece in slices.present.values() for port in piece.ports} == {9090}


@pytest.mark.parametrize("other", [service(selects=False), service(kind="ExternalName")])
def test_services_that_select_nothing_have_no_slices(other: Service) -> None:
    slices = Slices(other)
    assert writes(slices.follow([running(1)])) == (0, 0, 0)
    before = Slices(service())
    before.follow([running(1)])
    before.service = other
    assert writes(before.follow([])) == (0, 0, 1)


def test_a_service_on_its_way_out_is_left_to_the_garbage_collector() -> None:
    leaving = service()
    leaving.metadata.deletion_timestamp.FromDatetime(NOW)
    assert decide(Observed(leaving, [running(1)], []), NOW) == Plan()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sets(st.integers(0, 230), max_size=230), min_size=1, max_size=5), st.data())
def test_every_history_ends_in_the_pods_there_are(history: list[set[int]], data: st.DataObject) -> None:
    slices = Slices(service())
    for present in history:
        unready = data.draw(st.sets(st.sampled_from(sorted(present)), max_size=3)) if present else set()
        pods = [running(number, ready=number not in unready) for number in sorted(present)]
        slices.follow(pods)
        found = [each.target_ref.name for each in slices.endpoints()]
        assert sorted(found) == [each.metadata.name for each in pods]
        assert all(len(piece.endpoints) <= 100 for piece in slices.present.values())
        assert {each.target_ref.name for each in slices.endpoints() if not each.conditions.ready} == {
            f"p{number:04}" for number in unready
        }
        assert writes(slices.follow(pods)) == (0, 0, 0)
