"""Roles and bindings: rules that say something, subjects that exist as names, and a role that stays."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.api import names
from orchestrator.api.errors import invalid, not_supported, required
from orchestrator.api.v1 import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.rules import Faults, named, shown

GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("Group", "ServiceAccount", "User")


def role(obj: Role) -> Faults:
    yield from _rules(obj.rules, namespaced=True)


def cluster_role(obj: ClusterRole) -> Faults:
    yield from _rules(obj.rules, namespaced=False)
    if not obj.HasField("aggregation_rule"):
        return
    path = "aggregationRule.clusterRoleSelectors"
    if not obj.aggregation_rule.cluster_role_selectors:
        yield required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for index, selector in enumerate(obj.aggregation_rule.cluster_role_selectors):
        yield from label_selector(selector, f"{path}[{index}]")


def role_binding(obj: RoleBinding) -> Faults:
    yield from _role_ref(obj.role_ref, ("ClusterRole", "Role"))
    yield from _subjects(obj.subjects, namespaced=True)


def cluster_role_binding(obj: ClusterRoleBinding) -> Faults:
    yield from _role_ref(obj.role_ref, ("ClusterRole",))
    yield from _subjects(obj.subjects, namespaced=False)


def binding_update(new: RoleBinding | ClusterRoleBinding, old: RoleBinding | ClusterRoleBinding) -> Faults:
    """Who may bind one role may not bind another: subjects change, the role does not."""
    if new.role_ref != old.role_ref:
        yield invalid("roleRef", shown(new.role_ref), "cannot change roleRef")


def _rules(rules: Sequence[PolicyRule], *, namespaced: bool) -> Faults:
    for index, rule in enumerate(rules):
        yield from _rule(rule, f"rules[{index}]", namespaced=namespaced)


def _rule(rule: PolicyRule, path: str, *, namespaced: bool) -> Faults:
    if not rule.verbs:
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.non_resource_urls:
        here, paths = f"{path}.nonResourceURLs", list(rule.non_resource_urls)
        if namespaced:
            yield invalid(here, paths, "namespaced rules cannot apply to non-resource URLs")
        if rule.api_groups or rule.resources or rule.resource_names:
            yield invalid(here, paths, "rules cannot apply to both regular resources and non-resource URLs")
        return
    if not rule.api_groups:
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.resources:
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _role_ref(reference: RoleRef, kinds: Sequence[str]) -> Faults:
    if reference.api_group != GROUP:
        yield not_supported("roleRef.apiGroup", reference.api_group, [GROUP])
    if reference.kind not in kinds:
        yield not_supported("roleRef.kind", reference.kind, kinds)
    if reference.name:
        yield from named(names.path_segment, "roleRef.name", reference.name)
    else:
        yield required("roleRef.name")


def _subjects(subjects: Sequence[Subject], *, namespaced: bool) -> Faults:
    for index, subject in enumerate(subjects):
        yield from _subject(subject, f"subjects[{index}]", namespaced=namespaced)


def _subject(subject: Subject, path: str, *, namespaced: bool) -> Faults:
    if not subject.name:
        yield required(f"{path}.name")
    match subject.kind:
        case "ServiceAccount":
            if subject.name:
                yield from named(names.subdomain, f"{path}.name", subject.name)
            if subject.api_group:
                yield not_supported(f"{path}.apiGroup", subject.api_group, [""])
            if not namespaced and not subject.namespace:
                yield required(f"{path}.namespace")
        case "User" | "Group":
            if subject.api_group != GROUP:
                yield not_supported(f"{path}.apiGroup", subject.api_group, [GROUP])
        case _:
            yield not_supported(f"{path}.kind", subject.kind, _SUBJECTS)
