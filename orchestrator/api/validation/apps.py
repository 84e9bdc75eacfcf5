"""Deployments and ReplicaSets: the selector must find the template's pods, and never changes."""

from __future__ import annotations

from orchestrator.api.errors import forbidden, invalid, not_supported, required
from orchestrator.api.v1 import Deployment, DeploymentSpec, ReplicaSet, Scale
from orchestrator.api.validation.pod import restart_always
from orchestrator.api.validation.replicas import count, is_zero, selected_template
from orchestrator.api.validation.rules import Faults, immutable, not_negative, plain

_STRATEGIES = ("Recreate", "RollingUpdate")


def deployment(obj: Deployment) -> Faults:
    spec = obj.spec
    yield from not_negative("spec.replicas", spec.replicas)
    yield from selected_template(spec.template, spec.selector if spec.HasField("selector") else None, "deployment")
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
    yield from selected_template(spec.template, spec.selector if spec.HasField("selector") else None, "deployment")
    yield from restart_always(spec.template.spec, "spec.template.spec", "ReplicaSet")


def scale(obj: Scale) -> Faults:
    yield from not_negative("spec.replicas", obj.spec.replicas)


def deployment_update(new: Deployment, old: Deployment) -> Faults:
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)


def replica_set_update(new: ReplicaSet, old: ReplicaSet) -> Faults:
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)


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
    yield from count(f"{here}.maxUnavailable", rolling.max_unavailable, most=100)
    yield from count(f"{here}.maxSurge", rolling.max_surge, most=None)
    if is_zero(rolling.max_unavailable) and is_zero(rolling.max_surge):
        why = "may not be 0 when `maxSurge` is 0"
        yield invalid(f"{here}.maxUnavailable", plain(rolling.max_unavailable), why)
