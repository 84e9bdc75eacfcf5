"""What may change in a pod that exists."""

from __future__ import annotations

import copy

import pytest

from orchestrator.api.validation import validate_update
from tests.unit.api.validation_pods import GOOD, changed, pod

FIXED = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative): "
    "changed "
)
UPDATES: dict[str, tuple[str, object, list[str]]] = {
    "image": ("containers.0.image", "registry.test/web:v2", []),
    "init image": ("initContainers.0.image", "registry.test/init:v2", []),
    "deadline set": ("activeDeadlineSeconds", "10", []),
    "toleration added": (
        "tolerations",
        [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}, {"key": "z", "operator": "Exists"}],
        [],
    ),
    "toleration removed": (
        "tolerations",
        [],
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
    ),
    "command": ("containers.0.command", ["sh"], [f"{FIXED}spec.containers"]),
    "restart policy": ("restartPolicy", "Never", [f"{FIXED}spec.restartPolicy"]),
    "node": ("nodeName", "n2", [f"{FIXED}spec.nodeName"]),
    "host name": ("hostname", "x", [f"{FIXED}spec.hostname"]),
    "selector gone": ("nodeSelector", {}, [f"{FIXED}spec.nodeSelector"]),
    "grace period": ("terminationGracePeriodSeconds", "1", [f"{FIXED}spec.terminationGracePeriodSeconds"]),
    "container added": (
        "containers.1",
        {"name": "b", "image": "x"},
        ["spec.containers: Forbidden: pod updates may not add or remove containers"],
    ),
    "init container gone": (
        "initContainers",
        [],
        ["spec.initContainers: Forbidden: pod updates may not add or remove containers"],
    ),
}


@pytest.mark.parametrize(("path", "value", "expected"), UPDATES.values(), ids=UPDATES)
def test_update(path: str, value: object, expected: list[str]) -> None:
    assert [str(fault) for fault in validate_update(pod(changed(path, value)), pod(GOOD))] == expected


def test_a_deadline_only_gets_shorter() -> None:
    old = pod(changed("activeDeadlineSeconds", "10"))
    for value, expected in (
        ("5", []),
        ("11", ["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"]),
        (
            None,
            ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"],
        ),
    ):
        new = pod(GOOD if value is None else changed("activeDeadlineSeconds", value))
        assert [str(fault) for fault in validate_update(new, old)] == expected


def test_a_negative_grace_period_may_become_one_second() -> None:
    old = pod(changed("terminationGracePeriodSeconds", "-1"))
    assert validate_update(pod(changed("terminationGracePeriodSeconds", "1")), old) == []
    assert validate_update(pod(changed("terminationGracePeriodSeconds", "2")), old) != []


def test_gates_only_go_away() -> None:
    gated = pod(changed("schedulingGates", [{"name": "a"}, {"name": "b"}]))
    assert validate_update(pod(changed("schedulingGates", [{"name": "b"}])), gated) == []
    assert next(str(fault) for fault in validate_update(gated, pod(GOOD))) == (
        "spec.schedulingGates[0]: Forbidden: only deletion is allowed, but found new scheduling gate 'a'"
    )


def test_a_gated_pod_may_become_choosier() -> None:
    gated = changed("schedulingGates", [{"name": "a"}])
    choosier = copy.deepcopy(gated)
    choosier["spec"]["nodeSelector"]["zone"] = "x"  # type: ignore[index]
    assert validate_update(pod(choosier), pod(gated)) == []
    assert validate_update(pod(gated), pod(choosier)) != []
