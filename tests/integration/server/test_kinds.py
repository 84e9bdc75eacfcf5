"""Every kind through the server: made, read, listed, changed, scaled, decided upon and deleted like any other."""

from __future__ import annotations

from typing import Any, cast

import pytest

from orchestrator.api import errors
from orchestrator.api.codec import from_json
from orchestrator.api.kinds import KubeObject, clone, find_kind, kind_for
from orchestrator.api.v1 import (
    CertificateSigningRequest,
    Event,
    EventView,
    Job,
    PersistentVolumeClaim,
    ReplicationController,
    SelfSubjectReview,
    StatefulSet,
    TokenReview,
)
from orchestrator.client import Client
from tests.unit.api.smallest_objects import SMALLEST


def smallest(resource: str, name: str = "web") -> KubeObject:
    kind = find_kind(resource)
    metadata: dict[str, Any] = {"name": name, **({"namespace": "default"} if kind.namespaced else {})}
    data = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **SMALLEST[kind.resource]}
    return from_json(data).obj


@pytest.mark.parametrize("resource", sorted(SMALLEST))
async def test_a_life(client: Client, resource: str) -> None:
    kind = find_kind(resource)
    made = await client.create(smallest(resource))
    namespace = made.metadata.namespace
    assert made.metadata.uid
    assert await client.get(kind.message, "web", namespace) == made
    assert (await client.list(kind.message)).items == [made]
    labeled = clone(made)
    labeled.metadata.labels["a"] = "b"
    changed = await client.update(labeled)
    assert changed.metadata.generation == made.metadata.generation
    assert [each.metadata.name for each in (await client.list(kind.message, label_selector="a=b")).items] == ["web"]
    with pytest.raises(errors.AlreadyExists):
        await client.create(smallest(resource))
    await client.delete(kind.message, "web", namespace=namespace)
    with pytest.raises(errors.NotFound):
        await client.get(kind.message, "web", namespace)


async def test_jobs_of_generated_names_have_their_own_pods(client: Client) -> None:
    job = cast(Job, smallest("jobs"))
    job.metadata.name, job.metadata.generate_name = "", "sum-"
    first, second = await client.create(job), await client.create(job)
    for made in (first, second):
        labels = made.spec.template.metadata.labels
        assert labels["job-name"] == made.metadata.name
        assert made.spec.selector.match_labels["batch.kubernetes.io/controller-uid"] == made.metadata.uid
    assert first.metadata.name != second.metadata.name


@pytest.mark.parametrize("message", [StatefulSet, ReplicationController])
async def test_scale(client: Client, message: type[StatefulSet] | type[ReplicationController]) -> None:
    made = await client.create(smallest("sts" if message is StatefulSet else "rc"))
    scale = await client.get_scale(message, "web", "default")
    scale.spec.replicas = 5
    scale = await client.update_scale(message, scale)
    assert (scale.spec.replicas, scale.status.selector) == (5, "app=web")
    found = await client.get(message, "web", "default")
    assert (found.spec.replicas, found.metadata.generation) == (5, made.metadata.generation + 1)


async def test_a_status_is_written_apart(client: Client) -> None:
    claim = cast(PersistentVolumeClaim, smallest("pvc"))
    claim.status.phase = "Bound"
    made = await client.create(claim)
    assert made.status.phase == "Pending"
    made.status.phase = "Bound"
    made.spec.volume_name = "ignored"
    bound = await client.update(made, subresource="status")
    assert (bound.status.phase, bound.spec.volume_name) == ("Bound", "")


async def test_who_asks_for_a_certificate_and_who_decides(client: Client) -> None:
    forged = cast(CertificateSigningRequest, smallest("csr"))
    forged.spec.username = "somebody-else"
    made = await client.create(forged)
    assert made.spec.username == "kubernetes-admin"
    assert list(made.spec.groups) == ["system:masters"]
    found = (
        await client.list(CertificateSigningRequest, field_selector=f"spec.signerName={made.spec.signer_name}")
    ).items
    assert found == [made]
    made.status.conditions.add(type="Approved", status="True", reason="Fine")
    approved = await client.update(made, subresource="approval")
    assert approved.status.conditions[0].HasField("last_update_time")
    taken_back = clone(approved)
    del taken_back.status.conditions[:]
    with pytest.raises(errors.Invalid, match="may not remove a condition"):
        await client.update(taken_back, subresource="status")


async def test_an_event_in_other_words_is_the_same_event(client: Client) -> None:
    view = EventView(reason="Tested", note="it happened", type="Normal", action="Test", reporting_controller="a.test/c")
    view.metadata.name, view.metadata.namespace = "x", "default"
    view.reporting_instance = "c-1"
    view.regarding.kind, view.regarding.name, view.regarding.namespace = "Pod", "web", "default"
    view.event_time.FromJsonString("2026-01-01T00:00:00Z")
    made = await client.create(view)
    assert made.note == "it happened"
    event = await client.get(Event, "x", "default")
    assert (event.message, event.involved_object.name) == ("it happened", "web")
    assert (await client.list(Event, field_selector="reportingComponent=a.test/c")).items == [event]


async def test_questions_are_answered_and_not_kept(client: Client) -> None:
    assert kind_for("authentication.k8s.io/v1", "TokenReview").transient
    answered = await client.create(SelfSubjectReview())
    assert answered.status.user_info.username == "kubernetes-admin"
    with pytest.raises(errors.BadRequest, match="doesn't have a resource type"):
        await client.list(SelfSubjectReview)
    with pytest.raises(errors.Invalid, match=r"spec\.token: Required value"):
        await client.create(TokenReview())
