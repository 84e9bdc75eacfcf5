"""Leases: a holder that has a name, and times that are positive."""

from __future__ import annotations

from orchestrator.api.errors import required
from orchestrator.api.v1 import Lease
from orchestrator.api.validation.rules import Faults, not_negative, positive


def lease(obj: Lease) -> Faults:
    spec = obj.spec
    if spec.HasField("holder_identity") and not spec.holder_identity:
        yield required("spec.holderIdentity", "must not be empty")
    if spec.HasField("lease_duration_seconds"):
        yield from positive("spec.leaseDurationSeconds", spec.lease_duration_seconds)
    if spec.HasField("lease_transitions"):
        yield from not_negative("spec.leaseTransitions", spec.lease_transitions)
