"""Quotas, limit ranges and priority classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.api import names
from orchestrator.api.errors import duplicate, forbidden, invalid, required
from orchestrator.api.quantity import Quantity
from orchestrator.api.v1 import (
    LimitRange,
    LimitRangeItem,
    PriorityClass,
    ResourceQuota,
    ResourceQuotaStatus,
    ScopedResourceSelectorRequirement,
)
from orchestrator.api.validation.resources import HUGE_PAGES, amounts
from orchestrator.api.validation.rules import Faults, amount_of, immutable, named, one_of, quantity, repeats

HIGHEST_USER_PRIORITY = 1_000_000_000
_SYSTEM = "system-"
_SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_PREEMPTION = ("Never", "PreemptLowerPriority")
_COUNTED = frozenset(
    {
        "pods",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
        "resourcequotas",
    }
)
_MEASURED = frozenset(
    {
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    }
)
_SCOPES = frozenset(
    {
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    }
)
_CONFLICTING = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_WITHOUT_VALUES = frozenset(
    {"BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"}
)


def resource_quota(obj: ResourceQuota) -> Faults:
    spec = obj.spec
    yield from _quota_amounts(spec.hard, "spec.hard")
    yield from _scopes(spec.scopes, "spec.scopes")
    path = "spec.scopeSelector.matchExpressions"
    for index, requirement in enumerate(spec.scope_selector.match_expressions):
        yield from _scope_requirement(requirement, f"{path}[{index}]")


def resource_quota_update(new: ResourceQuota, old: ResourceQuota) -> Faults:
    if sorted(new.spec.scopes) != sorted(old.spec.scopes):
        yield from immutable("spec.scopes", list(new.spec.scopes), list(old.spec.scopes))
    yield from immutable("spec.scopeSelector", new.spec.scope_selector, old.spec.scope_selector)


def resource_quota_status(status: ResourceQuotaStatus) -> Faults:
    yield from _quota_amounts(status.hard, "status.hard")
    yield from _quota_amounts(status.used, "status.used")


def limit_range(obj: LimitRange) -> Faults:
    limits = obj.spec.limits
    for index, item in enumerate(limits):
        yield from _limits(item, f"spec.limits[{index}]")
    for index in repeats(item.type for item in limits):
        yield duplicate(f"spec.limits[{index}].type", "")


def priority_class(obj: PriorityClass) -> Faults:
    name = obj.metadata.name
    if name.startswith(_SYSTEM):
        if _SYSTEM_CLASSES.get(name) != obj.value:
            why = "priority class names with 'system-' prefix are reserved for system use only"
            yield forbidden("metadata.name", why)
    elif obj.value > HIGHEST_USER_PRIORITY:
        why = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        yield forbidden("value", why)
    if obj.HasField("preemption_policy"):
        yield from one_of("preemptionPolicy", obj.preemption_policy, _PREEMPTION)


def priority_class_update(new: PriorityClass, old: PriorityClass) -> Faults:
    if new.value != old.value:
        yield forbidden("value", "may not be changed in an update.")
    yield from immutable("preemptionPolicy", new.preemption_policy, old.preemption_policy)


def _quota_amounts(values: Mapping[str, str], path: str) -> Faults:
    for name in sorted(values):
        here = f"{path}[{name}]"
        faults = list(named(names.qualified_name, here, name))
        yield from faults
        known = name in _COUNTED | _MEASURED or any(
            name.removeprefix(prefix).startswith(HUGE_PAGES) for prefix in ("", "requests.", "limits.")
        )
        if not faults and "/" not in name and not known:
            yield invalid(here, name, "must be a standard resource for quota")
        yield from quantity(here, values[name])
        amount = amount_of(values[name])
        whole = name in _COUNTED or name.startswith("count/")
        if whole and amount is not None and amount.value != amount.value.to_integral_value():
            yield invalid(here, values[name], "must be an integer")


def _scopes(scopes: Sequence[str], path: str) -> Faults:
    given = set(scopes)
    if given - _SCOPES:
        yield invalid(path, list(scopes), "unsupported scope")
    for pair in _CONFLICTING:
        if pair <= given:
            yield invalid(path, list(scopes), "conflicting scopes")


def _scope_requirement(requirement: ScopedResourceSelectorRequirement, path: str) -> Faults:
    scope, operator = requirement.scope_name, requirement.operator
    if scope not in _SCOPES:
        yield invalid(f"{path}.scopeName", scope, "unsupported scope")
    if scope in _WITHOUT_VALUES and operator != "Exists":
        listed = ", ".join(sorted(_WITHOUT_VALUES))
        yield invalid(f"{path}.operator", operator, f"must be 'Exists' when scope is any of {listed}")
    match operator:
        case "In" | "NotIn" if not requirement.values:
            why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            yield required(f"{path}.values", why)
        case "Exists" | "DoesNotExist" if requirement.values:
            why = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"
            yield invalid(f"{path}.values", list(requirement.values), why)
        case "In" | "NotIn" | "Exists" | "DoesNotExist":
            pass
        case _:
            yield invalid(f"{path}.operator", operator, "not a valid selector operator")


def _limits(item: LimitRangeItem, path: str) -> Faults:
    if not item.type:
        yield required(f"{path}.type")
    else:
        yield from named(names.qualified_name, f"{path}.type", item.type)
    bounds = {
        "max": item.max,
        "min": item.min,
        "default": item.default,
        "defaultRequest": item.default_request,
        "maxLimitRequestRatio": item.max_limit_request_ratio,
    }
    for name, values in bounds.items():
        yield from amounts(values, f"{path}.{name}")
    if item.type == "Pod":
        for name in ("default", "defaultRequest"):
            if bounds[name]:
                yield forbidden(f"{path}.{name}", "may not be specified when `type` is 'Pod'")
    if item.type == "PersistentVolumeClaim" and "storage" not in item.min and "storage" not in item.max:
        why = "either minimum or maximum storage value is required, but neither was provided"
        yield required(f"{path}.limits", why)
    for resource in sorted({name for values in bounds.values() for name in values}):
        found = {name: amount_of(values[resource]) for name, values in bounds.items() if resource in values}
        yield from _order({name: amount for name, amount in found.items() if amount is not None}, path, resource)


# Of each pair the first may not be larger; the fault is told at the last.
_ORDER = (
    ("min", "max", "min", "min value {0} is greater than max value {1}"),
    ("min", "defaultRequest", "defaultRequest", "min value {0} is greater than default request value {1}"),
    ("defaultRequest", "max", "defaultRequest", "default request value {0} is greater than max value {1}"),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "default request value {0} is greater than default limit value {1}",
    ),
    ("min", "default", "default", "min value {0} is greater than default value {1}"),
    ("default", "max", "default", "default value {0} is greater than max value {1}"),
)


def _order(amounts_of: Mapping[str, Quantity], path: str, resource: str) -> Faults:
    for smaller, larger, told, why in _ORDER:
        if smaller in amounts_of and larger in amounts_of and amounts_of[smaller] > amounts_of[larger]:
            detail = why.format(amounts_of[smaller], amounts_of[larger])
            yield invalid(f"{path}.{told}[{resource}]", str(amounts_of[told]), detail)
    ratio = amounts_of.get("maxLimitRequestRatio")
    if ratio is None:
        return
    here = f"{path}.maxLimitRequestRatio[{resource}]"
    if ratio.value < 1:
        yield invalid(here, str(ratio), f"ratio {ratio} is less than 1")
    low, high = amounts_of.get("min"), amounts_of.get("max")
    if low is not None and high is not None and low.value > 0:
        most = high.value / low.value
        if ratio.value > most:
            yield invalid(here, str(ratio), f"ratio {ratio} is greater than max/min = {float(most):f}")
