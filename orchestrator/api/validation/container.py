"""Containers of a pod: names, images, ports, mounts, and what the other files check of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.api import names
from orchestrator.api.errors import duplicate, forbidden, invalid, not_found, not_supported, required
from orchestrator.api.v1 import Container, ContainerPort, EphemeralContainer, PodSpec, Volume, VolumeMount
from orchestrator.api.validation.environment import variable, variables_from
from orchestrator.api.validation.probe import lifecycle, probes
from orchestrator.api.validation.resources import requirements
from orchestrator.api.validation.rules import (
    PROTOCOLS,
    Faults,
    name_required,
    named,
    one_of,
    port,
    relative_path,
    repeats,
)
from orchestrator.api.validation.security import container_security

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_NOT_FOR_EPHEMERAL = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "restartPolicy")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container's validity depends on outside itself."""

    volumes: Mapping[str, Volume]
    host_network: bool
    grace_period: int


def containers(spec: PodSpec, path: str) -> Faults:
    around = Surroundings(
        volumes={volume.name: volume for volume in spec.volumes},
        host_network=spec.host_network,
        grace_period=spec.termination_grace_period_seconds,
    )
    if not spec.containers:
        yield required(f"{path}.containers")
    for index, container in enumerate(spec.containers):
        here = f"{path}.containers[{index}]"
        yield from _container(container, here, around)
        if container.HasField("restart_policy") and container.restart_policy not in _RESTARTS:
            yield not_supported(f"{here}.restartPolicy", container.restart_policy, _RESTARTS)
        if container.HasField("lifecycle"):
            yield from lifecycle(container.lifecycle, f"{here}.lifecycle", around.grace_period)
        yield from probes(container, here)
    for index, container in enumerate(spec.init_containers):
        here = f"{path}.initContainers[{index}]"
        yield from _container(container, here, around)
        yield from _init_container(container, here, around)
    for index, ephemeral in enumerate(spec.ephemeral_containers):
        yield from _ephemeral(ephemeral, f"{path}.ephemeralContainers[{index}]", around)
    yield from _unique_names(spec, path)
    yield from _host_port_conflicts(spec.containers, f"{path}.containers")


_RESTARTS = ("Always", "Never", "OnFailure")


def _unique_names(spec: PodSpec, path: str) -> Faults:
    """Over all containers of the pod, of whichever list."""
    places = [(f"{path}.containers[{index}].name", each.name) for index, each in enumerate(spec.containers)]
    places += [(f"{path}.initContainers[{index}].name", each.name) for index, each in enumerate(spec.init_containers)]
    places += [
        (f"{path}.ephemeralContainers[{index}].name", each.name) for index, each in enumerate(spec.ephemeral_containers)
    ]
    for index in repeats(name for _, name in places):
        if places[index][1]:
            yield duplicate(*places[index])


def _container(container: Container, path: str, around: Surroundings) -> Faults:
    yield from _basics(container, path, around)
    yield from _ports(container.ports, f"{path}.ports", around)
    yield from requirements(container.resources, f"{path}.resources")


def _basics(container: Container | EphemeralContainer, path: str, around: Surroundings) -> Faults:
    yield from name_required(names.label, f"{path}.name", container.name)
    if not container.image:
        yield required(f"{path}.image")
    elif container.image != container.image.strip():
        yield invalid(f"{path}.image", container.image, "must not have leading or trailing whitespace")
    yield from one_of(f"{path}.imagePullPolicy", container.image_pull_policy, PULL_POLICIES)
    yield from one_of(f"{path}.terminationMessagePolicy", container.termination_message_policy, MESSAGE_POLICIES)
    for index, entry in enumerate(container.env):
        yield from variable(entry, f"{path}.env[{index}]")
    for index, source in enumerate(container.env_from):
        yield from variables_from(source, f"{path}.envFrom[{index}]")
    privileged = container.security_context.privileged
    yield from _mounts(container.volume_mounts, f"{path}.volumeMounts", around, privileged=privileged)
    for index, device in enumerate(container.volume_devices):
        if not device.device_path:
            yield required(f"{path}.volumeDevices[{index}].devicePath")
        if device.name not in around.volumes:
            yield not_found(f"{path}.volumeDevices[{index}].name", device.name)
    if container.HasField("security_context"):
        yield from container_security(container.security_context, f"{path}.securityContext")


def _init_container(container: Container, path: str, around: Surroundings) -> Faults:
    sidecar = container.restart_policy == "Always"
    if container.HasField("restart_policy") and not sidecar:
        yield not_supported(f"{path}.restartPolicy", container.restart_policy, ["Always"])
    if sidecar:
        if container.HasField("lifecycle"):
            yield from lifecycle(container.lifecycle, f"{path}.lifecycle", around.grace_period)
        yield from probes(container, path)
        return
    given = {field.json_name for field, _ in container.ListFields()}
    for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if name in given:
            yield forbidden(f"{path}.{name}", "may not be set for init containers without restartPolicy=Always")


def _ephemeral(container: EphemeralContainer, path: str, around: Surroundings) -> Faults:
    yield from _basics(container, path, around)
    given = {field.json_name for field, _ in container.ListFields()}
    for name in _NOT_FOR_EPHEMERAL:
        if name in given:
            yield forbidden(f"{path}.{name}", "cannot be set for an Ephemeral Container")
    if container.resources.limits or container.resources.requests:
        yield forbidden(f"{path}.resources", "cannot be set for an Ephemeral Container")


def _ports(ports: Sequence[ContainerPort], path: str, around: Surroundings) -> Faults:
    for index, entry in enumerate(ports):
        here = f"{path}[{index}]"
        if entry.name:
            yield from named(names.port_name, f"{here}.name", entry.name)
        if not entry.container_port:
            yield required(f"{here}.containerPort")
        else:
            yield from port(f"{here}.containerPort", entry.container_port)
        if entry.host_port:
            yield from port(f"{here}.hostPort", entry.host_port)
        if around.host_network and entry.host_port != entry.container_port:
            why = "must match `hostPort` when `hostNetwork` is true"
            yield invalid(f"{here}.containerPort", entry.container_port, why)
        yield from one_of(f"{here}.protocol", entry.protocol, PROTOCOLS)
        if entry.host_ip:
            yield from named(names.ip_address, f"{here}.hostIP", entry.host_ip)
    for index in repeats(entry.name or index for index, entry in enumerate(ports)):
        yield duplicate(f"{path}[{index}].name", ports[index].name)


def _host_port_conflicts(entries: Iterable[Container], path: str) -> Faults:
    """One port of the node leads to one container port."""
    taken = set()
    for index, container in enumerate(entries):
        for position, entry in enumerate(container.ports):
            if not entry.host_port:
                continue
            place = f"{entry.protocol}/{entry.host_ip}/{entry.host_port}"
            if place in taken:
                yield duplicate(f"{path}[{index}].ports[{position}].hostPort", place)
            taken.add(place)


def _mounts(mounts: Sequence[VolumeMount], path: str, around: Surroundings, *, privileged: bool) -> Faults:
    for index, mount in enumerate(mounts):
        here = f"{path}[{index}]"
        if not mount.name:
            yield required(f"{here}.name")
        elif mount.name not in around.volumes:
            yield not_found(f"{here}.name", mount.name)
        if not mount.mount_path:
            yield required(f"{here}.mountPath")
        if mount.sub_path:
            yield from relative_path(f"{here}.subPath", mount.sub_path)
        if mount.sub_path_expr:
            yield from relative_path(f"{here}.subPathExpr", mount.sub_path_expr)
            if mount.sub_path:
                why = "subPathExpr and subPath are mutually exclusive"
                yield invalid(f"{here}.subPathExpr", mount.sub_path_expr, why)
        if mount.HasField("mount_propagation"):
            yield from one_of(f"{here}.mountPropagation", mount.mount_propagation, _PROPAGATIONS)
            if mount.mount_propagation == "Bidirectional" and not privileged:
                why = "Bidirectional mount propagation is available only to privileged containers"
                yield forbidden(f"{here}.mountPropagation", why)
        if mount.HasField("recursive_read_only"):
            yield from _recursive_read_only(mount, f"{here}.recursiveReadOnly")
    for index in repeats(mount.mount_path for mount in mounts):
        if mounts[index].mount_path:
            yield invalid(f"{path}[{index}].mountPath", mounts[index].mount_path, "must be unique")


def _recursive_read_only(mount: VolumeMount, path: str) -> Faults:
    choices = ("Disabled", "Enabled", "IfPossible")
    yield from one_of(path, mount.recursive_read_only, choices)
    if mount.recursive_read_only in {"Enabled", "IfPossible"} and not mount.read_only:
        yield forbidden(path, "may only be specified when readOnly is true")
