"""Disruption budgets: one number, not two."""

from __future__ import annotations

from orchestrator.api.errors import invalid, not_supported
from orchestrator.api.v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.replicas import count, counts
from orchestrator.api.validation.rules import Faults, shown

_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def disruption_budget(obj: PodDisruptionBudget) -> Faults:
    spec = obj.spec
    if spec.HasField("min_available") and spec.HasField("max_unavailable"):
        yield invalid("spec", shown(spec), "minAvailable and maxUnavailable cannot be both set")
    if spec.HasField("min_available"):
        yield from count("spec.minAvailable", spec.min_available, most=100)
    if spec.HasField("max_unavailable"):
        yield from count("spec.maxUnavailable", spec.max_unavailable, most=100)
    if spec.HasField("selector"):
        yield from label_selector(spec.selector, "spec.selector")
    if spec.HasField("unhealthy_pod_eviction_policy") and spec.unhealthy_pod_eviction_policy not in _EVICTION_POLICIES:
        here = "spec.unhealthyPodEvictionPolicy"
        yield not_supported(here, spec.unhealthy_pod_eviction_policy, _EVICTION_POLICIES)


def disruption_budget_status(status: PodDisruptionBudgetStatus) -> Faults:
    yield from counts(status, "disruptions_allowed", "current_healthy", "desired_healthy", "expected_pods")
