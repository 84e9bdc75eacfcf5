"""Security contexts of pods and containers, as the runtime wants them. Pure.

A container's setting wins over the pod's. A setting nobody made is the runtime's default, as in Kubernetes: no seccomp
filter, the default capabilities, the image's user.
"""

from __future__ import annotations

from pathlib import Path

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.errors import ConfigError
from orchestrator.api.v1 import AppArmorProfile, Container, Pod, SeccompProfile, SELinuxOptions

# What a container doesn't see, and what it can't write, of the kernel's own files. The runtime hides nothing by itself.
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def namespaces(pod: Pod) -> cri.NamespaceOption:
    """Whose network, processes and IPC the pod's containers share."""
    spec = pod.spec
    processes = cri.CONTAINER
    if spec.host_pid:
        processes = cri.NODE
    elif spec.share_process_namespace:
        processes = cri.POD
    return cri.NamespaceOption(
        network=cri.NODE if spec.host_network else cri.POD,
        pid=processes,
        ipc=cri.NODE if spec.host_ipc else cri.POD,
    )


def sandbox_security(pod: Pod, seccomp_directory: Path) -> cri.LinuxSandboxSecurityContext:
    """Of the sandbox's own process: the pod's settings. A privileged container needs a privileged sandbox."""
    wanted = pod.spec.security_context
    found = cri.LinuxSandboxSecurityContext(
        namespace_options=namespaces(pod),
        supplemental_groups=supplemental_groups(pod),
        supplemental_groups_policy=_groups_policy(pod),
        privileged=any(
            container.security_context.privileged for container in (*pod.spec.init_containers, *pod.spec.containers)
        ),
    )
    if wanted.HasField("run_as_user"):
        found.run_as_user.value = wanted.run_as_user
        if wanted.HasField("run_as_group"):
            found.run_as_group.value = wanted.run_as_group
    if wanted.HasField("seccomp_profile"):
        found.seccomp.CopyFrom(_seccomp(wanted.seccomp_profile, seccomp_directory))
    if wanted.HasField("se_linux_options"):
        found.selinux_options.CopyFrom(_selinux(wanted.se_linux_options))
    return found


def container_security(
    pod: Pod, container: Container, image: cri.Image, seccomp_directory: Path
) -> cri.LinuxContainerSecurityContext:
    """Of one container. Raises ConfigError when it must not run as root and would."""
    own, shared = container.security_context, pod.spec.security_context
    found = cri.LinuxContainerSecurityContext(
        capabilities=cri.Capability(add_capabilities=own.capabilities.add, drop_capabilities=own.capabilities.drop),
        privileged=own.privileged,
        namespace_options=namespaces(pod),
        readonly_rootfs=own.read_only_root_filesystem,
        supplemental_groups=supplemental_groups(pod),
        supplemental_groups_policy=_groups_policy(pod),
        no_new_privs=own.HasField("allow_privilege_escalation") and not own.allow_privilege_escalation,
    )
    if own.proc_mount != "Unmasked" and not own.privileged:
        found.masked_paths.extend(MASKED_PATHS)
        found.readonly_paths.extend(READONLY_PATHS)
    _set_user(found, pod, container, image)
    if own.HasField("seccomp_profile"):
        found.seccomp.CopyFrom(_seccomp(own.seccomp_profile, seccomp_directory))
    elif shared.HasField("seccomp_profile"):
        found.seccomp.CopyFrom(_seccomp(shared.seccomp_profile, seccomp_directory))
    if own.HasField("app_armor_profile"):
        found.apparmor.CopyFrom(_apparmor(own.app_armor_profile))
    elif shared.HasField("app_armor_profile"):
        found.apparmor.CopyFrom(_apparmor(shared.app_armor_profile))
    if own.HasField("se_linux_options"):
        found.selinux_options.CopyFrom(_selinux(own.se_linux_options))
    elif shared.HasField("se_linux_options"):
        found.selinux_options.CopyFrom(_selinux(shared.se_linux_options))
    return found


def supplemental_groups(pod: Pod) -> list[int]:
    wanted = pod.spec.security_context
    groups = list(wanted.supplemental_groups)
    if wanted.HasField("fs_group") and wanted.fs_group not in groups:
        groups.append(wanted.fs_group)
    return groups


def _groups_policy(pod: Pod) -> cri.SupplementalGroupsPolicy.ValueType:
    return cri.Strict if pod.spec.security_context.supplemental_groups_policy == "Strict" else cri.Merge


def _set_user(found: cri.LinuxContainerSecurityContext, pod: Pod, container: Container, image: cri.Image) -> None:
    own, shared = container.security_context, pod.spec.security_context
    user = group = None
    # The container's own setting comes last and wins.
    for context in (shared, own):
        if context.HasField("run_as_user"):
            user = context.run_as_user
        if context.HasField("run_as_group"):
            group = context.run_as_group
    deciding = own if own.HasField("run_as_non_root") else shared
    if deciding.run_as_non_root:
        _refuse_root(container, user, image)
    if user is not None:
        found.run_as_user.value = user
    elif group is not None:
        # The runtime takes a group only together with a user: name the image's.
        if image.username:
            found.run_as_username = image.username
        else:
            found.run_as_user.value = image.uid.value
    if group is not None:
        found.run_as_group.value = group


def _refuse_root(container: Container, user: int | None, image: cri.Image) -> None:
    if user is not None:
        if user == 0:
            raise ConfigError(
                f"container's runAsUser breaks non-root policy (container: {container.name}, runAsUser: 0)"
            )
        return
    if image.username:
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root (container: {container.name})"
        )
    if image.uid.value == 0:
        raise ConfigError(f"container has runAsNonRoot and image will run as root (container: {container.name})")


def _seccomp(profile: SeccompProfile, directory: Path) -> cri.SecurityProfile:
    match profile.type:
        case "RuntimeDefault":
            return cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault)
        case "Localhost":
            file = directory / profile.localhost_profile
            return cri.SecurityProfile(profile_type=cri.SecurityProfile.Localhost, localhost_ref=str(file))
        case _:
            return cri.SecurityProfile(profile_type=cri.SecurityProfile.Unconfined)


def _apparmor(profile: AppArmorProfile) -> cri.SecurityProfile:
    match profile.type:
        case "RuntimeDefault":
            return cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault)
        case "Localhost":
            return cri.SecurityProfile(
                profile_type=cri.SecurityProfile.Localhost, localhost_ref=profile.localhost_profile
            )
        case _:
            return cri.SecurityProfile(profile_type=cri.SecurityProfile.Unconfined)


def _selinux(options: SELinuxOptions) -> cri.SELinuxOption:
    return cri.SELinuxOption(user=options.user, role=options.role, type=options.type, level=options.level)
