"""A pod's quality of service: how firmly its resources are promised, read from its containers' requests and limits."""

from __future__ import annotations

from orchestrator.api.quantity import QuantityError, parse_quantity
from orchestrator.api.v1 import PodSpec

GUARANTEED = "Guaranteed"
BURSTABLE = "Burstable"
BEST_EFFORT = "BestEffort"

_COUNTED = ("cpu", "memory")


def qos_class(spec: PodSpec) -> str:
    """Guaranteed: every container has limits for CPU and memory and requests just these. BestEffort: none asks for
    anything. Otherwise Burstable. Amounts that are zero or no quantities count as absent."""
    asks = False
    guaranteed = True
    for container in (*spec.init_containers, *spec.containers):
        for resource in _COUNTED:
            limit = _amount(container.resources.limits.get(resource, ""))
            request = _amount(container.resources.requests.get(resource, ""))
            asks = asks or bool(limit or request)
            guaranteed = guaranteed and bool(limit) and request in (limit, 0)
    if not asks:
        return BEST_EFFORT
    return GUARANTEED if guaranteed else BURSTABLE


def _amount(text: str) -> int:
    """In billionths; the finest step there is."""
    if not text:
        return 0
    try:
        return int(parse_quantity(text).value * 10**9)
    except QuantityError:
        return 0
