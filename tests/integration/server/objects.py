"""Small valid objects for the server's tests."""

from __future__ import annotations

from orchestrator.api.v1 import (
    ConfigMap,
    Container,
    Deployment,
    DeploymentSpec,
    LabelSelector,
    Node,
    NodeAddress,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Service,
    ServicePort,
    ServiceSpec,
)

NAMESPACE = "default"


def pod(name: str = "web", *, labels: dict[str, str] | None = None, node: str = "", namespace: str = NAMESPACE) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace=namespace, labels=labels or {}),
        spec=PodSpec(containers=[Container(name="main", image="registry.test/web:v1")], node_name=node),
    )


def config_map(name: str = "settings", *, namespace: str = NAMESPACE, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data=data)


def service(
    name: str = "web", *, type: str = "ClusterIP", cluster_ip: str = "", node_port: int = 0, port: int = 80
) -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=ServiceSpec(
            type=type,
            cluster_ip=cluster_ip,
            ports=[ServicePort(port=port, node_port=node_port)],
            selector={"app": "web"},
        ),
    )


def deployment(name: str = "web", *, replicas: int = 3) -> Deployment:
    labels = {"app": name}
    return Deployment(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels=labels),
            template=PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=pod().spec),
        ),
    )


def node(name: str = "n1", *, address: str = "", port: int = 0) -> Node:
    made = Node(metadata=ObjectMeta(name=name), status=NodeStatus())
    if address:
        made.status.addresses.append(NodeAddress(type="InternalIP", address=address))
    if port:
        made.status.daemon_endpoints.kubelet_endpoint.port = port
    return made
