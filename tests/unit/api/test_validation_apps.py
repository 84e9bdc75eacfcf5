"""Deployments and ReplicaSets: each rule as one object and the faults it must draw."""

from __future__ import annotations

import pytest

from orchestrator.api.v1 import Deployment, ReplicaSet
from orchestrator.api.validation import validate_update
from tests.unit.api.validation_objects import Json, faults, make


def deployment(**spec: object) -> Json:
    template: Json = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "x:v1"}]},
    }
    return {"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}}


def template(spec: Json, **labels: str) -> Json:
    return {
        "metadata": {"labels": labels or {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "x:v1"}], **spec},
    }


def strategy(**rolling: object) -> Json:
    return {"type": "RollingUpdate", "rollingUpdate": rolling}


PACE = "spec.strategy.rollingUpdate"
DEPLOYMENTS: dict[str, tuple[Json, list[str]]] = {
    "good": (deployment(), []),
    "scaled to nothing": (deployment(replicas=0), []),
    "negative replicas": (
        deployment(replicas=-1),
        ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    ),
    "no selector": (
        {"spec": {"template": template({})}},
        ["spec.selector: Required value"],
    ),
    "empty selector": (
        deployment(selector={}),
        ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
    ),
    "selector of other pods": (
        deployment(selector={"matchLabels": {"app": "db"}}),
        [
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ],
    ),
    "selector by expression": (
        deployment(selector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}),
        [],
    ),
    "selector operator": (
        deployment(selector={"matchExpressions": [{"key": "app", "operator": "Gt", "values": ["1"]}]}),
        [
            'spec.selector.matchExpressions[0].operator: Invalid value: "Gt": not a valid selector operator',
        ],
    ),
    "selector without values": (
        deployment(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}),
        [
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or "
            "'NotIn'",
        ],
    ),
    "selector with needless values": (
        deployment(selector={"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}),
        [
            "spec.selector.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or "
            "'DoesNotExist'",
        ],
    ),
    "a fault in the template": (
        deployment(template=template({"containers": [{"name": "web"}]})),
        ["spec.template.spec.containers[0].image: Required value"],
    ),
    "pods that end": (
        deployment(template=template({"restartPolicy": "Never", "activeDeadlineSeconds": "5"})),
        [
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in Deployment is not Supported",
        ],
    ),
    "strategy": (
        deployment(strategy={"type": "Slowly"}),
        ['spec.strategy.type: Unsupported value: "Slowly": supported values: "Recreate", "RollingUpdate"'],
    ),
    "recreate with a pace": (
        deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),
        ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    ),
    "no progress possible": (
        deployment(strategy=strategy(maxUnavailable=0, maxSurge=0)),
        [f"{PACE}.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    ),
    "no progress possible, in percent": (
        deployment(strategy=strategy(maxUnavailable="0%", maxSurge=0)),
        [f'{PACE}.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0'],
    ),
    "surge alone": (deployment(strategy=strategy(maxUnavailable=0, maxSurge=1)), []),
    "surge by more than all": (deployment(strategy=strategy(maxSurge="200%")), []),
    "more than all unavailable": (
        deployment(strategy=strategy(maxUnavailable="101%")),
        [f'{PACE}.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
    ),
    "negative surge": (
        deployment(strategy=strategy(maxSurge=-1)),
        [f"{PACE}.maxSurge: Invalid value: -1: must be greater than or equal to 0"],
    ),
    "a surge of half a pod": (
        deployment(strategy=strategy(maxSurge=0.5)),
        [f"{PACE}.maxSurge: Invalid value: 0.5: must be an integer or percentage (e.g '5%')"],
    ),
    "a surge in words": (
        deployment(strategy=strategy(maxSurge="half")),
        [
            f'{PACE}.maxSurge: Invalid value: "half": a valid percent string must be a numeric string followed by an '
            "ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
        ],
    ),
    "deadline before readiness": (
        deployment(minReadySeconds=600),
        ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
    ),
    "negative history": (
        deployment(revisionHistoryLimit=-1, minReadySeconds=-1),
        [
            "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
            "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
        ],
    ),
}


@pytest.mark.parametrize(("data", "expected"), DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_deployment(data: Json, expected: list[str]) -> None:
    assert faults(Deployment, data) == expected


@pytest.mark.parametrize("kind", [Deployment, ReplicaSet])
def test_a_selector_never_changes(kind: type[Deployment] | type[ReplicaSet]) -> None:
    old = make(kind, deployment())
    assert validate_update(make(kind, deployment(replicas=5)), old) == []
    new = make(kind, deployment(selector={"matchLabels": {"app": "x"}}))
    assert [str(fault) for fault in validate_update(new, old)] == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable'
    ]


def test_replica_set() -> None:
    assert faults(ReplicaSet, deployment()) == []
    assert faults(ReplicaSet, deployment(replicas=-1, template=template({"activeDeadlineSeconds": "5"}, app="db"))) == [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        'spec.template.metadata.labels: Invalid value: {"app":"db"}: `selector` does not match template `labels`',
        "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
    ]
