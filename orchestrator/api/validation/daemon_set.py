"""DaemonSets: a node's pod may be missing for a while or be there twice, but not both at once."""

from __future__ import annotations

from orchestrator.api.errors import invalid, not_supported, required
from orchestrator.api.v1 import DaemonSet, DaemonSetStatus, DaemonSetUpdateStrategy, RollingUpdateDaemonSet
from orchestrator.api.validation.pod import restart_always
from orchestrator.api.validation.replicas import count, counts, is_zero, selected_template
from orchestrator.api.validation.rules import Faults, immutable, not_negative, plain

_STRATEGIES = ("OnDelete", "RollingUpdate")


def daemon_set(obj: DaemonSet) -> Faults:
    spec = obj.spec
    yield from selected_template(spec.template, spec.selector if spec.HasField("selector") else None, "daemonset")
    yield from restart_always(spec.template.spec, "spec.template.spec", "DaemonSet")
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from _strategy(spec.update_strategy, "spec.updateStrategy")
    yield from not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)


def daemon_set_update(new: DaemonSet, old: DaemonSet) -> Faults:
    yield from immutable("spec.selector", new.spec.selector, old.spec.selector)


def daemon_set_status(status: DaemonSetStatus) -> Faults:
    yield from counts(
        status,
        "current_number_scheduled",
        "number_misscheduled",
        "desired_number_scheduled",
        "number_ready",
        "observed_generation",
        "updated_number_scheduled",
        "number_available",
        "number_unavailable",
        "collision_count",
    )


def _strategy(strategy: DaemonSetUpdateStrategy, path: str) -> Faults:
    if strategy.type not in _STRATEGIES:
        yield not_supported(path, strategy.type, _STRATEGIES)
    elif strategy.type == "RollingUpdate":
        if strategy.HasField("rolling_update"):
            yield from _rolling_update(strategy.rolling_update, f"{path}.rollingUpdate")
        else:
            yield required(f"{path}.rollingUpdate")


def _rolling_update(rolling: RollingUpdateDaemonSet, path: str) -> Faults:
    faults = [
        *count(f"{path}.maxUnavailable", rolling.max_unavailable, most=100),
        *count(f"{path}.maxSurge", rolling.max_surge, most=100),
    ]
    yield from faults
    if faults:
        return
    if not is_zero(rolling.max_unavailable) and not is_zero(rolling.max_surge):
        yield invalid(f"{path}.maxSurge", plain(rolling.max_surge), "may not be set when maxUnavailable is non-zero")
    elif is_zero(rolling.max_unavailable) and is_zero(rolling.max_surge):
        yield required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")
