"""Finding kinds by what people and manifests call them."""

from __future__ import annotations

import pytest

from orchestrator.api.errors import BadRequest, UnknownKind
from orchestrator.api.kinds import (
    all_kinds,
    clone,
    find_kind,
    key_of,
    kind_for,
    kind_of,
    kinds_in_category,
    unwrap,
    wrap,
)
from orchestrator.api.v1 import Binding, Deployment, Lease, Node, Object, ObjectMeta, Pod


@pytest.mark.parametrize(
    ("word", "resource"),
    [
        ("pods", "pods"),
        ("pod", "pods"),
        ("po", "pods"),
        ("Pod", "pods"),
        ("PODS", "pods"),
        ("deploy", "deployments.apps"),
        ("deployments.apps", "deployments.apps"),
        ("deployment.apps", "deployments.apps"),
        ("deployments.v1.apps", "deployments.apps"),
        ("rs", "replicasets.apps"),
        ("endpointslices", "endpointslices.discovery.k8s.io"),
        ("leases.coordination.k8s.io", "leases.coordination.k8s.io"),
        ("ns", "namespaces"),
        ("svc", "services"),
        ("cm", "configmaps"),
        ("no", "nodes"),
        ("sa", "serviceaccounts"),
        ("ev", "events"),
    ],
)
def test_find_kind(word: str, resource: str) -> None:
    assert find_kind(word).resource == resource


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("deplyments", 'the server doesn\'t have a resource type "deplyments" (did you mean "deployments"?)'),
        ("xyzzy", 'the server doesn\'t have a resource type "xyzzy"'),
        ("pods.apps", 'the server doesn\'t have a resource type "pods.apps"'),
        ("binding", 'the server doesn\'t have a resource type "binding"'),
        ("", 'the server doesn\'t have a resource type ""'),
    ],
)
def test_words_that_are_no_kind(word: str, message: str) -> None:
    with pytest.raises(UnknownKind) as caught:
        find_kind(word)
    assert caught.value.message.startswith(message)


def test_kind_for_says_which_version_was_meant() -> None:
    assert kind_for("apps/v1", "Deployment").message is Deployment
    assert kind_for("v1", "Binding").message is Binding
    with pytest.raises(UnknownKind, match=r'"Deployment" in version "apps/v1beta1" \(did you mean version "apps/v1"'):
        kind_for("apps/v1beta1", "Deployment")
    with pytest.raises(UnknownKind, match=r'did you mean "Deployment" in version "apps/v1"'):
        kind_for("apps/v1", "Deploymnt")


def test_a_kind_knows_its_names() -> None:
    kind = kind_of(Deployment)
    assert kind is kind_of(Deployment())
    assert (kind.api_version, kind.resource, kind.group_kind) == ("apps/v1", "deployments.apps", "Deployment.apps")
    assert kind.namespaced and not kind_of(Node).namespaced
    assert kind_of(Lease).api_version == "coordination.k8s.io/v1"
    assert "scale" in kind.subresources and "status" in kind.subresources


def test_words_and_resources_are_unique() -> None:
    words = [word for kind in all_kinds() for word in {kind.plural, kind.singular, *kind.short_names}]
    assert len(words) == len(set(words))
    assert not any(kind.kind in ("Binding", "Scale", "TokenReview", "Eviction") for kind in all_kinds())
    assert {kind.plural for kind in kinds_in_category("all")} == {
        "pods",
        "services",
        "replicationcontrollers",
        "replicasets",
        "deployments",
        "statefulsets",
        "daemonsets",
        "jobs",
        "cronjobs",
        "horizontalpodautoscalers",
    }


def test_every_kind_goes_into_an_object_and_back() -> None:
    for kind in all_kinds():
        obj = kind.message()
        obj.metadata.name = "x"
        wrapped = wrap(obj)
        assert wrapped.WhichOneof("kind") == kind.field
        assert unwrap(wrapped) == obj
        assert kind_of(unwrap(wrap(kind.message()))) is kind  # also with nothing in it


def test_unwrap_refuses_what_is_not_there() -> None:
    with pytest.raises(BadRequest):
        unwrap(Object())


def test_clones_and_keys() -> None:
    pod = Pod(metadata=ObjectMeta(name="web", namespace="default"))
    copy = clone(pod)
    copy.metadata.name = "other"
    assert pod.metadata.name == "web"
    assert key_of(pod) == "default/web"
    assert key_of(Node(metadata=ObjectMeta(name="n1"))) == "n1"
