"""Autoscalers: bounds in order, a target for every metric, and a pace that is one."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, not_supported, required
from orchestrator.api.v1 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerStatus,
    HPAScalingPolicy,
    HPAScalingRules,
    MetricIdentifier,
    MetricSpec,
    MetricTarget,
)
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.replicas import counts
from orchestrator.api.validation.rules import Faults, amount_of, given, named, quantity

LONGEST_WINDOW = 3600
LONGEST_PERIOD = 1800
# By the metric's type: the field that goes with it.
_SOURCES = {
    "ContainerResource": "container_resource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_POLICIES = ("Percent", "Pods")
_SELECTIONS = ("Disabled", "Max", "Min")
_TARGETS = ("AverageValue", "Utilization", "Value")


def autoscaler(obj: HorizontalPodAutoscaler) -> Faults:
    spec = obj.spec
    least = spec.min_replicas if spec.HasField("min_replicas") else None
    if least is not None and least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if spec.max_replicas < 1:
        yield invalid("spec.maxReplicas", spec.max_replicas, "must be greater than 0")
    if least is not None and spec.max_replicas < least:
        yield invalid("spec.maxReplicas", spec.max_replicas, "must be greater than or equal to `minReplicas`")
    yield from _reference(spec.scale_target_ref, "spec.scaleTargetRef")
    for index, metric in enumerate(spec.metrics):
        yield from _metric(metric, f"spec.metrics[{index}]")
    behavior = spec.behavior
    if behavior.HasField("scale_up"):
        yield from _pace(behavior.scale_up, "spec.behavior.scaleUp")
    if behavior.HasField("scale_down"):
        yield from _pace(behavior.scale_down, "spec.behavior.scaleDown")


def autoscaler_status(status: HorizontalPodAutoscalerStatus) -> Faults:
    yield from counts(status, "current_replicas", "desired_replicas")


def _reference(reference: CrossVersionObjectReference, path: str) -> Faults:
    if reference.api_version.count("/") > 1:
        yield invalid(
            f"{path}.apiVersion", reference.api_version, f"unexpected GroupVersion string: {reference.api_version}"
        )
    for name, value in (("kind", reference.kind), ("name", reference.name)):
        if value:
            yield from named(names.path_segment, f"{path}.{name}", value)
        else:
            yield required(f"{path}.{name}")


def _metric(metric: MetricSpec, path: str) -> Faults:
    if not metric.type:
        yield required(f"{path}.type", "must specify a metric source type")
    if metric.type not in _SOURCES:
        yield not_supported(f"{path}.type", metric.type, _SOURCES)
    given = {field.name: field.json_name for field, _ in metric.ListFields() if field.message_type is not None}
    wanted = _SOURCES.get(metric.type)
    if wanted is not None and wanted not in given:
        name = metric.DESCRIPTOR.fields_by_name[wanted].json_name
        yield required(f"{path}.{name}", "must populate information for the given metric source")
    for field, name in given.items():
        if field != wanted:
            yield forbidden(f"{path}.{name}", "must populate the given metric source only")
    if wanted in given:
        yield from _source(metric, f"{path}.{given[wanted]}")


def _source(metric: MetricSpec, path: str) -> Faults:
    match metric.type:
        case "Object":
            source = metric.object
            yield from _reference(source.described_object, f"{path}.describedObject")
            yield from _identifier(source.metric, f"{path}.metric")
            yield from _target(source.target, f"{path}.target")
            if not source.target.HasField("value") and not source.target.HasField("average_value"):
                yield required(f"{path}.target.averageValue", "must set either a target value or averageValue")
        case "Pods":
            yield from _identifier(metric.pods.metric, f"{path}.metric")
            yield from _target(metric.pods.target, f"{path}.target")
            if not metric.pods.target.HasField("average_value"):
                yield required(f"{path}.target.averageValue", "must specify a positive target averageValue")
        case "Resource":
            yield from _resource(metric.resource.name, metric.resource.target, path)
        case "ContainerResource":
            if not metric.container_resource.container:
                yield required(f"{path}.container", "must specify a container")
            yield from _resource(metric.container_resource.name, metric.container_resource.target, path)
        case "External":
            yield from _external(metric.external.metric, metric.external.target, path)


def _external(metric: MetricIdentifier, target: MetricTarget, path: str) -> Faults:
    yield from _identifier(metric, f"{path}.metric")
    yield from _target(target, f"{path}.target")
    if not target.HasField("value") and not target.HasField("average_value"):
        why = "must set either a target value for metric or a per-pod target"
        yield required(f"{path}.target.averageValue", why)
    if target.HasField("value") and target.HasField("average_value"):
        why = "may not set both a target value for metric and a per-pod target"
        yield forbidden(f"{path}.target.value", why)


def _resource(name: str, target: MetricTarget, path: str) -> Faults:
    if not name:
        yield required(f"{path}.name", "must specify a resource name")
    yield from _target(target, f"{path}.target")
    if not target.HasField("average_utilization") and not target.HasField("average_value"):
        why = "must set either a target raw value or a target utilization"
        yield required(f"{path}.target.averageUtilization", why)
    if target.HasField("average_utilization") and target.HasField("average_value"):
        why = "may not set both a target raw value and a target utilization"
        yield forbidden(f"{path}.target.averageValue", why)


def _identifier(metric: MetricIdentifier, path: str) -> Faults:
    if metric.name:
        yield from named(names.path_segment, f"{path}.name", metric.name)
    else:
        yield required(f"{path}.name", "must specify a metric name")
    if metric.HasField("selector"):
        yield from label_selector(metric.selector, f"{path}.selector")


def _target(target: MetricTarget, path: str) -> Faults:
    if not target.type:
        yield required(f"{path}.type", "must specify a metric target type")
    elif target.type not in _TARGETS:
        yield invalid(f"{path}.type", target.type, "must be either Utilization, Value, or AverageValue")
    for field, name in (("value", "value"), ("average_value", "averageValue")):
        text = given(target, field)
        if isinstance(text, str):
            amount = amount_of(text)
            if amount is None:
                yield from quantity(f"{path}.{name}", text)
            elif amount.value <= 0:
                yield invalid(f"{path}.{name}", text, "must be positive")
    if target.HasField("average_utilization") and target.average_utilization < 1:
        yield invalid(f"{path}.averageUtilization", target.average_utilization, "must be greater than 0")


def _pace(rules: HPAScalingRules, path: str) -> Faults:
    if rules.HasField("stabilization_window_seconds"):
        here, window = f"{path}.stabilizationWindowSeconds", rules.stabilization_window_seconds
        if window < 0:
            yield invalid(here, window, "must be greater than or equal to zero")
        if window > LONGEST_WINDOW:
            yield invalid(here, window, f"must be less than or equal to {LONGEST_WINDOW}")
    if rules.HasField("select_policy") and rules.select_policy not in _SELECTIONS:
        yield not_supported(f"{path}.selectPolicy", rules.select_policy, _SELECTIONS)
    if not rules.policies:
        yield required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.policies):
        yield from _policy(policy, f"{path}.policies[{index}]")
    if rules.HasField("tolerance"):
        yield from quantity(f"{path}.tolerance", rules.tolerance)


def _policy(policy: HPAScalingPolicy, path: str) -> Faults:
    if policy.type not in _POLICIES:
        yield not_supported(f"{path}.type", policy.type, _POLICIES)
    if policy.value <= 0:
        yield invalid(f"{path}.value", policy.value, "must be greater than zero")
    if policy.period_seconds <= 0:
        yield invalid(f"{path}.periodSeconds", policy.period_seconds, "must be greater than zero")
    if policy.period_seconds > LONGEST_PERIOD:
        why = f"must be less than or equal to {LONGEST_PERIOD}"
        yield invalid(f"{path}.periodSeconds", policy.period_seconds, why)
