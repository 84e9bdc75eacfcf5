"""Every kind at its smallest: it is complete with its defaults, it draws its warning, it has a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.api.codec import from_json, to_json
from orchestrator.api.columns import table
from orchestrator.api.creation import complete_new
from orchestrator.api.defaults import set_defaults
from orchestrator.api.kinds import Kind, KubeObject, all_kinds, clone, find_kind
from orchestrator.api.unsupported import warnings_for
from orchestrator.api.validation import validate, validate_status, validate_update
from tests.unit.api.smallest_objects import SMALLEST

# Kinds that need nobody to act on them.
WITHOUT_WARNING = {"podtemplates", "controllerrevisions.apps"}
EVERYDAY = {
    *("pods", "nodes", "namespaces", "services", "configmaps", "secrets", "serviceaccounts", "events"),
    *("endpointslices.discovery.k8s.io", "leases.coordination.k8s.io", "replicasets.apps", "deployments.apps"),
}


def made(resource: str) -> tuple[Kind, KubeObject]:
    """As the server makes it."""
    kind = find_kind(resource)
    metadata: dict[str, Any] = {"name": "web", "uid": "u-1"}
    if kind.namespaced:
        metadata["namespace"] = "default"
    data = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **SMALLEST[resource]}
    obj = from_json(data).obj
    set_defaults(obj)
    complete_new(obj, user="alice", groups=["system:masters"])
    return kind, obj


def test_no_kind_is_missing() -> None:
    assert {kind.resource for kind in all_kinds()} == EVERYDAY | set(SMALLEST)


@pytest.mark.parametrize("resource", sorted(SMALLEST))
def test_it_is_allowed(resource: str) -> None:
    _, obj = made(resource)
    assert [str(fault) for fault in validate(obj)] == []
    assert validate_update(clone(obj), obj) == []
    assert validate_status(obj) == []
    assert from_json(to_json(obj)).obj == obj


@pytest.mark.parametrize("resource", sorted(SMALLEST))
def test_it_says_that_nothing_acts_on_it(resource: str) -> None:
    kind, obj = made(resource)
    warnings = warnings_for(obj)
    if resource in WITHOUT_WARNING:
        assert warnings == []
    else:
        assert warnings[0] == f"{kind.kind} is accepted and has no effect: {kind.unsupported}"


@pytest.mark.parametrize("resource", sorted(SMALLEST))
@pytest.mark.parametrize("wide", [False, True])
def test_it_has_a_table(resource: str, wide: bool) -> None:
    kind, obj = made(resource)
    shown = table(kind, [obj, kind.message()], datetime(2026, 1, 1, tzinfo=UTC), wide)
    assert shown.columns[0] == "NAME"
    assert shown.columns != ["NAME", "AGE"]
    assert shown.rows[0][0] == "web"
    assert all(len(row) == len(shown.columns) for row in shown.rows)


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.resource)
def test_it_belongs_where_it_is_in_kubernetes(kind: Kind) -> None:
    cluster = {
        *("nodes", "namespaces", "persistentvolumes", "priorityclasses", "storageclasses", "volumeattachments"),
        *("csidrivers", "csinodes", "ingressclasses", "clusterroles", "clusterrolebindings"),
        *("certificatesigningrequests", "runtimeclasses"),
    }
    assert kind.namespaced is (kind.plural not in cluster)
