"""Autoscalers: by cpu when nobody says by what; up at once and fast, down after a while."""

from __future__ import annotations

from orchestrator.api.defaults.rules import rule
from orchestrator.api.v1 import HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, HPAScalingRules

_CPU_UTILIZATION = 80
_PERIOD_SECONDS = 15


@rule(HorizontalPodAutoscalerSpec)
def _autoscaler(spec: HorizontalPodAutoscalerSpec) -> None:
    if not spec.metrics:
        metric = spec.metrics.add(type="Resource")
        metric.resource.name = "cpu"
        metric.resource.target.type = "Utilization"
        metric.resource.target.average_utilization = _CPU_UTILIZATION


@rule(HorizontalPodAutoscalerBehavior)
def _behavior(behavior: HorizontalPodAutoscalerBehavior) -> None:
    up, down = behavior.scale_up, behavior.scale_down
    if not up.HasField("stabilization_window_seconds"):
        up.stabilization_window_seconds = 0
    _pace(up, ("Pods", 4), ("Percent", 100))
    _pace(down, ("Percent", 100))


def _pace(rules: HPAScalingRules, *policies: tuple[str, int]) -> None:
    if not rules.HasField("select_policy"):
        rules.select_policy = "Max"
    if not rules.policies:
        for kind, value in policies:
            rules.policies.add(type=kind, value=value, period_seconds=_PERIOD_SECONDS)
