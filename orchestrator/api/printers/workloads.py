"""Tables of what keeps pods: replication controllers, stateful sets, daemon sets, their revisions, pod templates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.api.printing import NONE, TEMPLATE_COLUMNS, Printers, add, age_of, labels, selector, template
from orchestrator.api.v1 import ControllerRevision, DaemonSet, PodTemplate, ReplicationController, StatefulSet

PRINTERS: Printers = {}


def _replication_controller(obj: ReplicationController, now: datetime, wide: bool) -> Sequence[str]:
    spec, status = obj.spec, obj.status
    return (
        obj.metadata.name,
        str(spec.replicas),
        str(status.replicas),
        str(status.ready_replicas),
        age_of(obj, now),
        *template(spec.template.spec.containers),
        labels(spec.selector),
    )


def _stateful_set(obj: StatefulSet, now: datetime, wide: bool) -> Sequence[str]:
    ready = f"{obj.status.ready_replicas}/{obj.spec.replicas}"
    return obj.metadata.name, ready, age_of(obj, now), *template(obj.spec.template.spec.containers)


def _daemon_set(obj: DaemonSet, now: datetime, wide: bool) -> Sequence[str]:
    status = obj.status
    return (
        obj.metadata.name,
        str(status.desired_number_scheduled),
        str(status.current_number_scheduled),
        str(status.number_ready),
        str(status.updated_number_scheduled),
        str(status.number_available),
        labels(obj.spec.template.spec.node_selector),
        age_of(obj, now),
        *template(obj.spec.template.spec.containers),
        selector(obj.spec.selector),
    )


def _controller_revision(obj: ControllerRevision, now: datetime, wide: bool) -> Sequence[str]:
    return obj.metadata.name, _controller(obj), str(obj.revision), age_of(obj, now)


def _controller(obj: ControllerRevision) -> str:
    for owner in obj.metadata.owner_references:
        if owner.controller:
            group = owner.api_version.rpartition("/")[0]
            kind = f"{owner.kind}.{group}" if group else owner.kind
            return f"{kind.lower()}/{owner.name}"
    return NONE


def _pod_template(obj: PodTemplate, now: datetime, wide: bool) -> Sequence[str]:
    containers = template(obj.template.spec.containers)
    return obj.metadata.name, *containers, labels(obj.template.metadata.labels)


add(
    PRINTERS,
    "replicationcontrollers",
    ("NAME", "DESIRED", "CURRENT", "READY", "AGE", *TEMPLATE_COLUMNS),
    _replication_controller,
    TEMPLATE_COLUMNS,
)
add(
    PRINTERS,
    "statefulsets.apps",
    ("NAME", "READY", "AGE", "CONTAINERS", "IMAGES"),
    _stateful_set,
    ("CONTAINERS", "IMAGES"),
)
add(
    PRINTERS,
    "daemonsets.apps",
    (
        "NAME",
        "DESIRED",
        "CURRENT",
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "NODE SELECTOR",
        "AGE",
        *TEMPLATE_COLUMNS,
    ),
    _daemon_set,
    TEMPLATE_COLUMNS,
)
add(PRINTERS, "controllerrevisions.apps", ("NAME", "CONTROLLER", "REVISION", "AGE"), _controller_revision)
add(PRINTERS, "podtemplates", ("NAME", "CONTAINERS", "IMAGES", "POD LABELS"), _pod_template)
