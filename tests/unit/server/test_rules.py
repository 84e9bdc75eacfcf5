"""What the verbs store: the system's part of an object is the system's, spec and status are apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.generated_names import ALPHABET
from orchestrator.api.kinds import KubeObject, clone, kind_of
from orchestrator.api.v1 import (
    Binding,
    ConfigMap,
    Container,
    Deployment,
    DeploymentSpec,
    LabelSelector,
    ObjectMeta,
    ObjectReference,
    Pod,
    PodCondition,
    PodSpec,
    PodTemplateSpec,
    Scale,
    ScaleSpec,
)
from orchestrator.pki import Identity
from orchestrator.server import rules
from orchestrator.server.outcome import Removed, Written
from orchestrator.server.scale import apply_scale, scale_of

NOW = datetime(2026, 11, 22, 18, 0, 0, 123456, tzinfo=UTC)
WHO = Identity("alice", ("system:masters",))


def new_deployment() -> Deployment:
    labels = {"app": "web"}
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels), spec=PodSpec(containers=[Container(name="a", image="registry.test/a:1")])
    )
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=DeploymentSpec(selector=LabelSelector(match_labels=labels), template=template),
    )


def created(obj: KubeObject, version: str = "5") -> KubeObject:
    rules.prepare_create(kind_of(obj), obj, uid="u1", now=NOW, who=WHO)
    obj.metadata.resource_version = version
    return obj


def deployment() -> Deployment:
    made = created(new_deployment())
    assert isinstance(made, Deployment)
    return made


def written(outcome: object) -> KubeObject:
    assert isinstance(outcome, Written)
    return outcome.obj


def test_creation_fills_the_systems_fields_in_whole_seconds() -> None:
    made = deployment()
    assert made.metadata.uid == "u1"
    assert made.metadata.generation == 1
    assert made.metadata.creation_timestamp.ToDatetime(UTC) == NOW.replace(microsecond=0)
    assert made.spec.replicas == 1, "defaults are set"
    assert not created(ConfigMap(metadata=ObjectMeta(name="x", namespace="default"))).metadata.generation


def test_all_faults_are_told_at_once() -> None:
    bad = new_deployment()
    bad.metadata.name = "Web"
    bad.spec.replicas = -1
    with pytest.raises(errors.Invalid) as caught:
        rules.prepare_create(kind_of(bad), bad, uid="u", now=NOW, who=WHO)
    assert caught.value.message.startswith('Deployment.apps "Web" is invalid: [')
    assert {cause.field for cause in caught.value.details.causes} >= {"metadata.name", "spec.replicas"}


def test_an_update_can_change_neither_the_systems_fields_nor_the_status() -> None:
    old = deployment()
    new = clone(old)
    new.metadata.creation_timestamp.FromDatetime(NOW + timedelta(days=1))
    new.metadata.generation = 99
    new.metadata.deletion_timestamp.FromDatetime(NOW)
    new.status.replicas = 7
    new.metadata.labels["a"] = "b"
    stored = written(rules.prepare_update(kind_of(old), old, new))
    expected = clone(old)
    expected.metadata.labels["a"] = "b"
    assert stored == expected


def test_an_update_may_leave_out_what_has_defaults() -> None:
    old = deployment()
    assert written(rules.prepare_update(kind_of(old), old, new_deployment())).metadata.generation == 1


@given(st.lists(st.integers(min_value=0, max_value=3), max_size=10))
def test_generation_counts_exactly_the_changes_of_the_spec(replicas: list[int]) -> None:
    current = deployment()
    changes = 0
    for wanted in replicas:
        new = clone(current)
        changes += new.spec.replicas != wanted
        new.spec.replicas = wanted
        new.metadata.annotations["seen"] = str(wanted)
        stored = written(rules.prepare_update(kind_of(current), current, new))
        assert isinstance(stored, Deployment)
        current = stored
    assert current.metadata.generation == 1 + changes


def test_a_status_update_takes_the_status_alone() -> None:
    old = deployment()
    new = clone(old)
    new.status.replicas = 4
    new.spec.replicas = 9
    new.metadata.labels["a"] = "b"
    new.metadata.finalizers.append("a/b")
    stored = written(rules.prepare_status(kind_of(old), clone(old), new))
    expected = clone(old)
    expected.status.replicas = 4
    assert stored == expected


@pytest.mark.parametrize(
    ("version", "uid", "fine"),
    [("", "", True), ("5", "u1", True), ("4", "", False), ("", "u2", False), ("6", "u1", False)],
)
def test_what_an_update_was_made_from(version: str, uid: str, fine: bool) -> None:
    old = deployment()
    new = clone(old)
    new.metadata.resource_version, new.metadata.uid = version, uid
    for prepare in (rules.prepare_update, rules.prepare_status, rules.prepare_finalize):
        if fine:
            prepare(kind_of(old), clone(old), clone(new))
        else:
            with pytest.raises(errors.Conflict):
                prepare(kind_of(old), clone(old), clone(new))


def test_the_update_that_clears_the_last_finalizer_removes() -> None:
    old = deployment()
    old.metadata.finalizers.append("a/b")
    new = clone(old)
    del new.metadata.finalizers[:]
    assert isinstance(rules.prepare_update(kind_of(old), old, clone(new)), Written)
    old.metadata.deletion_timestamp.FromDatetime(NOW)
    assert isinstance(rules.prepare_update(kind_of(old), old, new), Removed)


def a_pod() -> Pod:
    made = created(
        Pod(
            metadata=ObjectMeta(name="web", namespace="default"),
            spec=PodSpec(containers=[Container(name="a", image="registry.test/a:1")]),
        )
    )
    assert isinstance(made, Pod)
    return made


def to(node: str, *, kind: str = "Node", uid: str = "") -> Binding:
    return Binding(metadata=ObjectMeta(name="web", uid=uid), target=ObjectReference(kind=kind, name=node))


def test_binding_sets_the_node_and_the_condition() -> None:
    pod = a_pod()
    pod.status.conditions.append(
        PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message="no")
    )
    pod.status.conditions.append(PodCondition(type="Ready", status="False"))
    stored = written(rules.prepare_binding(pod, to("n1"), NOW))
    assert isinstance(stored, Pod)
    assert stored.spec.node_name == "n1"
    assert stored.metadata.generation == 1
    scheduled = stored.status.conditions[0]
    assert (scheduled.status, scheduled.reason, scheduled.message) == ("True", "", "")
    assert scheduled.last_transition_time.ToDatetime(UTC) == NOW.replace(microsecond=0)
    assert len(stored.status.conditions) == 2


@pytest.mark.parametrize(
    ("binding", "bound", "deleted", "error", "message"),
    [
        (to(""), "", False, errors.Invalid, "target.name: Required value"),
        (to("x", kind="Pod"), "", False, errors.Invalid, 'target.kind: Unsupported value: "Pod"'),
        (to("n1", uid="u2"), "", False, errors.Conflict, "UID in precondition: u2"),
        (to("n2"), "n1", False, errors.Conflict, 'already assigned to node "n1"'),
        (to("n1"), "n1", False, errors.Conflict, 'already assigned to node "n1"'),
        (to("n1"), "", True, errors.Conflict, "is being deleted"),
    ],
)
def test_bindings_that_fail(
    binding: Binding, bound: str, deleted: bool, error: type[errors.ApiError], message: str
) -> None:
    pod = a_pod()
    pod.spec.node_name = bound
    if deleted:
        pod.metadata.deletion_timestamp.FromDatetime(NOW)
    with pytest.raises(error) as caught:
        rules.prepare_binding(pod, binding, NOW)
    assert message in caught.value.message


def test_scaling_changes_the_replicas_alone() -> None:
    old = deployment()
    scale = scale_of(old)
    assert (scale.spec.replicas, scale.status.selector, scale.metadata.resource_version) == (1, "app=web", "5")
    scale.spec.replicas = 0
    stored = written(apply_scale(kind_of(old), clone(old), scale))
    expected = clone(old)
    expected.spec.replicas = 0
    expected.metadata.generation = 2
    assert stored == expected
    same = Scale(metadata=ObjectMeta(name="web"), spec=ScaleSpec(replicas=1))
    assert written(apply_scale(kind_of(old), clone(old), same)) == old


@given(st.text(alphabet="abc-", max_size=300), st.text(alphabet=ALPHABET, min_size=5, max_size=5))
def test_generated_names_fit(base: str, suffix: str) -> None:
    name = rules.generated_name(base, suffix)
    assert len(name) <= 63
    assert name.endswith(suffix)
    assert base.startswith(name[:-5])
