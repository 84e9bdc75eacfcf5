"""What a pod asks for, container by container."""

from __future__ import annotations

import pytest

from orchestrator.api.v1 import Container, PodSpec
from orchestrator.scheduler.shape import HostPort, Toleration, pod_requests, shape_of
from tests.unit.scheduler.making import make_container, make_pod


@pytest.mark.parametrize(
    ("name", "init", "main", "cpu"),
    [
        ("containers add up", [], [make_container({"cpu": "100m"}), make_container({"cpu": "0.2"})], 300),
        (
            "a larger init container counts alone",
            [make_container({"cpu": "1"})],
            [make_container({"cpu": "100m"})],
            1000,
        ),
        ("a smaller init container is free", [make_container({"cpu": "50m"})], [make_container({"cpu": "100m"})], 100),
        (
            "a sidecar runs beside the containers",
            [make_container({"cpu": "200m"}, restart="Always")],
            [make_container({"cpu": "100m"})],
            300,
        ),
        (
            "an init container runs beside the sidecars before it",
            [make_container({"cpu": "200m"}, restart="Always"), make_container({"cpu": "500m"})],
            [make_container({"cpu": "100m"})],
            700,
        ),
        (
            "but not beside those after it",
            [make_container({"cpu": "500m"}), make_container({"cpu": "200m"}, restart="Always")],
            [make_container({"cpu": "100m"})],
            500,
        ),
    ],
)
def test_cpu_of_pod(name: str, init: list[Container], main: list[Container], cpu: int) -> None:
    assert pod_requests(PodSpec(init_containers=init, containers=main))["cpu"] == cpu, name


def test_overhead_and_the_pod_itself_count() -> None:
    spec = PodSpec(containers=[make_container({"memory": "1Mi"})], overhead={"memory": "1Ki"})
    assert dict(pod_requests(spec)) == {"memory": 1024 * 1024 + 1024, "pods": 1}


def test_pods_of_one_template_have_one_shape() -> None:
    assert shape_of(make_pod("a", cpu="1")) == shape_of(make_pod("b", cpu="1000m"))
    assert shape_of(make_pod("a", cpu="1")) != shape_of(make_pod("a", cpu="2"))


@pytest.mark.parametrize(
    ("one", "other", "clashes"),
    [
        (HostPort("0.0.0.0", "TCP", 80), HostPort("10.0.0.1", "TCP", 80), True),
        (HostPort("10.0.0.1", "TCP", 80), HostPort("10.0.0.1", "TCP", 80), True),
        (HostPort("10.0.0.1", "TCP", 80), HostPort("10.0.0.2", "TCP", 80), False),
        (HostPort("0.0.0.0", "TCP", 80), HostPort("0.0.0.0", "UDP", 80), False),
        (HostPort("0.0.0.0", "TCP", 80), HostPort("0.0.0.0", "TCP", 81), False),
    ],
)
def test_host_ports_clash(one: HostPort, other: HostPort, clashes: bool) -> None:
    assert one.clashes(other) is clashes
    assert other.clashes(one) is clashes


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        (Toleration("", "Exists", "", ""), True),
        (Toleration("k", "Exists", "", ""), True),
        (Toleration("k", "Equal", "v", "NoSchedule"), True),
        (Toleration("k", "", "v", ""), True),
        (Toleration("k", "Equal", "w", ""), False),
        (Toleration("k", "Equal", "v", "NoExecute"), False),
        (Toleration("j", "Exists", "", ""), False),
    ],
)
def test_toleration(toleration: Toleration, tolerates: bool) -> None:
    assert toleration.tolerates("k", "v", "NoSchedule") is tolerates
