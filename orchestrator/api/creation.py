"""What creating an object adds to it beyond defaults: what follows from who it is and who asked.

A job's selector and its pods' labels come from its uid, which no client knows; a request for a certificate names who
asked for it. Runs once, on create, after defaults and before validation.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.api.kinds import KubeObject
from orchestrator.api.v1 import CertificateSigningRequest, Job
from orchestrator.api.validation.rules import without

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
# The same without a domain, which older clients look for.
_OLD_CONTROLLER_UID = "controller-uid"
_OLD_JOB_NAME = "job-name"


def complete_new(obj: KubeObject, *, user: str, groups: Sequence[str]) -> None:
    """Add to a new object, which has its uid and name already, in place."""
    match obj:
        case Job():
            _select_own_pods(obj)
        case CertificateSigningRequest():
            obj.spec.CopyFrom(without(obj.spec, ("username", "uid", "groups", "extra")))
            obj.spec.username = user
            obj.spec.groups.extend(groups)


def _select_own_pods(job: Job) -> None:
    spec = job.spec
    if spec.manual_selector:
        return
    name, uid = job.metadata.name, job.metadata.uid
    labels = spec.template.metadata.labels
    for key, value in ((_OLD_CONTROLLER_UID, uid), (CONTROLLER_UID, uid), (_OLD_JOB_NAME, name), (JOB_NAME, name)):
        if key not in labels:
            labels[key] = value
    # One that was given stays, for validation to refuse it unless it is this one.
    if CONTROLLER_UID not in spec.selector.match_labels and _OLD_CONTROLLER_UID not in spec.selector.match_labels:
        spec.selector.match_labels[CONTROLLER_UID] = uid
