"""Security settings of pods and containers: numbers of users and groups, capabilities, confinement."""

from __future__ import annotations

import re

from orchestrator.api.errors import duplicate, forbidden, invalid, not_supported, required
from orchestrator.api.v1 import AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext
from orchestrator.api.validation.rules import LARGEST_ID, Faults, one_of, relative_path, repeats, shown, within

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL = re.compile(r"[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?(?:[./][a-z0-9](?:[-_a-z0-9]*[a-z0-9])?)*")
_SYSCTL_LENGTH = 253


def pod_security(spec: PodSpec, path: str) -> Faults:
    here = f"{path}.securityContext"
    if spec.host_pid and spec.share_process_namespace:
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{path}.shareProcessNamespace", spec.share_process_namespace, why)
    if spec.HasField("security_context"):
        yield from _pod_settings(spec.security_context, here)


def container_security(context: SecurityContext, path: str) -> Faults:
    yield from _identities(context, path)
    if context.HasField("proc_mount") and context.proc_mount not in {"Default", "Unmasked"}:
        yield not_supported(f"{path}.procMount", context.proc_mount, ["Default", "Unmasked"])
    if context.HasField("seccomp_profile"):
        yield from _profile(context.seccomp_profile, f"{path}.seccompProfile")
    if context.HasField("app_armor_profile"):
        yield from _profile(context.app_armor_profile, f"{path}.appArmorProfile")
    if context.HasField("allow_privilege_escalation") and not context.allow_privilege_escalation:
        if context.privileged:
            why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield invalid(path, shown(context), why)
        if any(name in {"CAP_SYS_ADMIN", "SYS_ADMIN"} for name in context.capabilities.add):
            why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield invalid(path, shown(context), why)


def _pod_settings(context: PodSecurityContext, path: str) -> Faults:
    yield from _identities(context, path)
    if context.HasField("fs_group"):
        yield from within(f"{path}.fsGroup", context.fs_group, 0, LARGEST_ID)
    for index, group in enumerate(context.supplemental_groups):
        yield from within(f"{path}.supplementalGroups[{index}]", group, 0, LARGEST_ID)
    if context.HasField("supplemental_groups_policy"):
        yield from one_of(f"{path}.supplementalGroupsPolicy", context.supplemental_groups_policy, ["Merge", "Strict"])
    if context.HasField("fs_group_change_policy"):
        choices = ["OnRootMismatch", "Always"]
        yield from one_of(f"{path}.fsGroupChangePolicy", context.fs_group_change_policy, choices)
    if context.HasField("seccomp_profile"):
        yield from _profile(context.seccomp_profile, f"{path}.seccompProfile")
    if context.HasField("app_armor_profile"):
        yield from _profile(context.app_armor_profile, f"{path}.appArmorProfile")
    for index, sysctl in enumerate(context.sysctls):
        here = f"{path}.sysctls[{index}].name"
        if not sysctl.name:
            yield required(here)
        elif len(sysctl.name) > _SYSCTL_LENGTH or not _SYSCTL.fullmatch(sysctl.name):
            why = f"must have at most {_SYSCTL_LENGTH} characters and match regex {_SYSCTL.pattern}"
            yield invalid(here, sysctl.name, why)
    for index in repeats(sysctl.name for sysctl in context.sysctls):
        yield duplicate(f"{path}.sysctls[{index}].name", context.sysctls[index].name)


def _identities(context: PodSecurityContext | SecurityContext, path: str) -> Faults:
    if context.HasField("run_as_user"):
        yield from within(f"{path}.runAsUser", context.run_as_user, 0, LARGEST_ID)
    if context.HasField("run_as_group"):
        yield from within(f"{path}.runAsGroup", context.run_as_group, 0, LARGEST_ID)


def _profile(profile: SeccompProfile | AppArmorProfile, path: str) -> Faults:
    yield from one_of(f"{path}.type", profile.type, _PROFILES)
    here = f"{path}.localhostProfile"
    if profile.type == "Localhost":
        if not profile.localhost_profile:
            yield required(here, 'must be set when type is "Localhost"')
        elif isinstance(profile, SeccompProfile):
            yield from relative_path(here, profile.localhost_profile)
    elif profile.HasField("localhost_profile"):
        yield forbidden(here, 'can only be set when type is "Localhost"')
