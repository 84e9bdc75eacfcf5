"""What Delete does, case by case: an object before, the options, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.v1 import (
    ConfigMap,
    DeleteRequest,
    Namespace,
    NamespaceSpec,
    NamespaceStatus,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
)
from orchestrator.server.deletion import DeleteOptions, decide_deletion, is_released, options_from
from orchestrator.server.outcome import Removed, Written

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
MARKED = Timestamp(seconds=int(NOW.timestamp()))


def a_pod(
    *, node: str = "n1", phase: str = "Running", grace: int | None = None, finalizers: tuple[str, ...] = ()
) -> Pod:
    pod = Pod(
        metadata=ObjectMeta(name="web", namespace="default", uid="u1", generation=1, finalizers=finalizers),
        spec=PodSpec(node_name=node),
        status=PodStatus(phase=phase),
    )
    if grace is not None:
        pod.spec.termination_grace_period_seconds = grace
    return pod


@pytest.mark.parametrize(
    ("pod", "options", "seconds"),
    [
        (a_pod(), DeleteOptions(), 30),
        (a_pod(grace=60), DeleteOptions(), 60),
        (a_pod(grace=60), DeleteOptions(grace_period_seconds=5), 5),
        (a_pod(grace=0), DeleteOptions(), None),
        (a_pod(), DeleteOptions(grace_period_seconds=0), None),
        (a_pod(node=""), DeleteOptions(), None),
        (a_pod(node=""), DeleteOptions(grace_period_seconds=50), None),
        (a_pod(phase="Succeeded"), DeleteOptions(), None),
        (a_pod(phase="Failed"), DeleteOptions(grace_period_seconds=50), None),
        (a_pod(phase="Pending"), DeleteOptions(), 30),
        (a_pod(finalizers=("a/b",)), DeleteOptions(grace_period_seconds=0), 0),
        (a_pod(node="", finalizers=("a/b",)), DeleteOptions(), 0),
        (a_pod(), DeleteOptions(grace_period_seconds=0, propagation_policy="Foreground"), 0),
    ],
    ids=[
        "the default grace period",
        "the pod's own",
        "the caller's",
        "a pod that wants none",
        "a caller who gives none",
        "not bound",
        "not bound, with a period",
        "finished well",
        "finished badly",
        "bound, not started",
        "held by a finalizer",
        "not bound, held by a finalizer",
        "held for its dependents",
    ],
)
def test_pods(pod: Pod, options: DeleteOptions, seconds: int | None) -> None:
    outcome = decide_deletion(pod, options, NOW)
    if seconds is None:
        assert isinstance(outcome, Removed)
        return
    assert isinstance(outcome, Written)
    meta = outcome.obj.metadata
    assert meta.deletion_grace_period_seconds == seconds
    assert meta.deletion_timestamp.ToDatetime(UTC) == NOW + timedelta(seconds=seconds)
    assert meta.generation == 2


@given(st.lists(st.integers(min_value=1, max_value=1000), min_size=1, max_size=8))
def test_a_grace_period_only_ever_gets_shorter(periods: list[int]) -> None:
    pod = a_pod()
    ends: list[datetime] = []
    for index, period in enumerate(periods):
        decide_deletion(pod, DeleteOptions(grace_period_seconds=period), NOW + timedelta(seconds=index))
        ends.append(pod.metadata.deletion_timestamp.ToDatetime(UTC))
    assert ends == sorted(ends, reverse=True)
    assert pod.metadata.deletion_grace_period_seconds == min(periods)
    assert pod.metadata.generation == 2


def test_deleting_again_without_a_period_changes_nothing() -> None:
    pod = a_pod(grace=60)
    decide_deletion(pod, DeleteOptions(), NOW)
    before = Pod()
    before.CopyFrom(pod)
    decide_deletion(pod, DeleteOptions(), NOW + timedelta(seconds=20))
    assert pod == before


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        ("", (), None),
        ("Background", (), None),
        ("Foreground", (), ["foregroundDeletion"]),
        ("Orphan", (), ["orphan"]),
        ("Orphan", ("foregroundDeletion",), ["orphan"]),
        ("Background", ("foregroundDeletion", "orphan"), None),
        ("Background", ("a/b", "orphan"), ["a/b"]),
        ("", ("orphan",), ["orphan"]),
    ],
)
def test_propagation(policy: str, before: tuple[str, ...], after: list[str] | None) -> None:
    obj = ConfigMap(metadata=ObjectMeta(name="x", namespace="default", finalizers=before))
    outcome = decide_deletion(obj, DeleteOptions(propagation_policy=policy), NOW)
    if after is None:
        assert isinstance(outcome, Removed)
    else:
        assert list(obj.metadata.finalizers) == after
        assert obj.metadata.HasField("deletion_timestamp")


def test_a_namespace_waits_to_be_emptied() -> None:
    namespace = Namespace(
        metadata=ObjectMeta(name="team"),
        spec=NamespaceSpec(finalizers=["kubernetes"]),
        status=NamespaceStatus(phase="Active"),
    )
    assert isinstance(decide_deletion(namespace, DeleteOptions(), NOW), Written)
    assert namespace.status.phase == "Terminating"
    assert not is_released(namespace)
    del namespace.spec.finalizers[:]
    assert is_released(namespace)
    assert isinstance(decide_deletion(namespace, DeleteOptions(), NOW), Removed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DeleteOptions(uid="u2"), "UID in precondition: u2, UID in object meta: u1"),
        (DeleteOptions(resource_version="3"), "ResourceVersion in precondition: 3, ResourceVersion in object meta: 4"),
    ],
)
def test_preconditions(options: DeleteOptions, message: str) -> None:
    obj = ConfigMap(metadata=ObjectMeta(name="x", uid="u1", resource_version="4"))
    with pytest.raises(errors.Conflict, match=message):
        decide_deletion(obj, options, NOW)
    assert isinstance(decide_deletion(obj, DeleteOptions(uid="u1", resource_version="4"), NOW), Removed)


@pytest.mark.parametrize(
    ("obj", "released"),
    [
        (ConfigMap(metadata=ObjectMeta(name="x")), False),
        (ConfigMap(metadata=ObjectMeta(name="x", deletion_timestamp=MARKED)), True),
        (ConfigMap(metadata=ObjectMeta(name="x", deletion_timestamp=MARKED, finalizers=["a/b"])), False),
        (Pod(metadata=ObjectMeta(name="x", deletion_timestamp=MARKED, deletion_grace_period_seconds=30)), False),
        (Pod(metadata=ObjectMeta(name="x", deletion_timestamp=MARKED, deletion_grace_period_seconds=0)), True),
    ],
    ids=["not marked", "marked", "held", "in its grace period", "after its grace period"],
)
def test_release(obj: ConfigMap | Pod, released: bool) -> None:
    assert is_released(obj) is released


def test_options_from_a_request() -> None:
    assert options_from(DeleteRequest()) == DeleteOptions()
    assert options_from(DeleteRequest(grace_period_seconds=0, uid="u")) == DeleteOptions(0, "", "u", "")
