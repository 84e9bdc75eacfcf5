"""Pods and what they are made of: pull policies, volumes without a source, and what a pod gets that is about to run."""

from __future__ import annotations

from orchestrator.api.conventions import NOT_READY, UNREACHABLE
from orchestrator.api.defaults.rules import rule
from orchestrator.api.qos import qos_class
from orchestrator.api.v1 import Container, EphemeralContainer, ImageVolumeSource, Pod, PodSpec, Toleration, Volume

# How long pods stay on a node that is not ready or not heard from, unless they say otherwise.
_EVICTION_TAINTS = (NOT_READY, UNREACHABLE)
_EVICTION_SECONDS = 300


@rule(Container)
def _container(container: Container) -> None:
    container.image_pull_policy = container.image_pull_policy or pull_policy(container.image)


@rule(EphemeralContainer)
def _ephemeral_container(container: EphemeralContainer) -> None:
    container.image_pull_policy = container.image_pull_policy or pull_policy(container.image)


@rule(ImageVolumeSource)
def _image_volume(volume: ImageVolumeSource) -> None:
    volume.pull_policy = volume.pull_policy or pull_policy(volume.reference)


def pull_policy(image: str) -> str:
    """Always for the tag latest, which no tag and no digest means too; otherwise IfNotPresent."""
    name, at, _ = image.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    latest = tag == "latest" or (bool(name) and not colon and not at)
    return "Always" if latest else "IfNotPresent"


@rule(Volume)
def _volume(volume: Volume) -> None:
    if not any(descriptor.message_type is not None for descriptor, _ in volume.ListFields()):
        volume.empty_dir.SetInParent()


@rule(PodSpec)
def _pod_spec(spec: PodSpec) -> None:
    name = spec.service_account_name or spec.service_account
    spec.service_account_name = name
    spec.service_account = name


@rule(Pod)
def _pod(pod: Pod) -> None:
    """Beyond what a template gets: a pod is about to run."""
    spec = pod.spec
    spec.service_account_name = spec.service_account_name or spec.service_account or "default"
    for container in (*spec.init_containers, *spec.containers):
        for resource, limit in container.resources.limits.items():
            if resource not in container.resources.requests:
                container.resources.requests[resource] = limit
        if spec.host_network:
            for port in container.ports:
                port.host_port = port.host_port or port.container_port
    _tolerate_for_a_while(spec)
    pod.status.phase = pod.status.phase or "Pending"
    pod.status.qos_class = pod.status.qos_class or qos_class(spec)


def _tolerate_for_a_while(spec: PodSpec) -> None:
    for taint in _EVICTION_TAINTS:
        if not any(_covers(toleration, taint) for toleration in spec.tolerations):
            spec.tolerations.append(
                Toleration(key=taint, operator="Exists", effect="NoExecute", toleration_seconds=_EVICTION_SECONDS)
            )


def _covers(toleration: Toleration, taint: str) -> bool:
    return toleration.key in {taint, ""} and toleration.effect in {"NoExecute", ""}
