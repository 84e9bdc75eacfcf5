"""The rules of starting again: who is, when, and as the how-manieth. Pure.

A container that keeps ending early is started after delays that double from 10 s to 5 min; ten minutes of running make
up for the past. The count is an annotation of the container itself, so the delays survive the agent.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from agents.node.runtime_state import ContainerRecord, PodRuntime
from orchestrator.api.v1 import Container, Pod

FIRST_DELAY = 10.0
LONGEST_DELAY = 300.0
WELL_SECONDS = 600.0


def is_sidecar(container: Container) -> bool:
    """An init container that goes on running beside the others."""
    return container.restart_policy == "Always"


def is_init(pod: Pod, name: str) -> bool:
    return any(container.name == name for container in pod.spec.init_containers)


def should_restart(pod: Pod, container: Container, exit_code: int) -> bool:
    """Whether a container that has ended is started again."""
    policy = pod.spec.restart_policy or "Always"
    if is_init(pod, container.name):
        # A finished init container is done, whatever the policy.
        return is_sidecar(container) or (exit_code != 0 and policy != "Never")
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def crashes_before_next(record: ContainerRecord) -> int:
    """What the container started after this one is to remember."""
    return _crashes(record) + 1


def restart_delay(record: ContainerRecord) -> float:
    """Seconds from its end until the next one may start. The first early end is forgiven."""
    crashes = _crashes(record)
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(crashes - 1, 32)) if crashes else 0.0


def restart_at(record: ContainerRecord) -> datetime:
    return (record.finished_at or record.created_at) + timedelta(seconds=restart_delay(record))


def next_attempt(pod: Pod, runtime: PodRuntime, name: str) -> int:
    """The number of the next container of that name. When the runtime has lost all of them, the API remembers."""
    latest = runtime.latest(name)
    if latest is not None:
        return latest.attempt + 1
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if status.name == name and status.container_id:
            return status.restart_count + 1
    return 0


def _crashes(record: ContainerRecord) -> int:
    if record.started_at is None or record.finished_at is None:
        return record.crashes
    return 0 if (record.finished_at - record.started_at).total_seconds() >= WELL_SECONDS else record.crashes
