"""Validation of autoscalers, budgets, quotas, limits and priorities: the smallest object, changed, and the faults."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.changed_objects import Json, faults


def metric(kind: str, **source: Any) -> Json:
    name = kind[0].lower() + kind[1:]
    return {"spec/metrics": [{"type": kind, name: source}]}


CASES: dict[str, tuple[str, Json, list[str]]] = {
    "autoscaler's bounds": (
        "hpa",
        {"spec/minReplicas": 0, "spec/maxReplicas": -1, "spec/scaleTargetRef": {"kind": "a/b"}},
        [
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            "spec.maxReplicas: Invalid value: -1: must be greater than 0",
            "spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`",
            "spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'",
            "spec.scaleTargetRef.name: Required value",
        ],
    ),
    "metric of no type": (
        "hpa",
        {"spec/metrics": [{"pods": {}}]},
        [
            "spec.metrics[0].type: Required value: must specify a metric source type",
            'spec.metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", '
            '"Pods", "Resource"',
            "spec.metrics[0].pods: Forbidden: must populate the given metric source only",
        ],
    ),
    "metric with two targets": (
        "hpa",
        metric("Resource", target={"type": "Value", "averageUtilization": 0, "averageValue": "0"}),
        [
            "spec.metrics[0].resource.name: Required value: must specify a resource name",
            'spec.metrics[0].resource.target.averageValue: Invalid value: "0": must be positive',
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
            "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target "
            "utilization",
        ],
    ),
    "metric of pods": (
        "hpa",
        metric("Pods", metric={"name": "x"}, target={"type": "Much"}),
        [
            'spec.metrics[0].pods.target.type: Invalid value: "Much": must be either Utilization, Value, or '
            "AverageValue",
            "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
        ],
    ),
    "autoscaler's pace": (
        "hpa",
        {
            "spec/behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 3601,
                    "selectPolicy": "Most",
                    "policies": [{"type": "Few", "value": 0, "periodSeconds": 1801}],
                }
            }
        },
        [
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
            'spec.behavior.scaleUp.selectPolicy: Unsupported value: "Most": supported values: "Disabled", "Max", "Min"',
            'spec.behavior.scaleUp.policies[0].type: Unsupported value: "Few": supported values: "Percent", "Pods"',
            "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ],
    ),
    "budget of two numbers": (
        "pdb",
        {"spec": {"minAvailable": 1, "maxUnavailable": "101%", "unhealthyPodEvictionPolicy": "Never"}},
        [
            'spec: Invalid value: {"minAvailable":1,"maxUnavailable":"101%","unhealthyPodEvictionPolicy":"Never"}: '
            "minAvailable and maxUnavailable cannot be both set",
            'spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
            'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", '
            '"IfHealthyBudget"',
        ],
    ),
    "priority above all": (
        "pc",
        {"value": 1_000_000_001, "preemptionPolicy": "Always"},
        [
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            'preemptionPolicy: Unsupported value: "Always": supported values: "Never", "PreemptLowerPriority"',
        ],
    ),
    "priority of the system": (
        "pc",
        {"metadata/name": "system-mine"},
        ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only"],
    ),
    "quota": (
        "quota",
        {
            "spec/hard": {"pods": "1.5", "gpus": "1", "requests.cpu": "-1"},
            "spec/scopes": ["BestEffort", "NotBestEffort"],
            "spec/scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]},
        },
        [
            'spec.hard[gpus]: Invalid value: "gpus": must be a standard resource for quota',
            'spec.hard[pods]: Invalid value: "1500m": must be an integer',
            'spec.hard[requests.cpu]: Invalid value: "-1": must be greater than or equal to 0',
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
            "spec.scopeSelector.matchExpressions[0].values: Required value: must be at least one value when "
            "`operator` is "
            "'In' or 'NotIn' for scope selector",
        ],
    ),
    "limits out of order": (
        "limits",
        {"spec/limits": [{"type": "Container", "min": {"cpu": "3"}, "max": {"cpu": "2"}, "default": {"cpu": "1"}}]},
        [
            'spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2',
            'spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 3 is greater than default request '
            "value 1",
            'spec.limits[0].default[cpu]: Invalid value: "1": min value 3 is greater than default value 1',
        ],
    ),
    "limits of pods and claims": (
        "limits",
        {
            "spec/limits": [
                {"type": "Pod", "default": {"cpu": "1"}},
                {"type": "PersistentVolumeClaim"},
                {"type": "Pod", "maxLimitRequestRatio": {"cpu": "0.5"}},
            ]
        },
        [
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            "spec.limits[1].limits: Required value: either minimum or maximum storage value is required, but "
            "neither was "
            "provided",
            'spec.limits[2].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1',
            'spec.limits[2].type: Duplicate value: ""',
        ],
    ),
}


@pytest.mark.parametrize(("resource", "changes", "expected"), CASES.values(), ids=CASES)
def test_bounds(resource: str, changes: Json, expected: list[str]) -> None:
    assert faults(resource, changes) == expected
