"""Services, secrets, namespaces and nodes: fields that follow from others."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.api.conventions import NAMESPACE_FINALIZER
from orchestrator.api.defaults.rules import rule
from orchestrator.api.v1 import Namespace, NodeSpec, NodeStatus, Secret, ServicePort, ServiceSpec

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@rule(ServicePort)
def _service_port(port: ServicePort) -> None:
    target = port.target_port
    if not port.HasField("target_port") or (not target.string_value and not target.number_value):
        target.number_value = port.port


@rule(ServiceSpec)
def _service_spec(spec: ServiceSpec) -> None:
    if spec.session_affinity == "ClientIP":
        spec.session_affinity_config.client_ip.SetInParent()
    else:
        spec.ClearField("session_affinity_config")
    if spec.type in {"NodePort", "LoadBalancer"}:
        spec.external_traffic_policy = spec.external_traffic_policy or "Cluster"
    if spec.type == "LoadBalancer" and not spec.HasField("allocate_load_balancer_node_ports"):
        spec.allocate_load_balancer_node_ports = True
    if spec.type == "ExternalName":
        return
    if spec.cluster_ip and not spec.cluster_ips:
        spec.cluster_ips.append(spec.cluster_ip)
    elif spec.cluster_ips and not spec.cluster_ip:
        spec.cluster_ip = spec.cluster_ips[0]
    if not spec.ip_families:
        spec.ip_families.extend(_families(spec.cluster_ips))
    if not spec.HasField("ip_family_policy"):
        spec.ip_family_policy = "SingleStack" if len(spec.ip_families) == 1 else "RequireDualStack"


def _families(addresses: Iterable[str]) -> list[str]:
    return ["IPv6" if ":" in address else "IPv4" for address in addresses] or ["IPv4"]


@rule(Secret)
def _secret(secret: Secret) -> None:
    for key, text in secret.string_data.items():
        secret.data[key] = text.encode()
    secret.ClearField("string_data")


@rule(Namespace)
def _namespace(namespace: Namespace) -> None:
    if namespace.metadata.name:
        namespace.metadata.labels[NAMESPACE_LABEL] = namespace.metadata.name
    # Of a namespace on its way out the finalizers are being removed, not forgotten.
    if not namespace.metadata.HasField("deletion_timestamp") and NAMESPACE_FINALIZER not in namespace.spec.finalizers:
        namespace.spec.finalizers.append(NAMESPACE_FINALIZER)
    namespace.status.phase = namespace.status.phase or "Active"


@rule(NodeSpec)
def _node_spec(spec: NodeSpec) -> None:
    if spec.pod_cidr and not spec.pod_cidrs:
        spec.pod_cidrs.append(spec.pod_cidr)
    elif spec.pod_cidrs and not spec.pod_cidr:
        spec.pod_cidr = spec.pod_cidrs[0]


@rule(NodeStatus)
def _node_status(status: NodeStatus) -> None:
    for resource, amount in status.capacity.items():
        if resource not in status.allocatable:
            status.allocatable[resource] = amount
