"""Amounts of resources: what containers request and are limited to, what nodes have."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.api import names
from orchestrator.api.errors import invalid, required
from orchestrator.api.v1 import ResourceRequirements
from orchestrator.api.validation.rules import Faults, amount_of, named, quantity

HUGE_PAGES = "hugepages-"
# Resources that containers may be promised more of than there is; of all others a request equals its limit.
_OVERCOMMITTED = frozenset({"cpu", "memory", "ephemeral-storage"})


def requirements(resources: ResourceRequirements, path: str) -> Faults:
    yield from _amounts(resources.limits, f"{path}.limits")
    yield from _amounts(resources.requests, f"{path}.requests")
    for name in sorted(resources.requests):
        request = amount_of(resources.requests[name])
        limit = amount_of(resources.limits[name]) if name in resources.limits else None
        if request is None:
            continue
        if limit is None:
            if name not in _OVERCOMMITTED and name not in resources.limits:
                yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif name not in _OVERCOMMITTED and request != limit:
            yield invalid(f"{path}.requests", str(request), f"must be equal to {name} limit of {limit}")
        elif request > limit:
            yield invalid(f"{path}.requests", str(request), f"must be less than or equal to {name} limit of {limit}")


def amounts(values: Mapping[str, str], path: str) -> Faults:
    """Of a node, or of anything that is not a container."""
    for name in sorted(values):
        here = f"{path}[{name}]"
        yield from named(names.qualified_name, here, name)
        yield from quantity(here, values[name])


def _amounts(values: Mapping[str, str], path: str) -> Faults:
    for name in sorted(values):
        here = f"{path}[{name}]"
        faults = list(named(names.qualified_name, here, name))
        yield from faults
        plain = "/" not in name
        if not faults and plain and name not in _OVERCOMMITTED and not name.startswith(HUGE_PAGES):
            yield invalid(here, name, "must be a standard resource for containers")
        yield from quantity(here, values[name])
        amount = amount_of(values[name])
        if not plain and amount is not None and amount.value != amount.value.to_integral_value():
            yield invalid(here, values[name], "must be an integer")
