"""A pod's sandbox, as the runtime wants it: namespaces, host name, name resolution, labels. Pure.

Host ports are not given to the runtime: the proxy opens them, together with the services'.
"""

from __future__ import annotations

from pathlib import Path

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.dns import Dns, dns_config
from agents.node.path_part import path_part
from agents.node.security import sandbox_security
from orchestrator.api.v1 import Pod

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"

# A host name is one DNS label.
_HOSTNAME_LIMIT = 63


def pod_log_directory(pod_logs: Path, pod: Pod) -> Path:
    """Where the logs of a pod's containers are. The uid keeps a later pod of the same name apart."""
    return pod_logs / path_part(f"{pod.metadata.namespace}_{pod.metadata.name}_{pod.metadata.uid}")


def pod_labels(pod: Pod) -> dict[str, str]:
    """What sandbox and containers are found by. They win over labels of the same name that the user gave the pod."""
    return dict(pod.metadata.labels) | {
        POD_NAME: pod.metadata.name,
        POD_NAMESPACE: pod.metadata.namespace,
        POD_UID: pod.metadata.uid,
    }


def sandbox_config(
    pod: Pod,
    *,
    attempt: int,
    log_directory: Path,
    dns: Dns,
    cgroup_parent: str,
    seccomp_directory: Path,
) -> cri.PodSandboxConfig:
    """`attempt` counts the sandboxes this pod has had on this node."""
    sysctls = {entry.name.replace("/", "."): entry.value for entry in pod.spec.security_context.sysctls}
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=pod.metadata.name, uid=pod.metadata.uid, namespace=pod.metadata.namespace, attempt=attempt
        ),
        hostname=hostname(pod),
        log_directory=str(log_directory),
        dns_config=dns_config(pod, dns),
        labels=pod_labels(pod),
        annotations=dict(pod.metadata.annotations),
        linux=cri.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_parent,
            security_context=sandbox_security(pod, seccomp_directory),
            sysctls=sysctls,
        ),
    )


def hostname(pod: Pod) -> str:
    """The name containers see; empty in the node's network, where they see the node's."""
    if pod.spec.HasField("hostname_override"):
        return pod.spec.hostname_override
    if pod.spec.host_network:
        return ""
    return pod.spec.hostname or pod.metadata.name[:_HOSTNAME_LIMIT].rstrip("-.")
