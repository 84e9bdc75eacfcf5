"""Metadata: the rules that every kind shares, and what an update may not touch."""

from __future__ import annotations

import pytest

from orchestrator.api.kinds import all_kinds
from orchestrator.api.v1 import ConfigMap, Namespace, Node
from orchestrator.api.validation import validate, validate_update
from tests.unit.api.validation_objects import LABEL_WORDS, META, Json, faults, make


def meta(**fields: object) -> Json:
    return {"metadata": {**META, **fields}}


OWNER: Json = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "u", "controller": True}

METADATA: dict[str, tuple[Json, list[str]]] = {
    "good": (meta(labels={"a": "b", "example.com/c": ""}, annotations={"A/b": "any text"}), []),
    "no name": ({"metadata": {"namespace": "a"}}, ["metadata.name: Required value: name or generateName is required"]),
    "no namespace": ({"metadata": {"name": "a"}}, ["metadata.namespace: Required value"]),
    "generated name": (meta(generateName="web-"), []),
    "label": (meta(labels={"a": "b c"}), [f'metadata.labels: Invalid value: "b c": {LABEL_WORDS}']),
    "label key": (
        meta(labels={"a/": ""}),
        [
            'metadata.labels: Invalid value: "a/": name part must be non-empty',
            "metadata.labels: Invalid value: \"a/\": name part must consist of alphanumeric characters, '-', '_' or "
            "'.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
            "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ],
    ),
    "large annotations": (
        meta(annotations={"a": "x" * 262144}),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"],
    ),
    "annotations at the limit": (meta(annotations={"a": "x" * 262143}), []),
    "finalizer": (
        meta(finalizers=["mine"]),
        [
            'metadata.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully '
            "qualified"
        ],
    ),
    "finalizers": (meta(finalizers=["orphan", "example.com/x"]), []),
    "finalizers that exclude each other": (
        meta(finalizers=["orphan", "foregroundDeletion"]),
        [
            'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and '
            "foregroundDeletion cannot be both set"
        ],
    ),
    "owner": (meta(ownerReferences=[OWNER]), []),
    "owner without identity": (
        meta(ownerReferences=[{"apiVersion": "", "kind": "Pod", "name": "a", "uid": ""}]),
        [
            'metadata.ownerReferences[0].apiVersion: Invalid value: "": version must not be empty',
            'metadata.ownerReferences[0].uid: Invalid value: "": must not be empty',
        ],
    ),
}


@pytest.mark.parametrize(("data", "expected"), METADATA.values(), ids=METADATA)
def test_metadata(data: Json, expected: list[str]) -> None:
    assert faults(ConfigMap, data) == expected


def test_two_controllers() -> None:
    found = faults(ConfigMap, meta(ownerReferences=[OWNER, {**OWNER, "name": "b"}]))
    assert len(found) == 1
    assert found[0].endswith(
        'Only one reference can have Controller set to true. Found "true" in references for a and b'
    )


def test_kinds_without_a_namespace_have_none() -> None:
    assert faults(Node, {}) == ["metadata.namespace: Forbidden: not allowed on this type"]
    assert faults(Node, {"metadata": {"name": "n1.test"}}) == []
    assert faults(Namespace, {"metadata": {"name": "a.b"}})[0].startswith(
        'metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of'
    )


def test_every_kind_is_judged() -> None:
    for kind in all_kinds():
        assert validate(kind.message())


METADATA_UPDATES: dict[str, tuple[Json, Json, list[str]]] = {
    "nothing": ({}, {}, []),
    "left open": ({"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}, {}, []),
    "labels": ({"labels": {"a": "b"}}, {"labels": {"a": "c"}}, []),
    "name": ({}, {"name": "b"}, ['metadata.name: Invalid value: "b": field is immutable']),
    "namespace": ({}, {"namespace": "b"}, ['metadata.namespace: Invalid value: "b": field is immutable']),
    "uid": ({"uid": "u"}, {"uid": "v"}, ['metadata.uid: Invalid value: "v": field is immutable']),
    "creation": (
        {"creationTimestamp": "2026-01-01T00:00:00Z"},
        {"creationTimestamp": "2026-01-02T00:00:00Z"},
        ['metadata.creationTimestamp: Invalid value: "2026-01-02T00:00:00Z": field is immutable'],
    ),
    "deletion": (
        {},
        {"deletionTimestamp": "2026-01-02T00:00:00Z"},
        ['metadata.deletionTimestamp: Invalid value: "2026-01-02T00:00:00Z": field is immutable'],
    ),
    "generation": (
        {"generation": "3"},
        {"generation": "2"},
        ["metadata.generation: Invalid value: 2: must not be decremented"],
    ),
    "finalizer while it is deleted": (
        {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a.b/c"]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a.b/c", "a.b/d"]},
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new "
            'finalizers []string{"a.b/d"}'
        ],
    ),
    "finalizer removed": (
        {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a.b/c"]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        [],
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), METADATA_UPDATES.values(), ids=METADATA_UPDATES)
def test_metadata_update(old: Json, new: Json, expected: list[str]) -> None:
    found = validate_update(make(ConfigMap, meta(**new)), make(ConfigMap, meta(**old)))
    assert [str(fault) for fault in found] == expected
