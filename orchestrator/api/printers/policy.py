"""Tables of what bounds and scales: autoscalers, disruption budgets, quotas, limits, priorities, runtime classes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from google.protobuf.struct_pb2 import Value

from orchestrator.api.ages import is_set
from orchestrator.api.printing import NONE, UNSET, Printers, add, age_of, truth
from orchestrator.api.timestamps import format_timestamp
from orchestrator.api.v1 import (
    HorizontalPodAutoscaler,
    LimitRange,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    PodDisruptionBudget,
    PriorityClass,
    ResourceQuota,
    RuntimeClass,
)

PRINTERS: Printers = {}
_METRICS_SHOWN = 2
_UNKNOWN = "<unknown>"


def _autoscaler(obj: HorizontalPodAutoscaler, now: datetime, wide: bool) -> Sequence[str]:
    spec = obj.spec
    return (
        obj.metadata.name,
        f"{spec.scale_target_ref.kind}/{spec.scale_target_ref.name}",
        _metrics(spec.metrics, obj.status.current_metrics),
        str(spec.min_replicas) if spec.HasField("min_replicas") else UNSET,
        str(spec.max_replicas),
        str(obj.status.current_replicas),
        age_of(obj, now),
    )


def _metrics(wanted: Sequence[MetricSpec], read: Sequence[MetricStatus]) -> str:
    if not wanted:
        return NONE
    shown = [_metric(spec, read[index] if index < len(read) else MetricStatus()) for index, spec in enumerate(wanted)]
    text = ", ".join(shown[:_METRICS_SHOWN])
    return text if len(shown) <= _METRICS_SHOWN else f"{text} + {len(shown) - _METRICS_SHOWN} more..."


def _metric(spec: MetricSpec, status: MetricStatus) -> str:
    match spec.type:
        case "External":
            return _against(spec.external.target, status.external.current)
        case "Object":
            return _against(spec.object.target, status.object.current)
        case "Pods":
            return f"{_average(status.pods.current)}/{spec.pods.target.average_value or '0'}"
        case "Resource":
            return f"{spec.resource.name}: {_used(spec.resource.target, status.resource.current)}"
        case "ContainerResource":
            own = spec.container_resource
            return f"{own.name}: {_used(own.target, status.container_resource.current)}"
    return "<unknown type>"


def _average(current: MetricValueStatus) -> str:
    return current.average_value if current.HasField("average_value") else _UNKNOWN


def _against(target: MetricTarget, current: MetricValueStatus) -> str:
    if target.HasField("average_value"):
        return f"{_average(current)}/{target.average_value} (avg)"
    value = current.value if current.HasField("value") else _UNKNOWN
    return f"{value}/{target.value or '0'}"


def _used(target: MetricTarget, current: MetricValueStatus) -> str:
    if target.HasField("average_value"):
        return f"{_average(current)}/{target.average_value}"
    share = f"{current.average_utilization}%" if current.HasField("average_utilization") else _UNKNOWN
    goal = f"{target.average_utilization}%" if target.HasField("average_utilization") else "<auto>"
    return f"{share}/{goal}"


def _disruption_budget(obj: PodDisruptionBudget, now: datetime, wide: bool) -> Sequence[str]:
    spec = obj.spec
    return (
        obj.metadata.name,
        _count(spec.min_available) if spec.HasField("min_available") else "N/A",
        _count(spec.max_unavailable) if spec.HasField("max_unavailable") else "N/A",
        str(obj.status.disruptions_allowed),
        age_of(obj, now),
    )


def _count(value: Value) -> str:
    return value.string_value if value.WhichOneof("kind") == "string_value" else f"{value.number_value:.0f}"


def _priority_class(obj: PriorityClass, now: datetime, wide: bool) -> Sequence[str]:
    return obj.metadata.name, str(obj.value), truth(obj.global_default), age_of(obj, now), obj.preemption_policy


def _quota(obj: ResourceQuota, now: datetime, wide: bool) -> Sequence[str]:
    status = obj.status
    cells: dict[bool, list[str]] = {False: [], True: []}
    for name in sorted(status.hard):
        used = status.used.get(name, "0")
        cells[name.startswith("limits.")].append(f"{name}: {used}/{status.hard[name]}")
    return obj.metadata.name, ", ".join(cells[False]), ", ".join(cells[True]), age_of(obj, now)


def _limit_range(obj: LimitRange, now: datetime, wide: bool) -> Sequence[str]:
    made = obj.metadata.creation_timestamp
    return obj.metadata.name, format_timestamp(made.seconds, 0) if is_set(made) else _UNKNOWN


def _runtime_class(obj: RuntimeClass, now: datetime, wide: bool) -> Sequence[str]:
    return obj.metadata.name, obj.handler, age_of(obj, now)


add(
    PRINTERS,
    "horizontalpodautoscalers.autoscaling",
    ("NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"),
    _autoscaler,
)
add(
    PRINTERS,
    "poddisruptionbudgets.policy",
    ("NAME", "MIN AVAILABLE", "MAX UNAVAILABLE", "ALLOWED DISRUPTIONS", "AGE"),
    _disruption_budget,
)
add(
    PRINTERS,
    "priorityclasses.scheduling.k8s.io",
    ("NAME", "VALUE", "GLOBAL-DEFAULT", "AGE", "PREEMPTIONPOLICY"),
    _priority_class,
)
add(PRINTERS, "resourcequotas", ("NAME", "REQUEST", "LIMIT", "AGE"), _quota)
add(PRINTERS, "limitranges", ("NAME", "CREATED AT"), _limit_range)
add(PRINTERS, "runtimeclasses.node.k8s.io", ("NAME", "HANDLER", "AGE"), _runtime_class)
