"""What a node says of itself: the readings of the machine, and the status made of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.machine import Disk, Machine, Usage, parse_meminfo, parse_os_release, parse_threads
from agents.node.node_status import (
    Identity,
    Runtime,
    allocatable,
    capacity,
    differs,
    missing_labels,
    new_node,
    node_status,
)
from orchestrator.api.v1 import NodeCondition, NodeStatus
from orchestrator.api.validation import validate, validate_status

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
IDENTITY = Identity("n1", "192.0.2.1", 7450, "v0.1.0")
MACHINE = Machine(cpus=4, memory=8 << 30, architecture="amd64", kernel="6.1", machine_id="m", os_image="Debian")
USAGE = Usage(4 << 30, Disk(100 << 30, 50 << 30, 1000, 900), threads=300, threads_limit=32768)
READY = Runtime(
    "containerd://1.6.20",
    (cri.RuntimeCondition(type="RuntimeReady", status=True), cri.RuntimeCondition(type="NetworkReady", status=True)),
)
NO_NETWORK = replace(
    READY,
    conditions=(
        cri.RuntimeCondition(type="RuntimeReady", status=True),
        cri.RuntimeCondition(
            type="NetworkReady", status=False, reason="NetworkPluginNotReady", message="cni plugin not initialized"
        ),
    ),
)


def test_meminfo() -> None:
    text = (
        "MemTotal:  16000 kB\nMemAvailable:  8000 kB\nHugePages_Total:  3\nHugepagesize:  2048 kB\nBad\nWorse: x kB\n"
    )
    assert parse_meminfo(text) == {
        "MemTotal": 16000 << 10,
        "MemAvailable": 8000 << 10,
        "HugePages_Total": 3,
        "Hugepagesize": 2048 << 10,
    }


def test_os_release() -> None:
    text = (
        'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n# NAME=x\n\nID=debian\nQUOTED=\'a b\'\nESCAPED="a\\"b"\nlonely\n'
    )
    assert parse_os_release(text) == {
        "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
        "ID": "debian",
        "QUOTED": "a b",
        "ESCAPED": 'a"b',
    }


@pytest.mark.parametrize(("text", "threads"), [("0.1 0.2 0.3 2/345 678\n", 345), ("", 0), ("1 2 3 4 5", 0)])
def test_threads(text: str, threads: int) -> None:
    assert parse_threads(text) == threads


@given(st.text())
def test_parsers_take_anything(text: str) -> None:
    parse_meminfo(text)
    parse_os_release(text)
    parse_threads(text)


def test_this_machine(tmp_path: Path) -> None:
    machine, usage = Machine.read(), Usage.read(tmp_path / "not" / "there" / "yet")
    assert machine.cpus >= 1
    assert machine.memory > usage.memory_available > 0
    assert usage.disk.size >= usage.disk.free
    assert 0 < usage.threads < usage.threads_limit
    assert machine.boot_id


def test_capacity_and_allocatable() -> None:
    assert capacity(MACHINE, 100 << 30) == {
        "cpu": "4",
        "memory": "8388608Ki",
        "ephemeral-storage": "104857600Ki",
        "pods": "110",
    }
    assert allocatable(MACHINE, 100 << 30) == {
        "cpu": "4",
        "memory": "8286208Ki",
        "ephemeral-storage": "94371840Ki",
        "pods": "110",
    }
    paged = replace(MACHINE, huge_page=2 << 20, huge_pages=1 << 30)
    assert allocatable(paged, 0)["hugepages-2Mi"] == "1048576Ki"
    assert allocatable(paged, 0)["memory"] == "7237632Ki"
    assert allocatable(replace(MACHINE, memory=1 << 20), 0)["memory"] == "0Ki"


def conditions(status: NodeStatus) -> dict[str, str]:
    return {each.type: f"{each.status} {each.reason}" for each in status.conditions}


def told(
    known: NodeStatus | None = None, usage: Usage = USAGE, runtime: Runtime = READY, seconds: int = 0
) -> NodeStatus:
    return node_status(known or NodeStatus(), IDENTITY, MACHINE, usage, runtime, NOW + timedelta(seconds=seconds))


def test_a_node_that_is_well() -> None:
    status = told()
    assert conditions(status) == {
        "MemoryPressure": "False KubeletHasSufficientMemory",
        "DiskPressure": "False KubeletHasNoDiskPressure",
        "PIDPressure": "False KubeletHasSufficientPID",
        "Ready": "True KubeletReady",
    }
    assert [(each.type, each.address) for each in status.addresses] == [("InternalIP", "192.0.2.1"), ("Hostname", "n1")]
    assert status.daemon_endpoints.kubelet_endpoint.port == 7450
    assert status.node_info.container_runtime_version == "containerd://1.6.20"


@pytest.mark.parametrize(
    ("case", "usage", "expected"),
    [
        ("memory", replace(USAGE, memory_available=99 << 20), ("MemoryPressure", "True KubeletHasInsufficientMemory")),
        ("disk", replace(USAGE, disk=Disk(5 << 30, 400 << 20)), ("DiskPressure", "True KubeletHasDiskPressure")),
        (
            "a large disk",
            replace(USAGE, disk=Disk(1 << 40, 50 << 30)),
            ("DiskPressure", "False KubeletHasNoDiskPressure"),
        ),
        (
            "inodes",
            replace(USAGE, disk=Disk(1 << 40, 1 << 39, 1000, 40)),
            ("DiskPressure", "True KubeletHasDiskPressure"),
        ),
        (
            "no inodes to count",
            replace(USAGE, disk=Disk(1 << 40, 1 << 39)),
            ("DiskPressure", "False KubeletHasNoDiskPressure"),
        ),
        ("threads", replace(USAGE, threads=32000), ("PIDPressure", "True KubeletHasInsufficientPID")),
        (
            "threads unknown",
            replace(USAGE, threads=9, threads_limit=0),
            ("PIDPressure", "False KubeletHasSufficientPID"),
        ),
    ],
)
def test_pressure(case: str, usage: Usage, expected: tuple[str, str]) -> None:
    kind, words = expected
    assert conditions(told(usage=usage))[kind] == words, case


def ready(status: NodeStatus) -> NodeCondition:
    return next(each for each in status.conditions if each.type == "Ready")


def test_why_a_node_is_not_ready() -> None:
    assert ready(told(runtime=NO_NETWORK)).message == (
        "container runtime network not ready: NetworkReady=false "
        "reason:NetworkPluginNotReady message:cni plugin not initialized"
    )
    assert ready(told(runtime=Runtime(fault="connection refused"))).message == (
        "container runtime is down: connection refused"
    )


def test_times_and_news() -> None:
    first = told(runtime=NO_NETWORK)
    later = told(first, runtime=NO_NETWORK, seconds=60)
    assert not differs(first, later)
    assert ready(later).last_transition_time.seconds == int(NOW.timestamp())
    assert ready(later).last_heartbeat_time.seconds == int(NOW.timestamp()) + 60
    well = told(later, seconds=90)
    assert differs(later, well)
    assert ready(well).last_transition_time.seconds == int(NOW.timestamp()) + 90


def test_what_others_have_written_stays() -> None:
    known = NodeStatus(conditions=[NodeCondition(type="NetworkUnavailable", status="False", reason="RouteCreated")])
    known.volumes_in_use.append("v")
    status = told(known)
    assert conditions(status)["NetworkUnavailable"] == "False RouteCreated"
    assert list(status.volumes_in_use) == ["v"]


def test_a_runtime_that_is_away_keeps_its_version_and_images() -> None:
    image = cri.Image(id="sha256:a", repo_tags=["registry.test/web:v1"], size=7)
    known = told(runtime=replace(READY, images=[image]))
    assert [(list(each.names), each.size_bytes) for each in known.images] == [(["registry.test/web:v1"], 7)]
    status = told(known, runtime=Runtime(fault="away"))
    assert status.images == known.images
    assert status.node_info.container_runtime_version == "containerd://1.6.20"


def test_only_the_largest_images_are_told() -> None:
    images = [cri.Image(id=f"sha256:{number}", repo_tags=[f"i:{number}"], size=number) for number in range(60)]
    status = told(runtime=replace(READY, images=images))
    assert [each.size_bytes for each in status.images] == list(range(59, 9, -1))


def test_the_new_node_is_valid_and_complete() -> None:
    node = new_node(IDENTITY, MACHINE, told())
    assert validate(node) == []
    assert validate_status(node) == []
    assert missing_labels(node, IDENTITY, MACHINE) == {}
    node.metadata.labels["kubernetes.io/arch"] = "arm64"
    assert missing_labels(node, IDENTITY, MACHINE) == {"kubernetes.io/arch": "amd64"}
