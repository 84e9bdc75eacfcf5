"""Warnings for what has no effect: where it is set, and not where it says what happens anyway."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.api.codec import from_json
from orchestrator.api.defaults import set_defaults
from orchestrator.api.unsupported import warnings_for


def warned(data: dict[str, Any]) -> list[str]:
    return warnings_for(from_json({"apiVersion": "v1", "metadata": {"name": "x"}, **data}).obj)


def test_each_field_with_its_path_and_reason() -> None:
    container = {"name": "c", "resources": {"claims": [{"name": "r"}]}}
    template = {"spec": {"containers": [{"name": "b"}, container], "affinity": {"nodeAffinity": {}, "podAffinity": {}}}}
    assert warned({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template}}) == [
        "spec.template.spec.containers[1].resources.claims is accepted and has no effect: there are no resource claims",
        "spec.template.spec.affinity.podAffinity is accepted and has no effect: "
        "pods are placed without regard to what other pods are labeled",
    ]
    assert warned({"kind": "Pod", "spec": {"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}}) == [
        "spec.volumes[0].nfs is accepted and has no effect: this kind of volume is not mounted"
    ]


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ({"sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster"}, 0),
        ({"sessionAffinity": "ClientIP"}, 0),
        ({"externalTrafficPolicy": "Local"}, 0),
        ({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 1),
        ({"type": "LoadBalancer"}, 1),
    ],
)
def test_services(spec: dict[str, Any], count: int) -> None:
    assert len(warned({"kind": "Service", "spec": spec})) == count


@pytest.mark.parametrize("spec", [{}, {"hostUsers": True}, {"preemptionPolicy": "PreemptLowerPriority", "priority": 7}])
def test_what_happens_anyway_draws_no_warning(spec: dict[str, Any]) -> None:
    assert warned({"kind": "Pod", "spec": spec}) == []


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "Pod", "spec": {"containers": [{"name": "c", "image": "i"}]}},
        {"kind": "Service", "spec": {"type": "NodePort", "ports": [{"port": 80}]}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
        },
    ],
    ids=lambda data: str(data["kind"]),
)
def test_defaults_draw_no_warning(data: dict[str, Any]) -> None:
    obj = from_json({"apiVersion": "v1", "metadata": {"name": "x"}, **data}).obj
    set_defaults(obj)
    assert warnings_for(obj) == []
