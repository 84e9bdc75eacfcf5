"""Objects as the deciders see them, built in one line."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from orchestrator.api.defaults import set_defaults
from orchestrator.api.kinds import KubeObject, as_message
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import (
    Container,
    ContainerStatus,
    Deployment,
    DeploymentSpec,
    LabelSelector,
    ObjectMeta,
    Pod,
    PodCondition,
    PodSpec,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetSpec,
)
from orchestrator.controllers.ownership import owner_reference

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
LABELS = {"app": "web"}
_serial = itertools.count(1)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def metadata(name: str, labels: Mapping[str, str] | None = None, *, age: float = 0.0) -> ObjectMeta:
    return ObjectMeta(
        name=name,
        namespace="default",
        uid=f"uid-{name}",
        resource_version=str(next(_serial)),
        generation=1,
        labels=labels or {},
        creation_timestamp=to_timestamp(ago(age)),
    )


def template(image: str = "v1", labels: Mapping[str, str] | None = None) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=LABELS if labels is None else labels),
        spec=PodSpec(containers=[Container(name="main", image=image)]),
    )


def pod(
    name: str,
    *,
    owner: KubeObject | None = None,
    labels: Mapping[str, str] = LABELS,
    node: str = "n1",
    phase: str = "Running",
    ready: bool = True,
    ready_for: float = 3600.0,
    age: float = 3600.0,
    restarts: int = 0,
    cost: str = "",
    leaving: bool = False,
    ip: str = "",
) -> Pod:
    made = Pod(metadata=metadata(name, labels, age=age), spec=template().spec)
    made.spec.node_name = node
    made.status.phase = phase
    made.status.pod_ip = ip
    since = to_timestamp(ago(ready_for))
    made.status.conditions.append(PodCondition(type="Ready", status=str(ready), last_transition_time=since))
    made.status.container_statuses.append(ContainerStatus(name="main", restart_count=restarts))
    if cost:
        made.metadata.annotations["controller.kubernetes.io/pod-deletion-cost"] = cost
    if leaving:
        made.metadata.deletion_timestamp.FromDatetime(NOW)
    if owner is not None:
        made.metadata.owner_references.append(owner_reference(owner))
    return made


def replica_set(
    name: str = "web",
    *,
    owner: KubeObject | None = None,
    replicas: int = 3,
    available: int | None = None,
    pods: int | None = None,
    image: str = "v1",
    labels: Mapping[str, str] = LABELS,
    annotations: Mapping[str, str] | None = None,
    age: float = 0.0,
    min_ready_seconds: int = 0,
    leaving: bool = False,
) -> ReplicaSet:
    """Its status says that `pods` exist (by default all wanted) and `available` of them are available (all)."""
    made = ReplicaSet(
        metadata=metadata(name, labels, age=age),
        spec=ReplicaSetSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels=labels),
            template=template(image, labels),
            min_ready_seconds=min_ready_seconds,
        ),
    )
    made.metadata.annotations.update(annotations or {})
    made.status.observed_generation = 1
    made.status.replicas = replicas if pods is None else pods
    made.status.available_replicas = made.status.replicas if available is None else available
    made.status.ready_replicas = made.status.available_replicas
    if leaving:
        made.metadata.deletion_timestamp.FromDatetime(NOW)
    if owner is not None:
        made.metadata.owner_references.append(owner_reference(owner))
    return made


def deployment(
    name: str = "web",
    *,
    replicas: int = 3,
    image: str = "v1",
    surge: int | str = "25%",
    unavailable: int | str = "25%",
    strategy: str = "RollingUpdate",
    paused: bool = False,
    min_ready_seconds: int = 0,
    progress_deadline_seconds: int = 600,
    revision_history_limit: int = 10,
) -> Deployment:
    made = Deployment(
        metadata=metadata(name, LABELS),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels=LABELS),
            template=template(image),
            paused=paused,
            min_ready_seconds=min_ready_seconds,
            progress_deadline_seconds=progress_deadline_seconds,
            revision_history_limit=revision_history_limit,
        ),
    )
    made.spec.strategy.type = strategy
    if strategy == "RollingUpdate":
        rolling = made.spec.strategy.rolling_update
        for value, wanted in ((rolling.max_surge, surge), (rolling.max_unavailable, unavailable)):
            if isinstance(wanted, str):
                value.string_value = wanted
            else:
                value.number_value = wanted
    set_defaults(as_message(made))
    return made
