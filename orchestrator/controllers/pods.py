"""What controllers ask of a pod: does it count, is it ready, since when. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Pod, PodCondition

FINISHED = ("Succeeded", "Failed")


def is_active(pod: Pod) -> bool:
    """Whether a pod counts towards the wanted number: it runs or will run, and nobody has asked for its end."""
    return pod.status.phase not in FINISHED and not pod.metadata.HasField("deletion_timestamp")


def condition(pod: Pod, kind: str) -> PodCondition | None:
    for each in pod.status.conditions:
        if each.type == kind:
            return each
    return None


def is_ready(pod: Pod) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready.status == "True"


def ready_since(pod: Pod) -> datetime | None:
    ready = condition(pod, "Ready")
    return to_datetime(ready.last_transition_time) if ready is not None and ready.status == "True" else None


def available_at(pod: Pod, min_ready_seconds: int) -> datetime | None:
    """When a ready pod has been ready for long enough; None while it is not ready."""
    since = ready_since(pod)
    return since + timedelta(seconds=min_ready_seconds) if since is not None else None


def is_available(pod: Pod, min_ready_seconds: int, now: datetime) -> bool:
    if not min_ready_seconds:
        return is_ready(pod)
    moment = available_at(pod, min_ready_seconds)
    return moment is not None and moment <= now


def node_of(pod: Pod) -> Sequence[str]:
    """The index function that files pods under the node they are bound to."""
    return [pod.spec.node_name] if pod.spec.node_name else []
