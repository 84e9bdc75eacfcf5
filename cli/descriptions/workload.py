"""Deployments, ReplicaSets and Services in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cli.descriptions.page import Page, int_or_string
from cli.descriptions.pod import describe_template
from orchestrator.api.conventions import REVISION
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.v1 import Deployment, EndpointSlice, ReplicaSet, Service, ServicePort

# Endpoints that are shown of a port; of the others, how many they are.
SHOWN_ENDPOINTS = 3


def describe_deployment(page: Page, deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> None:
    spec, status = deployment.spec, deployment.status
    page.value("Selector", str(from_label_selector(spec.selector)))
    page.value(
        "Replicas",
        f"{spec.replicas} desired | {status.updated_replicas} updated | {status.replicas} total | "
        f"{status.available_replicas} available | {status.unavailable_replicas} unavailable",
    )
    page.value("StrategyType", spec.strategy.type)
    page.value("MinReadySeconds", str(spec.min_ready_seconds))
    if spec.strategy.HasField("rolling_update"):
        rolling = spec.strategy.rolling_update
        page.value(
            "RollingUpdateStrategy",
            f"{int_or_string(rolling.max_unavailable)} max unavailable, {int_or_string(rolling.max_surge)} max surge",
        )
    if spec.paused:
        page.value("Paused", "true")
    describe_template(page, spec.template)
    page.table(
        "Conditions",
        ("Type", "Status", "Reason"),
        ((each.type, each.status, each.reason) for each in status.conditions),
    )
    revision = deployment.metadata.annotations.get(REVISION, "")
    current = [each for each in replica_sets if each.metadata.annotations.get(REVISION, "") == revision]
    page.value("OldReplicaSets", ", ".join(_made(each for each in replica_sets if each not in current)))
    page.value("NewReplicaSet", ", ".join(_made(current)))


def _made(replica_sets: Iterable[ReplicaSet]) -> Iterable[str]:
    for each in sorted(replica_sets, key=lambda one: one.metadata.name):
        yield f"{each.metadata.name} ({each.status.replicas}/{each.spec.replicas} replicas created)"


def describe_replica_set(page: Page, replica_set: ReplicaSet) -> None:
    spec, status = replica_set.spec, replica_set.status
    page.value("Selector", str(from_label_selector(spec.selector)))
    page.value("Replicas", f"{status.replicas} current / {spec.replicas} desired")
    page.value("Pods Status", f"{status.ready_replicas} ready, {status.available_replicas} available")
    describe_template(page, spec.template)
    page.table(
        "Conditions",
        ("Type", "Status", "Reason"),
        ((each.type, each.status, each.reason) for each in status.conditions),
    )


def describe_service(page: Page, service: Service, slices: Sequence[EndpointSlice]) -> None:
    spec = service.spec
    page.pairs("Selector", spec.selector)
    page.value("Type", spec.type)
    page.value("IP Family Policy", spec.ip_family_policy)
    page.value("IP", spec.cluster_ip)
    page.optional("External Name", spec.external_name)
    if spec.external_ips:
        page.value("External IPs", *spec.external_ips)
    for port in spec.ports:
        name = port.name or "<unset>"
        page.value("Port", f"{name}  {port.port}/{port.protocol}")
        page.value("TargetPort", f"{int_or_string(port.target_port)}/{port.protocol}")
        if port.node_port:
            page.value("NodePort", f"{name}  {port.node_port}/{port.protocol}")
        if spec.type != "ExternalName":
            page.value("Endpoints", _endpoints(port, slices))
    page.value("Session Affinity", spec.session_affinity)
    page.optional("External Traffic Policy", spec.external_traffic_policy)
    page.optional("Internal Traffic Policy", spec.internal_traffic_policy)


def _endpoints(port: ServicePort, slices: Sequence[EndpointSlice]) -> str:
    """Who answers for a port now."""
    ready = [
        f"{endpoint.addresses[0]}:{each.port}"
        for one in slices
        for each in one.ports
        if each.name == port.name
        for endpoint in one.endpoints
        if endpoint.addresses and (endpoint.conditions.ready or not endpoint.conditions.HasField("ready"))
    ]
    more = len(ready) - SHOWN_ENDPOINTS
    return ",".join(ready[:SHOWN_ENDPOINTS]) + (f" + {more} more..." if more > 0 else "")
