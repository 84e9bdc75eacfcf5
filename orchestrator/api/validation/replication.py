"""Replication controllers and pod templates."""

from __future__ import annotations

from orchestrator.api.errors import invalid, required
from orchestrator.api.selectors import from_labels
from orchestrator.api.v1 import PodTemplate, ReplicationController, ReplicationControllerStatus
from orchestrator.api.validation.pod import restart_always, template
from orchestrator.api.validation.replicas import at_most, counts
from orchestrator.api.validation.rules import Faults, not_negative


def replication_controller(obj: ReplicationController) -> Faults:
    spec = obj.spec
    yield from not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    if not spec.selector:
        yield required("spec.selector")
    yield from not_negative("spec.replicas", spec.replicas)
    if not spec.HasField("template"):
        yield required("spec.template")
        return
    labels = {key: spec.template.metadata.labels[key] for key in sorted(spec.template.metadata.labels)}
    if spec.selector and not from_labels(spec.selector).matches(labels):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from template(spec.template, "spec.template")
    yield from restart_always(spec.template.spec, "spec.template.spec", "ReplicationController")


def replication_controller_status(status: ReplicationControllerStatus) -> Faults:
    parts = ("fully_labeled_replicas", "ready_replicas", "available_replicas")
    yield from counts(status, "replicas", *parts, "observed_generation")
    yield from at_most(status.replicas, status, *parts)


def pod_template(obj: PodTemplate) -> Faults:
    yield from template(obj.template, "template")
