"""Reading the runtime's messages: what an agent that was restarted makes of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.container_config import CONTAINER_NAME, HASH
from agents.node.runtime_state import (
    CRASHES,
    Listing,
    PodRuntime,
    State,
    agrees,
    container_record,
    group,
    moment,
    pod_runtime,
    sandbox_record,
)
from agents.node.sandbox_config import POD_NAME, POD_NAMESPACE, POD_UID

SECOND = 10**9
LABELS = {POD_UID: "u1", POD_NAME: "web", POD_NAMESPACE: "default"}


def listed_sandbox(number: int, state: cri.PodSandboxState.ValueType = cri.SANDBOX_READY) -> cri.PodSandbox:
    metadata = cri.PodSandboxMetadata(name="web", uid="u1", namespace="default", attempt=number)
    return cri.PodSandbox(id=f"s{number}", metadata=metadata, state=state, created_at=SECOND * number, labels=LABELS)


def listed_container(number: int, state: cri.ContainerState.ValueType = cri.CONTAINER_RUNNING) -> cri.Container:
    return cri.Container(id=f"c{number}", state=state, labels=LABELS | {CONTAINER_NAME: "main"})


def status(number: int, state: cri.ContainerState.ValueType = cri.CONTAINER_RUNNING) -> cri.ContainerStatus:
    return cri.ContainerStatus(
        id=f"c{number}",
        metadata=cri.ContainerMetadata(name="main", attempt=number),
        state=state,
        created_at=SECOND,
        started_at=2 * SECOND,
        exit_code=3,
        image_ref="sha256:1",
        labels=LABELS | {CONTAINER_NAME: "main"},
        annotations={HASH: "abc", CRASHES: "4"},
    )


def test_a_container_is_what_its_labels_and_annotations_say() -> None:
    record = container_record(status(2), "s0")
    assert (record.name, record.attempt, record.sandbox_id, record.hash, record.crashes) == ("main", 2, "s0", "abc", 4)
    assert record.state is State.RUNNING
    assert record.started_at == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert record.finished_at is None


@pytest.mark.parametrize("written", ["", "many", "-1"])
def test_an_annotation_of_somebody_else_does_no_harm(written: str) -> None:
    strange = status(0)
    strange.annotations[CRASHES] = written
    assert container_record(strange, "s0").crashes == 0


def test_addresses_come_from_the_status_alone() -> None:
    told = cri.PodSandboxStatus(id="s0", state=cri.SANDBOX_READY)
    told.network.ip = "10.244.0.5"
    told.network.additional_ips.add(ip="fd00::5")
    assert sandbox_record(told).ips == ("10.244.0.5", "fd00::5")
    assert sandbox_record(listed_sandbox(0)).ips == ()
    assert not sandbox_record(listed_sandbox(0, cri.SANDBOX_NOTREADY)).ready


def test_what_no_node_agent_started_is_left_alone() -> None:
    foreign = cri.PodSandbox(id="x")
    found = group([foreign, listed_sandbox(0)], [listed_container(0)])
    assert list(found) == ["u1"]
    assert (found["u1"].name, found["u1"].namespace) == ("web", "default")
    assert [each.id for each in found["u1"].containers] == ["c0"]


def test_a_container_whose_sandbox_is_gone_still_belongs_to_its_pod() -> None:
    assert group([], [listed_container(0)])["u1"].name == "web"


def test_newest_first_whatever_the_order_of_the_list() -> None:
    listing = Listing("u1", "web", "default", (), ())
    runtime = pod_runtime(
        listing,
        [sandbox_record(listed_sandbox(0, cri.SANDBOX_NOTREADY)), sandbox_record(listed_sandbox(1))],
        [container_record(status(0), "s0"), container_record(status(2), "s1"), container_record(status(1), "s0")],
    )
    assert runtime.sandbox is not None
    assert runtime.sandbox.id == "s1"
    assert [each.attempt for each in runtime.of("main")] == [2, 1, 0]
    assert runtime.current("main") == runtime.latest("main")
    without = runtime.without_sandbox("s1")
    assert without.current("main") is not None
    assert {each.id for each in without.containers} == {"c0", "c1"}


def test_the_same_container_is_entered_once() -> None:
    runtime = PodRuntime("u1").with_container(container_record(status(0), "s0"))
    ended = container_record(status(0, cri.CONTAINER_EXITED), "s0")
    assert runtime.with_container(ended).containers == (ended,)
    assert runtime.without_container("c0").empty


@pytest.mark.parametrize(
    ("sandboxes", "containers", "same"),
    [
        ([listed_sandbox(0)], [listed_container(0)], True),
        ([listed_sandbox(0, cri.SANDBOX_NOTREADY)], [listed_container(0)], False),
        ([listed_sandbox(0)], [listed_container(0, cri.CONTAINER_EXITED)], False),
        ([listed_sandbox(0)], [], False),
        ([listed_sandbox(0), listed_sandbox(1)], [listed_container(0)], False),
    ],
)
def test_a_list_shows_what_is_known_or_not(
    sandboxes: list[cri.PodSandbox], containers: list[cri.Container], same: bool
) -> None:
    known = (
        PodRuntime("u1")
        .with_sandbox(sandbox_record(listed_sandbox(0)))
        .with_container(container_record(status(0), "s0"))
    )
    assert agrees(known, group(sandboxes, containers)["u1"]) is same


def test_the_runtime_has_no_time_for_what_has_not_happened() -> None:
    assert moment(0) is None
