"""What may change in an object that exists, what a component may report, and questions, which never exist."""

from __future__ import annotations

import pytest

from orchestrator.api.codec import from_json
from orchestrator.api.defaults import set_defaults
from orchestrator.api.kinds import kind_for
from orchestrator.api.validation import validate, validate_status, validate_status_update, validate_update
from tests.unit.api.changed_objects import Json, changed

TEMPLATE = "spec/template"
INDEXED: Json = {"spec/completionMode": "Indexed", "spec/completions": 4}
UPDATES: dict[str, tuple[str, Json, Json, list[str]]] = {
    "stateful set's template": ("sts", {}, {"spec/replicas": 3, "spec/minReadySeconds": 1}, []),
    "stateful set's service": (
        "sts",
        {},
        {"spec/serviceName": "other"},
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are "
            "forbidden"
        ],
    ),
    "daemon set's selector": (
        "ds",
        {},
        {"spec/selector/matchLabels": {"a": "b"}},
        ['spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable'],
    ),
    "revision": (
        "controllerrevisions",
        {},
        {"data": {"a": 1}},
        ['data: Invalid value: "<object>": field is immutable'],
    ),
    "job's parallelism": ("job", {"spec/completions": 1}, {"spec/parallelism": 5, "spec/suspend": True}, []),
    "job's completions": (
        "job",
        {},
        {"spec/completions": 5},
        ["spec.completions: Invalid value: 5: field is immutable"],
    ),
    "indexed job grows": ("job", INDEXED, {**INDEXED, "spec/completions": 9, "spec/parallelism": 9}, []),
    "indexed job grows alone": (
        "job",
        INDEXED,
        {**INDEXED, "spec/completions": 9},
        ["spec.completions: Invalid value: 9: can only be modified in tandem with spec.parallelism"],
    ),
    "suspended job moves": (
        "job",
        {"spec/suspend": True},
        {"spec/suspend": True, f"{TEMPLATE}/spec/nodeSelector": {"zone": "a"}},
        [],
    ),
    "priority": ("pc", {}, {"value": 7}, ["value: Forbidden: may not be changed in an update."]),
    "quota's scopes": (
        "quota",
        {},
        {"spec/scopes": ["BestEffort"]},
        ['spec.scopes: Invalid value: ["BestEffort"]: field is immutable'],
    ),
    "volume's source": (
        "pv",
        {},
        {"spec/hostPath": {"path": "/other"}},
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"],
    ),
    "claim is bound": ("pvc", {}, {"spec/volumeName": "pv"}, []),
    "claim of another class": (
        "pvc",
        {"spec/storageClassName": "a"},
        {"spec/storageClassName": "b"},
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
            "for bound claims"
        ],
    ),
    "bound claim grows": (
        "pvc",
        {"status/phase": "Bound", "status/capacity": {"storage": "1Gi"}},
        {"spec/resources/requests/storage": "2Gi"},
        [],
    ),
    "bound claim shrinks": (
        "pvc",
        {"status/phase": "Bound", "status/capacity": {"storage": "1Gi"}},
        {"spec/resources/requests/storage": "1Mi"},
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
    ),
    "storage class": (
        "sc",
        {},
        {"provisioner": "example.com/other", "parameters": {"a": "b"}, "reclaimPolicy": "Retain"},
        [
            "parameters: Forbidden: updates to parameters are forbidden.",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
            "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        ],
    ),
    "driver": (
        "csidrivers",
        {},
        {"spec": {"attachRequired": False}},
        ["spec.attachRequired: Invalid value: false: field is immutable"],
    ),
    "capacity": ("csistoragecapacities", {}, {"capacity": "1Gi"}, []),
    "ingress class": (
        "ingressclasses",
        {},
        {"spec/controller": "example.com/other"},
        ['spec.controller: Invalid value: "example.com/other": field is immutable'],
    ),
    "binding's role": (
        "rolebindings",
        {},
        {"roleRef/name": "edit"},
        [
            "roleRef: Invalid value: "
            '{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"edit"}: cannot '
            "change roleRef"
        ],
    ),
    "runtime class": (
        "runtimeclasses",
        {},
        {"handler": "other"},
        ['handler: Invalid value: "other": field is immutable'],
    ),
}


@pytest.mark.parametrize(("resource", "old", "new", "expected"), UPDATES.values(), ids=UPDATES)
def test_updates(resource: str, old: Json, new: Json, expected: list[str]) -> None:
    found = validate_update(changed(resource, {**old, **new}), changed(resource, old))
    assert [str(fault) for fault in found] == expected


STATUSES: dict[str, tuple[str, Json, list[str]]] = {
    "controller": (
        "rc",
        {"replicas": 1, "readyReplicas": 2},
        ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"],
    ),
    "stateful set": (
        "sts",
        {"replicas": 2, "availableReplicas": 1, "collisionCount": -1},
        [
            "status.collisionCount: Invalid value: -1: must be greater than or equal to 0",
            "status.availableReplicas: Invalid value: 1: cannot be greater than status.readyReplicas",
        ],
    ),
    "daemon set": (
        "ds",
        {"numberReady": -1},
        ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"],
    ),
    "job": ("job", {"active": -1}, ["status.active: Invalid value: -1: must be greater than or equal to 0"]),
    "claim": (
        "pvc",
        {"capacity": {"storage": "-1"}},
        ['status.capacity[storage]: Invalid value: "-1": must be greater than or equal to 0'],
    ),
    "request denied and approved": (
        "csr",
        {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "False"}]},
        [
            'status.conditions[1].status: Unsupported value: "False": supported values: "True"',
            'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive',
        ],
    ),
}


@pytest.mark.parametrize(("resource", "status", "expected"), STATUSES.values(), ids=STATUSES)
def test_statuses(resource: str, status: Json, expected: list[str]) -> None:
    assert [str(fault) for fault in validate_status(changed(resource, {"status": status}))] == expected


def test_a_decision_stands() -> None:
    approved = changed("csr", {"status": {"conditions": [{"type": "Approved", "status": "True"}]}})
    assert validate_status_update(approved, changed("csr", {})) == []
    assert [str(fault) for fault in validate_status_update(changed("csr", {}), approved)] == [
        'status.conditions: Invalid value: null: updates may not remove a condition of type "Approved"'
    ]


QUESTIONS: dict[str, tuple[str, str, Json, list[str]]] = {
    "token": ("authentication.k8s.io/v1", "TokenReview", {}, ["spec.token: Required value"]),
    "token request": (
        "authentication.k8s.io/v1",
        "TokenRequest",
        {"spec": {"expirationSeconds": 1}},
        ["spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes"],
    ),
    "nobody, nothing": (
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        {},
        [
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes "
            "must be specified",
            'spec.user: Invalid value: "": at least one of user or group must be specified',
        ],
    ),
    "oneself": (
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
        {"spec": {"resourceAttributes": {"verb": "get"}}},
        [],
    ),
    "another namespace": (
        "authorization.k8s.io/v1",
        "LocalSubjectAccessReview",
        {"metadata": {"namespace": "a"}, "spec": {"user": "u", "resourceAttributes": {"namespace": "b"}}},
        ['spec.resourceAttributes.namespace: Invalid value: "b": must match metadata.namespace'],
    ),
    "rules": ("authorization.k8s.io/v1", "SelfSubjectRulesReview", {"spec": {"namespace": "a"}}, []),
    "who am I": ("authentication.k8s.io/v1", "SelfSubjectReview", {}, []),
    "eviction": (
        "policy/v1",
        "Eviction",
        {"metadata": {"name": "a", "namespace": "b"}, "deleteOptions": {"gracePeriodSeconds": -1}},
        ["deleteOptions.gracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"],
    ),
}


@pytest.mark.parametrize(("api_version", "kind", "data", "expected"), QUESTIONS.values(), ids=QUESTIONS)
def test_questions(api_version: str, kind: str, data: Json, expected: list[str]) -> None:
    assert not kind_for(api_version, kind).stored
    obj = from_json({"apiVersion": api_version, "kind": kind, **data}).obj
    set_defaults(obj)
    assert [str(fault) for fault in validate(obj)] == expected
