"""Limits of containers: what a container gets that does not ask follows from the bounds."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from orchestrator.api.defaults.rules import rule
from orchestrator.api.v1 import LimitRangeItem


@rule(LimitRangeItem)
def _limits(item: LimitRangeItem) -> None:
    if item.type == "Container":
        _fill(item.default, item.max)
        _fill(item.default_request, item.default)
        _fill(item.default_request, item.min)


def _fill(amounts: MutableMapping[str, str], source: Mapping[str, str]) -> None:
    for resource, amount in source.items():
        if resource not in amounts:
            amounts[resource] = amount
