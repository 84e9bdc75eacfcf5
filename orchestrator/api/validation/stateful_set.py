"""StatefulSets: what makes a pod the same after it was replaced can't be changed. Controller revisions: nothing can."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, not_supported, required
from orchestrator.api.v1 import (
    ControllerRevision,
    PodTemplateSpec,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetStatus,
    StatefulSetUpdateStrategy,
)
from orchestrator.api.validation.claim import claim_spec
from orchestrator.api.validation.pod import restart_always
from orchestrator.api.validation.replicas import at_most, count, counts, is_zero, selected_template
from orchestrator.api.validation.rules import IMMUTABLE, Faults, named, not_negative, plain, shown, without

_RETENTIONS = ("Delete", "Retain")
_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "update_strategy",
    "revision_history_limit",
    "persistent_volume_claim_retention_policy",
    "min_ready_seconds",
)
_UNCHANGEABLE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def stateful_set(obj: StatefulSet) -> Faults:
    spec = obj.spec
    if not spec.pod_management_policy:
        yield required("spec.podManagementPolicy")
    elif spec.pod_management_policy not in {"OrderedReady", "Parallel"}:
        yield invalid("spec.podManagementPolicy", spec.pod_management_policy, "must be 'OrderedReady' or 'Parallel'")
    yield from _strategy(spec.update_strategy, "spec.updateStrategy")
    retention = spec.persistent_volume_claim_retention_policy
    for name, policy in (("whenDeleted", retention.when_deleted), ("whenScaled", retention.when_scaled)):
        if policy not in _RETENTIONS:
            yield not_supported(f"spec.persistentVolumeClaimRetentionPolicy.{name}", policy, _RETENTIONS)
    yield from not_negative("spec.replicas", spec.replicas)
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    yield from not_negative("spec.ordinals.start", spec.ordinals.start)
    if spec.service_name:
        yield from named(names.label_1035, "spec.serviceName", spec.service_name)
    selector = spec.selector if spec.HasField("selector") else None
    yield from selected_template(_with_claims(spec), selector, "statefulset")
    yield from restart_always(spec.template.spec, "spec.template.spec", "StatefulSet")
    for index, claim in enumerate(spec.volume_claim_templates):
        yield from claim_spec(claim.spec, f"spec.volumeClaimTemplates[{index}].spec")


def stateful_set_update(new: StatefulSet, old: StatefulSet) -> Faults:
    if without(new.spec, _CHANGEABLE) != without(old.spec, _CHANGEABLE):
        yield forbidden("spec", _UNCHANGEABLE)


def stateful_set_status(status: StatefulSetStatus) -> Faults:
    parts = ("ready_replicas", "current_replicas", "updated_replicas", "available_replicas")
    yield from counts(status, "replicas", *parts, "observed_generation", "collision_count")
    yield from at_most(status.replicas, status, *parts)
    if status.available_replicas > status.ready_replicas:
        why = "cannot be greater than status.readyReplicas"
        yield invalid("status.availableReplicas", status.available_replicas, why)


def controller_revision(obj: ControllerRevision) -> Faults:
    if not obj.HasField("data"):
        yield required("data", "data is mandatory")
    yield from not_negative("revision", obj.revision)


def controller_revision_update(new: ControllerRevision, old: ControllerRevision) -> Faults:
    if new.data != old.data:
        yield invalid("data", "<object>", IMMUTABLE)


def _with_claims(spec: StatefulSetSpec) -> PodTemplateSpec:
    """The template with the volumes that its pods will have: a claim takes the place of a volume of its name."""
    claims = {claim.metadata.name for claim in spec.volume_claim_templates}
    if not claims:
        return spec.template
    pods = PodTemplateSpec()
    pods.CopyFrom(spec.template)
    del pods.spec.volumes[:]
    pods.spec.volumes.extend(volume for volume in spec.template.spec.volumes if volume.name not in claims)
    for name in sorted(claims):
        pods.spec.volumes.add(name=name).persistent_volume_claim.claim_name = name
    return pods


def _strategy(strategy: StatefulSetUpdateStrategy, path: str) -> Faults:
    match strategy.type:
        case "":
            yield required(path)
        case "OnDelete":
            if strategy.HasField("rolling_update"):
                why = "only allowed for updateStrategy 'RollingUpdate'"
                yield invalid(f"{path}.rollingUpdate", shown(strategy.rolling_update), why)
        case "RollingUpdate":
            yield from _rolling_update(strategy.rolling_update, f"{path}.rollingUpdate")
        case _:
            yield invalid(path, strategy.type, "must be 'RollingUpdate' or 'OnDelete'")


def _rolling_update(rolling: RollingUpdateStatefulSetStrategy, path: str) -> Faults:
    yield from not_negative(f"{path}.partition", rolling.partition)
    if rolling.HasField("max_unavailable"):
        here = f"{path}.maxUnavailable"
        faults = list(count(here, rolling.max_unavailable, most=100))
        yield from faults
        if not faults and is_zero(rolling.max_unavailable):
            yield invalid(here, plain(rolling.max_unavailable), "cannot be 0")
