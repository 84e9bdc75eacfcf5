"""Subjects of bindings: users and groups are names of the authorization group, service accounts of the core group."""

from __future__ import annotations

from orchestrator.api.defaults.rules import rule
from orchestrator.api.v1 import Subject

GROUP = "rbac.authorization.k8s.io"


@rule(Subject)
def _subject(subject: Subject) -> None:
    if not subject.api_group and subject.kind in {"User", "Group"}:
        subject.api_group = GROUP
