"""How far the update of a Deployment is, in kubectl's words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.api.conventions import REVISION
from orchestrator.api.v1 import Deployment


class RolloutFailed(Exception):
    """The update will not come to its end by itself."""


@dataclass(frozen=True, slots=True)
class RolloutProgress:
    message: str
    done: bool


def progress_of(deployment: Deployment, revision: int = 0) -> RolloutProgress:
    """What can be said now. Raises RolloutFailed past the progress deadline, or when another revision is under way."""
    name, spec, seen = deployment.metadata.name, deployment.spec, deployment.status
    if revision and deployment.metadata.annotations.get(REVISION) != str(revision):
        raise RolloutFailed(
            f"desired revision ({revision}) is different from the running revision "
            f"({deployment.metadata.annotations.get(REVISION, 'none')})"
        )
    if seen.observed_generation < deployment.metadata.generation:
        return RolloutProgress("Waiting for deployment spec update to be observed...", False)
    if any(each.type == "Progressing" and each.reason == "ProgressDeadlineExceeded" for each in seen.conditions):
        raise RolloutFailed(f'deployment "{name}" exceeded its progress deadline')
    waiting = f'Waiting for deployment "{name}" rollout to finish:'
    if seen.updated_replicas < spec.replicas:
        return RolloutProgress(
            f"{waiting} {seen.updated_replicas} out of {spec.replicas} new replicas have been updated...", False
        )
    if seen.replicas > seen.updated_replicas:
        old = seen.replicas - seen.updated_replicas
        return RolloutProgress(f"{waiting} {old} old replicas are pending termination...", False)
    if seen.available_replicas < seen.updated_replicas:
        return RolloutProgress(
            f"{waiting} {seen.available_replicas} of {seen.updated_replicas} updated replicas are available...", False
        )
    return RolloutProgress(f'deployment "{name}" successfully rolled out', True)
