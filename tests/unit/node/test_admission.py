"""Which pods a node takes: resources, host ports, labels; and with which words it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.admission import admit, requests
from orchestrator.api.v1 import Container, ContainerPort, Pod, ResourceRequirements

ALLOCATABLE = {"cpu": "2", "memory": "1Gi", "pods": "3", "ephemeral-storage": "10Gi"}
LABELS = {"kubernetes.io/os": "linux", "disk": "ssd"}


def container(
    cpu: str = "", memory: str = "", *, port: ContainerPort | None = None, sidecar: bool = False
) -> Container:
    asked = {name: amount for name, amount in (("cpu", cpu), ("memory", memory)) if amount}
    made = Container(name="main", resources=ResourceRequirements(requests=asked), ports=[port] if port else [])
    if sidecar:
        made.restart_policy = "Always"
    return made


def pod(
    *containers: Container,
    init: Sequence[Container] = (),
    selector: Mapping[str, str] | None = None,
    phase: str = "",
    host_network: bool = False,
    overhead: Mapping[str, str] | None = None,
) -> Pod:
    made = Pod()
    made.metadata.name = "web"
    made.spec.containers.extend(containers or [container()])
    made.spec.init_containers.extend(init)
    made.spec.node_selector.update(selector or {})
    made.spec.overhead.update(overhead or {})
    made.spec.host_network = host_network
    made.status.phase = phase
    return made


def port(number: int, protocol: str = "TCP", ip: str = "") -> ContainerPort:
    return ContainerPort(container_port=80, host_port=number, protocol=protocol, host_ip=ip)


def on(number: int, protocol: str = "TCP", ip: str = "", **more: bool) -> Pod:
    return pod(container(port=port(number, protocol, ip)), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "wanted", "others", "reason"),
    [
        ("asks for nothing", pod(), [], ""),
        ("just fits", pod(container("500m", "512Mi")), [pod(container("1500m", "512Mi"))], ""),
        ("too much CPU", pod(container("501m")), [pod(container("1500m"))], "OutOfcpu"),
        ("too much memory", pod(container(memory="513Mi")), [pod(container(memory="512Mi"))], "OutOfmemory"),
        ("CPU of all containers", pod(container("1"), container("1001m")), [], "OutOfcpu"),
        ("finished pods take nothing", pod(container("2")), [pod(container("2"), phase="Succeeded")], ""),
        ("pods that only end still do", pod(container("2")), [pod(container("1"), phase="Running")], "OutOfcpu"),
        ("too many pods", pod(), [pod(), pod(), pod()], "OutOfpods"),
        ("finished pods don't count", pod(), [pod(), pod(), pod(phase="Failed")], ""),
        ("unknown resources", pod(Container(resources=ResourceRequirements(requests={"gpu": "1"}))), [], "OutOfgpu"),
        ("none of an unknown one", pod(Container(resources=ResourceRequirements(requests={"gpu": "0"}))), [], ""),
        ("label there", pod(selector={"disk": "ssd"}), [], ""),
        ("label missing", pod(selector={"disk": "ssd", "zone": "a"}), [], "NodeAffinity"),
        ("label different", pod(selector={"disk": "hdd"}), [], "NodeAffinity"),
        ("port free", on(80), [on(81)], ""),
        ("port taken", on(80), [on(80)], "NodePorts"),
        ("port of a finished pod", on(80), [on(80, phase="Failed")], ""),  # type: ignore[arg-type]
        ("another protocol", on(80, "UDP"), [on(80)], ""),
        ("no protocol is TCP", on(80, ""), [on(80)], "NodePorts"),
        ("other addresses", on(80, ip="192.0.2.1"), [on(80, ip="192.0.2.2")], ""),
        ("one address and all", on(80, ip="192.0.2.1"), [on(80, ip="0.0.0.0")], "NodePorts"),
        (
            "on the host's network every port is",
            pod(container(port=ContainerPort(container_port=80)), host_network=True),
            [on(80)],
            "NodePorts",
        ),
        ("a sidecar's port", on(80), [pod(init=[container(port=port(80), sidecar=True)])], "NodePorts"),
        ("an init container's port is free again", on(80), [pod(init=[container(port=port(80))])], ""),
        ("two of its own", pod(container(port=port(80)), container(port=port(80))), [], ""),
    ],
)
def test_admission(case: str, wanted: Pod, others: Sequence[Pod], reason: str) -> None:
    refusal = admit(wanted, others, ALLOCATABLE, LABELS)
    assert (refusal.reason if refusal else "") == reason, case
    if refusal:
        assert refusal.phase == "Failed"
        assert refusal.message.startswith("Pod was rejected: ")


def test_the_words_of_a_refusal() -> None:
    refusal = admit(pod(container("1")), [pod(container("1500m"))], ALLOCATABLE, {})
    assert refusal is not None
    assert refusal.message == (
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
    )


@pytest.mark.parametrize(
    ("case", "asked", "expected"),
    [
        ("the sum", pod(container("1"), container("250m")), 1250),
        ("a larger init container", pod(container("1"), init=[container("3"), container("2")]), 3000),
        ("a smaller init container", pod(container("2"), init=[container("1")]), 2000),
        ("a sidecar adds", pod(container("1"), init=[container("500m", sidecar=True)]), 1500),
        (
            "a sidecar runs beside later init containers",
            pod(container("1"), init=[container("500m", sidecar=True), container("2")]),
            2500,
        ),
        (
            "and not beside earlier ones",
            pod(container("1"), init=[container("2"), container("500m", sidecar=True)]),
            2000,
        ),
        ("overhead", pod(container("1"), overhead={"cpu": "100m"}), 1100),
    ],
)
def test_requests(case: str, asked: Pod, expected: int) -> None:
    assert requests(asked)["cpu"] == expected, case


@given(st.lists(st.integers(0, 900), max_size=8))
def test_what_was_taken_always_fits(sizes: list[int]) -> None:
    taken: list[Pod] = []
    for size in sizes:
        asking = pod(container(f"{size}m"))
        if admit(asking, taken, ALLOCATABLE, LABELS) is None:
            taken.append(asking)
    assert sum(requests(each)["cpu"] for each in taken) <= 2000
    assert len(taken) <= 3
