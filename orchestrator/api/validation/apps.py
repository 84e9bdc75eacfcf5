"""Deployments and ReplicaSets: the selector must find the template's pods, and never changes."""

from __future__ import annotations

from google.protobuf.struct_pb2 import Value

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, not_supported, required
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.v1 import Deployment, DeploymentSpec, LabelSelector, PodTemplateSpec, ReplicaSet, Scale
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.pod import restart_always, template
from orchestrator.api.validation.rules import Faults, immutable, named, not_negative, plain, shown

_STRATEGIES = ("Recreate", "RollingUpdate")


def deployment(obj: Deployment) -> Faults:
    spec = obj.spec
    yield from not_negative("spec.replicas", spec.replicas)
    yield from _pods(spec.template, spec.selector if spec.HasField("selector") else None, "deployment")
    yield from restart_always(spec.template.spec, "spec.template.spec", "Deployment")
    yield from _strategy(spec)
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    if spec.HasField("progress_deadline_seconds"):
        path = "spec.progressDeadlineSeconds"
        yield from not_negative(path, spec.progress_deadline_seconds)
        if spec.progress_deadline_seconds <= spec.min_ready_seconds:
            yield invalid(path, spec.progress_deadline_seconds, "must be greater than minReadySeconds")


def replica_set(obj: ReplicaSet) -> Faults:
    spec = obj.spec
    yield from not_negative("spec.replicas", spec.replicas)
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from _pods(spec.template, spec.selector if spec.HasField("selector") else None, "deployment")
    yield from restart_always(spec.template.spec, "spec.template.spec", "ReplicaSet")


def scale(obj: Scale) -> Faults:
    yield from not_negative("spec.replicas", obj.spec.replicas)


def deployment_update(new: Deployment, old: Deployment) -> Faults:
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)


def replica_set_update(new: ReplicaSet, old: ReplicaSet) -> Faults:
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)


def _pods(pods: PodTemplateSpec, selector: LabelSelector | None, what: str) -> Faults:
    if selector is None:
        yield required("spec.selector")
    else:
        faults = list(label_selector(selector, "spec.selector"))
        yield from faults
        if not selector.match_labels and not selector.match_expressions:
            yield invalid("spec.selector", shown(selector), f"empty selector is invalid for {what}")
        elif not faults and not from_label_selector(selector).matches(pods.metadata.labels):
            labels = {key: pods.metadata.labels[key] for key in sorted(pods.metadata.labels)}
            yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from template(pods, "spec.template")


def _strategy(spec: DeploymentSpec) -> Faults:
    strategy = spec.strategy
    path = "spec.strategy"
    if strategy.type not in _STRATEGIES:
        yield not_supported(f"{path}.type", strategy.type, _STRATEGIES)
        return
    if strategy.type == "Recreate":
        if strategy.HasField("rolling_update"):
            why = "may not be specified when strategy `type` is 'Recreate'"
            yield forbidden(f"{path}.rollingUpdate", why)
        return
    here = f"{path}.rollingUpdate"
    if not strategy.HasField("rolling_update"):
        yield required(here, "this should be defaulted and never be nil")
        return
    rolling = strategy.rolling_update
    yield from _count(f"{here}.maxUnavailable", rolling.max_unavailable, most=100)
    yield from _count(f"{here}.maxSurge", rolling.max_surge, most=None)
    if _is_zero(rolling.max_unavailable) and _is_zero(rolling.max_surge):
        why = "may not be 0 when `maxSurge` is 0"
        yield invalid(f"{here}.maxUnavailable", plain(rolling.max_unavailable), why)


def _count(path: str, value: Value, *, most: int | None) -> Faults:
    """A number of pods, or a percentage of them, up to `most` percent."""
    match value.WhichOneof("kind"):
        case "number_value" if value.number_value.is_integer():
            yield from not_negative(path, int(value.number_value))
        case "string_value":
            faults = list(named(names.percent, path, value.string_value))
            yield from faults
            if not faults and most is not None and int(value.string_value[:-1]) > most:
                yield invalid(path, value.string_value, f"must not be greater than {most}%")
        case _:
            yield invalid(path, plain(value), "must be an integer or percentage (e.g '5%')")


def _is_zero(value: Value) -> bool:
    if value.WhichOneof("kind") == "string_value":
        return value.string_value.rstrip("%").strip("0") == "" and value.string_value.startswith("0")
    return value.number_value == 0
