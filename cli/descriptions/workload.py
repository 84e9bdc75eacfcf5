"""Deployments, ReplicaSets and Services in words."""

from __future__ import annotations

from cli.descriptions.page import Page, int_or_string
from cli.descriptions.pod import describe_template
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.v1 import Deployment, ReplicaSet, Service


def describe_deployment(page: Page, deployment: Deployment) -> None:
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


def describe_service(page: Page, service: Service) -> None:
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
    page.value("Session Affinity", spec.session_affinity)
    page.optional("External Traffic Policy", spec.external_traffic_policy)
    page.optional("Internal Traffic Policy", spec.internal_traffic_policy)
