"""Tables of roles, bindings and requests for certificates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from orchestrator.api.ages import human_duration, is_set
from orchestrator.api.printing import NONE, Printers, add, age_of
from orchestrator.api.timestamps import format_timestamp
from orchestrator.api.v1 import (
    CertificateSigningRequest,
    ClusterRole,
    ClusterRoleBinding,
    Role,
    RoleBinding,
    Subject,
)

PRINTERS: Printers = {}
_SUBJECTS = ("USERS", "GROUPS", "SERVICEACCOUNTS")


def _role(obj: Role | ClusterRole, now: datetime, wide: bool) -> Sequence[str]:
    made = obj.metadata.creation_timestamp
    return obj.metadata.name, format_timestamp(made.seconds, 0) if is_set(made) else "<unknown>"


def _binding(obj: RoleBinding | ClusterRoleBinding, now: datetime, wide: bool) -> Sequence[str]:
    role = f"{obj.role_ref.kind}/{obj.role_ref.name}"
    return obj.metadata.name, role, age_of(obj, now), *_subjects(obj.subjects)


def _subjects(subjects: Iterable[Subject]) -> tuple[str, str, str]:
    users, groups, accounts = [], [], []
    for subject in subjects:
        match subject.kind:
            case "User":
                users.append(subject.name)
            case "Group":
                groups.append(subject.name)
            case "ServiceAccount":
                accounts.append(f"{subject.namespace}/{subject.name}")
    return ", ".join(users), ", ".join(groups), ", ".join(accounts)


def _signing_request(obj: CertificateSigningRequest, now: datetime, wide: bool) -> Sequence[str]:
    spec = obj.spec
    asked = spec.HasField("expiration_seconds")
    return (
        obj.metadata.name,
        age_of(obj, now),
        spec.signer_name or NONE,
        spec.username,
        human_duration(timedelta(seconds=spec.expiration_seconds)) if asked else NONE,
        _condition(obj),
    )


def _condition(obj: CertificateSigningRequest) -> str:
    types = {condition.type for condition in obj.status.conditions}
    words = ["Denied"] if "Denied" in types else ["Approved"] if "Approved" in types else ["Pending"]
    if "Failed" in types:
        words.append("Failed")
    if obj.status.certificate:
        words.append("Issued")
    return ",".join(words)


_BINDING = ("NAME", "ROLE", "AGE", *_SUBJECTS)
add(PRINTERS, "roles.rbac.authorization.k8s.io", ("NAME", "CREATED AT"), _role)
add(PRINTERS, "clusterroles.rbac.authorization.k8s.io", ("NAME", "CREATED AT"), _role)
add(PRINTERS, "rolebindings.rbac.authorization.k8s.io", _BINDING, _binding, _SUBJECTS)
add(PRINTERS, "clusterrolebindings.rbac.authorization.k8s.io", _BINDING, _binding, _SUBJECTS)
add(
    PRINTERS,
    "certificatesigningrequests.certificates.k8s.io",
    ("NAME", "AGE", "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "CONDITION"),
    _signing_request,
)
