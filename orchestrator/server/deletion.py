"""What a Delete does to an object: remove it, mark it and wait, or nothing more.

An object stays, marked with a deletionTimestamp, while finalizers hold it or a pod's grace period runs; whoever clears
the last of these removes it. A pod that was never bound or has finished has nothing to wait for. A namespace waits for
its own `spec.finalizers` too: the namespace controller clears them once it is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject
from orchestrator.api.v1 import DeleteRequest, Namespace, ObjectMeta, Pod
from orchestrator.server.outcome import REMOVED, Outcome, Written

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
DEFAULT_GRACE_SECONDS = 30
LONGEST_GRACE_SECONDS = 2**31 - 1  # a deletionTimestamp must be a date

_FINALIZER_OF_POLICY = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": "", "": ""}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete: the grace period in seconds (None: the pod's own), the propagation policy, the preconditions."""

    grace_period_seconds: int | None = None
    propagation_policy: str = ""
    uid: str = ""
    resource_version: str = ""


def options_from(request: DeleteRequest) -> DeleteOptions:
    """The options of a request. Raises BadRequest for values that make no sense."""
    if request.propagation_policy not in _FINALIZER_OF_POLICY:
        raise errors.BadRequest(
            f'invalid propagationPolicy "{request.propagation_policy}": must be Foreground, Background or Orphan'
        )
    grace = request.grace_period_seconds if request.HasField("grace_period_seconds") else None
    if grace is not None and grace < 0:
        raise errors.BadRequest(f"invalid gracePeriodSeconds {grace}: must be greater than or equal to 0")
    return DeleteOptions(grace, request.propagation_policy, request.uid, request.resource_version)


def decide_deletion(obj: KubeObject, options: DeleteOptions, now: datetime) -> Outcome:
    """What becomes of `obj`, which is changed in place when it stays marked. Raises Conflict, Forbidden."""
    _check_preconditions(obj.metadata, options)
    if isinstance(obj, Namespace) and obj.metadata.name in PROTECTED_NAMESPACES:
        raise errors.Forbidden.of("namespaces", obj.metadata.name, "this namespace may not be deleted")
    held = _apply_policy(obj.metadata, options.propagation_policy) or _has_namespace_finalizers(obj)
    period = grace_period(obj, options)
    if not period and not held:
        return REMOVED
    _mark(obj.metadata, period, now)
    if isinstance(obj, Namespace):
        obj.status.phase = "Terminating"
    return Written(obj)


def is_released(obj: KubeObject) -> bool:
    """True when nothing holds a marked object any more: an update that leaves it so removes it."""
    meta = obj.metadata
    return (
        meta.HasField("deletion_timestamp")
        and not meta.finalizers
        and not meta.deletion_grace_period_seconds
        and not _has_namespace_finalizers(obj)
    )


def grace_period(obj: KubeObject, options: DeleteOptions) -> int:
    """The seconds `obj` gets before it is removed; only a pod that may be running gets any."""
    if not isinstance(obj, Pod) or not obj.spec.node_name or obj.status.phase in {"Succeeded", "Failed"}:
        return 0
    if options.grace_period_seconds is not None:
        return min(options.grace_period_seconds, LONGEST_GRACE_SECONDS)
    meta = obj.metadata
    if meta.HasField("deletion_timestamp"):
        return meta.deletion_grace_period_seconds
    if not obj.spec.HasField("termination_grace_period_seconds"):
        return DEFAULT_GRACE_SECONDS
    wanted = obj.spec.termination_grace_period_seconds
    return min(max(1, wanted), LONGEST_GRACE_SECONDS) if wanted else 0


def _check_preconditions(meta: ObjectMeta, options: DeleteOptions) -> None:
    if options.uid and options.uid != meta.uid:
        raise errors.Conflict(
            f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {meta.uid}"
        )
    if options.resource_version and options.resource_version != meta.resource_version:
        raise errors.Conflict(
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {meta.resource_version}"
        )


def _apply_policy(meta: ObjectMeta, policy: str) -> bool:
    """Set the finalizers the policy asks for; True when any finalizer holds the object now."""
    if policy:
        wanted = _FINALIZER_OF_POLICY[policy]
        kept = [each for each in meta.finalizers if each not in {FOREGROUND, ORPHAN}]
        if wanted:
            kept.append(wanted)
        if kept != list(meta.finalizers):
            del meta.finalizers[:]
            meta.finalizers.extend(kept)
    return bool(meta.finalizers)


def _has_namespace_finalizers(obj: KubeObject) -> bool:
    return isinstance(obj, Namespace) and bool(obj.spec.finalizers)


def _mark(meta: ObjectMeta, period: int, now: datetime) -> None:
    """Set the deletion's time and grace period. A period already running is only ever made shorter."""
    if meta.HasField("deletion_timestamp"):
        shorter = meta.deletion_grace_period_seconds - period
        if shorter > 0:
            due = meta.deletion_timestamp.ToDatetime(now.tzinfo) - timedelta(seconds=shorter)
            meta.deletion_timestamp.FromDatetime(due)
            meta.deletion_grace_period_seconds = period
    else:
        meta.deletion_timestamp.FromDatetime(now.replace(microsecond=0) + timedelta(seconds=period))
        meta.deletion_grace_period_seconds = period
        if meta.generation:
            meta.generation += 1
