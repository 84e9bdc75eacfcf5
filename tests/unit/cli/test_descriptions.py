"""What `navctl describe` says of workloads beyond their own fields."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.descriptions.object import describe_object
from orchestrator.api.v1 import Deployment, EndpointSlice, ReplicaSet, Service

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def _lines(text: str) -> list[list[str]]:
    return [line.split(maxsplit=1) for line in text.splitlines()]


def _slice(name: str, port: int, *addresses: str, ready: bool = True) -> EndpointSlice:
    found = EndpointSlice(address_type="IPv4")
    found.ports.add(name=name, port=port, protocol="TCP")
    for address in addresses:
        found.endpoints.add(addresses=[address]).conditions.ready = ready
    return found


def test_a_service_shows_who_answers_at_each_port() -> None:
    service = Service()
    service.metadata.name = "web"
    for name in ("http", "admin", "none"):
        service.spec.ports.add(name=name, port=80, protocol="TCP")
    related = [
        _slice("http", 8080, "10.0.0.1", "10.0.0.2"),
        _slice("http", 8080, "10.0.0.3", "10.0.0.4", "10.0.0.5"),
        _slice("http", 8080, "10.0.0.9", ready=False),
        _slice("admin", 9000, "10.0.0.1"),
    ]
    shown = [
        line[1] for line in _lines(describe_object(service, None, NOW, related=related)) if line[0] == "Endpoints:"
    ]
    assert shown == ["10.0.0.1:8080,10.0.0.2:8080,10.0.0.3:8080 + 2 more...", "10.0.0.1:9000", "<none>"]


def test_a_deployment_shows_its_replica_sets() -> None:
    deployment = Deployment()
    deployment.metadata.name = "web"
    deployment.metadata.annotations["deployment.kubernetes.io/revision"] = "2"
    sets = []
    for name, revision, there, wanted in (("web-b", "2", 1, 3), ("web-a", "1", 2, 2)):
        each = ReplicaSet()
        each.metadata.name = name
        each.metadata.annotations["deployment.kubernetes.io/revision"] = revision
        each.spec.replicas = wanted
        each.status.replicas = there
        sets.append(each)
    lines = _lines(describe_object(deployment, None, NOW, related=sets))
    assert ["NewReplicaSet:", "web-b (1/3 replicas created)"] in lines
    assert ["OldReplicaSets:", "web-a (2/2 replicas created)"] in lines
    lines = _lines(describe_object(deployment, None, NOW))
    assert ["NewReplicaSet:", "<none>"] in lines
