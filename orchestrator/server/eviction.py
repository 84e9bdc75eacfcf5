"""Eviction: the deletion of a pod if the disruption budgets that cover it allow it now.

`decide` is the rule. Carrying it out first takes the disruption off the budget, under the condition that the budget is
still as it was, and then deletes the very pod that was looked at: two evictions can't spend the same disruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.api import errors
from orchestrator.api.kinds import clone
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.v1 import Pod, PodDisruptionBudget

RETRY_SECONDS = 10
ALWAYS_ALLOW = "AlwaysAllow"
VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


@dataclass(frozen=True, slots=True)
class Granted:
    """The pod may go. `spent` is the budget with this disruption taken off; None: it costs none."""

    spent: PodDisruptionBudget | None = None


def covering(pod: Pod, budgets: Sequence[PodDisruptionBudget]) -> Sequence[PodDisruptionBudget]:
    """The budgets of the pod's namespace whose selector chooses it; one without a selector chooses nothing."""
    return [
        budget
        for budget in budgets
        if budget.spec.HasField("selector") and from_label_selector(budget.spec.selector).matches(pod.metadata.labels)
    ]


def decide(pod: Pod, budgets: Sequence[PodDisruptionBudget], now: datetime) -> Granted:
    """Whether the pod may be evicted under these budgets, which cover it. Raises TooManyRequests, InternalError."""
    if pod.status.phase in {"Succeeded", "Failed", "Pending"} or pod.metadata.HasField("deletion_timestamp"):
        return Granted()
    if not budgets:
        return Granted()
    if len(budgets) > 1:
        raise errors.InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    budget = budgets[0]
    status = budget.status
    ready = any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)
    if not ready:
        if budget.spec.unhealthy_pod_eviction_policy == ALWAYS_ALLOW:
            return Granted()
        if status.current_healthy >= status.desired_healthy > 0:
            return Granted()
    name = budget.metadata.name
    if status.observed_generation < budget.metadata.generation:
        raise _refused(f"The disruption budget {name} is still being processed by the server.")
    if status.disruptions_allowed <= 0:
        raise _refused(
            f"The disruption budget {name} needs {status.desired_healthy} healthy pods and has "
            f"{status.current_healthy} currently"
        )
    spent = clone(budget)
    spent.status.disruptions_allowed -= 1
    spent.status.disrupted_pods[pod.metadata.name].FromDatetime(now)
    return Granted(spent)


def _refused(why: str) -> errors.TooManyRequests:
    details = errors.Details(causes=(errors.Cause("DisruptionBudget", why),))
    return errors.TooManyRequests(VIOLATES, details=details, retry_after=RETRY_SECONDS)
