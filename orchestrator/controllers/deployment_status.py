"""What a Deployment tells of itself: counts, and the conditions Available and Progressing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.api.timestamps import to_datetime, to_timestamp
from orchestrator.api.v1 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from orchestrator.controllers.rollout import available, bounds_of, total

DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
COMPLETE = "NewReplicaSetAvailable"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"
# The largest progressDeadlineSeconds stands for none: such a Deployment tells nothing of its progress.
NO_DEADLINE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Told:
    """The status to write, and when time alone will change it."""

    status: DeploymentStatus
    look_again_after: float | None = None


def status_of(
    deployment: Deployment,
    new: ReplicaSet | None,
    old: Sequence[ReplicaSet],
    now: datetime,
    *,
    made: ReplicaSet | None = None,
    collisions: int = 0,
) -> Told:
    """The status that fits what is seen of the ReplicaSets, `made` being one that is created right now."""
    everyone = [*old, new] if new is not None else list(old)
    before = deployment.status
    status = DeploymentStatus()
    status.CopyFrom(before)
    status.observed_generation = deployment.metadata.generation
    status.replicas = sum(each.status.replicas for each in everyone)
    status.updated_replicas = new.status.replicas if new is not None else 0
    status.ready_replicas = sum(each.status.ready_replicas for each in everyone)
    status.available_replicas = available(everyone)
    status.unavailable_replicas = max(0, total(everyone) - status.available_replicas)
    status.terminating_replicas = sum(each.status.terminating_replicas for each in everyone)
    if collisions:
        status.collision_count += collisions
    _tell_available(status, deployment, now)
    if deployment.spec.progress_deadline_seconds == NO_DEADLINE:
        kept = [each for each in status.conditions if each.type != "Progressing"]
        del status.conditions[:]
        status.conditions.extend(kept)
        return Told(status)
    return Told(status, _tell_progress(status, deployment, new, made, now))


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether all wanted pods are of the new template, available, and no others are left."""
    replicas = deployment.spec.replicas
    return (
        status.updated_replicas == replicas
        and status.replicas == replicas
        and status.available_replicas == replicas
        and status.observed_generation >= deployment.metadata.generation
    )


def _tell_available(status: DeploymentStatus, deployment: Deployment, now: datetime) -> None:
    if status.available_replicas >= bounds_of(deployment).fewest_available:
        message = "Deployment has minimum availability."
        _set(status, "Available", "True", "MinimumReplicasAvailable", message, now)
    else:
        message = "Deployment does not have minimum availability."
        _set(status, "Available", "False", "MinimumReplicasUnavailable", message, now)


def _tell_progress(
    status: DeploymentStatus, deployment: Deployment, new: ReplicaSet | None, made: ReplicaSet | None, now: datetime
) -> float | None:
    """Updates the condition Progressing; returns the seconds until its deadline passes."""
    known = _condition(status, "Progressing")
    if deployment.spec.paused:
        if known is None or known.reason not in (PAUSED, DEADLINE_EXCEEDED):
            _set(status, "Progressing", "Unknown", PAUSED, "Deployment is paused", now)
        return None
    if known is not None and known.reason == PAUSED:
        _set(status, "Progressing", "Unknown", RESUMED, "Deployment is resumed", now)
        known = _condition(status, "Progressing")
    # One that is made in vain again and again does not put the deadline off.
    begun = deployment.status.observed_generation >= deployment.metadata.generation
    if made is not None and not (begun and known is not None and known.reason not in (COMPLETE, RESUMED)):
        message = f'Created new replica set "{made.metadata.name}"'
        _set(status, "Progressing", "True", "NewReplicaSetCreated", message, now, renew=True)
        return float(deployment.spec.progress_deadline_seconds)
    name = f'ReplicaSet "{new.metadata.name}"' if new is not None else f'Deployment "{deployment.metadata.name}"'
    before = deployment.status
    if is_complete(deployment, status):
        if known is None or known.reason != COMPLETE or known.message != f"{name} has successfully progressed.":
            _set(status, "Progressing", "True", COMPLETE, f"{name} has successfully progressed.", now)
        return None
    if known is not None and known.reason == COMPLETE and status.updated_replicas == status.replicas:
        # Complete once and only losing or regaining pods since: that is no new update.
        return None
    progressed = (
        status.updated_replicas > before.updated_replicas
        or status.ready_replicas > before.ready_replicas
        or status.available_replicas > before.available_replicas
        or status.replicas - status.updated_replicas < before.replicas - before.updated_replicas
    )
    if known is None or progressed or known.reason == COMPLETE:
        _set(status, "Progressing", "True", "ReplicaSetUpdated", f"{name} is progressing.", now, renew=True)
        known = _condition(status, "Progressing")
    assert known is not None
    if known.reason == DEADLINE_EXCEEDED:
        return None
    deadline = to_datetime(known.last_update_time) + timedelta(seconds=deployment.spec.progress_deadline_seconds)
    if now < deadline:
        return (deadline - now).total_seconds()
    _set(status, "Progressing", "False", DEADLINE_EXCEEDED, f"{name} has timed out progressing.", now)
    return None


def _condition(status: DeploymentStatus, kind: str) -> DeploymentCondition | None:
    return next((each for each in status.conditions if each.type == kind), None)


def _set(
    status: DeploymentStatus, kind: str, value: str, reason: str, message: str, now: datetime, *, renew: bool = False
) -> None:
    """Sets a condition. Its times change with its reason or value, or when progress renews it."""
    known = _condition(status, kind)
    if known is None:
        known = status.conditions.add(type=kind)
    if known.status != value:
        known.last_transition_time.CopyFrom(to_timestamp(now.replace(microsecond=0)))
    if renew or known.status != value or known.reason != reason or known.message != message:
        known.last_update_time.CopyFrom(to_timestamp(now.replace(microsecond=0)))
    known.status, known.reason, known.message = value, reason, message
