"""One container, as the runtime wants it: command, environment, resources, security, labels. Pure.

Its labels and annotations are what an agent that was restarted recognises it by: which pod and container it is,
which restart, and from which specification it was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.environment import expand
from agents.node.sandbox_config import POD_NAME, POD_NAMESPACE, POD_UID
from agents.node.security import container_security
from orchestrator.api.qos import BEST_EFFORT, GUARANTEED, qos_class
from orchestrator.api.quantity import milli, whole
from orchestrator.api.v1 import Container, Pod

CONTAINER_NAME = "io.kubernetes.container.name"
HASH = "navarch.dev/container.hash"
RESTART_COUNT = "navarch.dev/container.restart-count"

# Microseconds of the kernel's CPU bandwidth control.
_CPU_PERIOD = 100_000
_LEAST_QUOTA = 1_000
_SHARES_OF_A_CPU = 1024
_LEAST_SHARES = 2
# How readily the kernel kills when the node runs out of memory: promises made to a pod make it less likely.
_OOM_GUARANTEED = -997
_OOM_BEST_EFFORT = 1000


def container_config(
    pod: Pod,
    container: Container,
    *,
    attempt: int,
    image: cri.Image,
    environment: Mapping[str, str],
    mounts: Sequence[cri.Mount],
    node_memory: int,
    seccomp_directory: Path,
) -> cri.ContainerConfig:
    """`attempt` counts the container's restarts; `image` is what the runtime knows of it; `node_memory` in bytes.

    Raises ConfigError when the container must not run as root and would.
    """
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=container.name, attempt=attempt),
        image=cri.ImageSpec(image=image.id, user_specified_image=container.image),
        command=[expand(word, environment) for word in container.command],
        args=[expand(word, environment) for word in container.args],
        working_dir=container.working_dir,
        envs=[cri.KeyValue(key=name, value=value) for name, value in environment.items()],
        mounts=mounts,
        labels={
            POD_NAME: pod.metadata.name,
            POD_NAMESPACE: pod.metadata.namespace,
            POD_UID: pod.metadata.uid,
            CONTAINER_NAME: container.name,
        },
        annotations={HASH: container_hash(container), RESTART_COUNT: str(attempt)},
        log_path=log_path(container.name, attempt),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        linux=cri.LinuxContainerConfig(
            resources=resources(pod, container, node_memory),
            security_context=container_security(pod, container, image, seccomp_directory),
        ),
    )


def log_path(container: str, attempt: int) -> str:
    """Relative to the pod's log directory."""
    return f"{container}/{attempt}.log"


def container_hash(container: Container) -> str:
    """Differs when the container would have to be made anew."""
    return hashlib.sha256(container.SerializeToString(deterministic=True)).hexdigest()[:16]


def resources(pod: Pod, container: Container, node_memory: int) -> cri.LinuxContainerResources:
    """Its cgroup: shares by the CPU request, quota and memory by the limits."""
    requests, limits = container.resources.requests, container.resources.limits
    # A limit alone is also a request, as the API's defaults have it.
    request = requests.get("cpu") or limits.get("cpu")
    found = cri.LinuxContainerResources(
        cpu_shares=cpu_shares(milli(request)) if request else _LEAST_SHARES,
        oom_score_adj=oom_score(pod, container, node_memory),
        hugepage_limits=[
            cri.HugepageLimit(page_size=_page_size(name), limit=whole(amount))
            for name, amount in sorted(limits.items())
            if name.startswith("hugepages-")
        ],
    )
    if "cpu" in limits and milli(limits["cpu"]):
        found.cpu_period = _CPU_PERIOD
        found.cpu_quota = max(milli(limits["cpu"]) * _CPU_PERIOD // 1000, _LEAST_QUOTA)
    if "memory" in limits:
        found.memory_limit_in_bytes = whole(limits["memory"])
    return found


def cpu_shares(millicores: int) -> int:
    return max(millicores * _SHARES_OF_A_CPU // 1000, _LEAST_SHARES)


def oom_score(pod: Pod, container: Container, node_memory: int) -> int:
    """Guaranteed pods are killed last, BestEffort ones first; between them, the smaller the part of the node's memory
    that was asked for, the sooner."""
    quality = qos_class(pod.spec)
    if quality == GUARANTEED:
        return _OOM_GUARANTEED
    if quality == BEST_EFFORT:
        return _OOM_BEST_EFFORT
    requested = container.resources.requests.get("memory") or container.resources.limits.get("memory") or "0"
    score = 1000 - 1000 * whole(requested) // max(node_memory, 1)
    # Never at the ends, which belong to the other classes.
    return min(max(score, 1000 + _OOM_GUARANTEED), _OOM_BEST_EFFORT - 1)


def _page_size(resource: str) -> str:
    """The kernel's name of a page size: "2MB" from "hugepages-2Mi"."""
    return resource.removeprefix("hugepages-").removesuffix("i") + "B"
