"""Which route an API object becomes: a table of cases for Services, and one for host ports."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agents.proxy.routes import Backend, Frontend, Route, host_port_routes, service_routes
from orchestrator.api.v1 import (
    Container,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)

HERE, THERE = "n1", "n2"


def service(*, node_port: int = 0, protocol: str = "TCP", **spec: object) -> Service:
    ports = [ServicePort(name="web", port=80, protocol=protocol, node_port=node_port)]
    return Service(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=ServiceSpec(**{"cluster_ip": "10.96.0.10", "type": "ClusterIP", "ports": ports} | spec),  # type: ignore[arg-type]
    )


def endpoint(address: str, node: str = HERE, **conditions: bool) -> Endpoint:
    return Endpoint(addresses=[address], node_name=node, conditions=EndpointConditions(**conditions))


def piece(*endpoints: Endpoint, name: str = "web-1", port: int = 8080) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name=name),
        address_type="IPv4",
        ports=[EndpointPort(name="web", port=port, protocol="TCP")],
        endpoints=endpoints,
    )


READY = {"ready": True, "serving": True, "terminating": False}
DRAINING = {"ready": False, "serving": True, "terminating": True}
A = endpoint("10.244.0.2", HERE, **READY)
B = endpoint("10.244.1.2", THERE, **READY)
LOCAL_A = Backend("10.244.0.2", 8080, True)
REMOTE_B = Backend("10.244.1.2", 8080, False)
CLUSTER = Frontend("10.96.0.10", "tcp", 80)
NODE = Frontend("", "tcp", 30080)


@pytest.mark.parametrize(
    ("given", "slices", "expected"),
    [
        pytest.param(
            service(), [piece(B, A)], {CLUSTER: Route((LOCAL_A, REMOTE_B))}, id="cluster IP, in a fixed order"
        ),
        pytest.param(service(), [], {CLUSTER: Route()}, id="no endpoints: refused"),
        pytest.param(
            service(),
            [piece(A, endpoint("10.244.0.9", HERE, ready=False, serving=False))],
            {CLUSTER: Route((LOCAL_A,))},
            id="an endpoint that is not ready gets nothing",
        ),
        pytest.param(service(), [piece(endpoint("10.244.0.2"))], {CLUSTER: Route((LOCAL_A,))}, id="unset means ready"),
        pytest.param(
            service(),
            [piece(endpoint("10.244.0.2", HERE, **DRAINING))],
            {CLUSTER: Route((LOCAL_A,))},
            id="all are terminating: those that still serve",
        ),
        pytest.param(
            service(),
            [piece(A, endpoint("10.244.0.3", HERE, **DRAINING))],
            {CLUSTER: Route((LOCAL_A,))},
            id="one is ready: terminating ones get nothing",
        ),
        pytest.param(
            service(), [piece(A), piece(B, name="web-2")], {CLUSTER: Route((LOCAL_A, REMOTE_B))}, id="slices are joined"
        ),
        pytest.param(
            service(type="NodePort", node_port=30080),
            [piece(A, B)],
            {
                CLUSTER: Route((LOCAL_A, REMOTE_B)),
                NODE: Route((LOCAL_A, REMOTE_B), masquerade=True),
            },
            id="node port",
        ),
        pytest.param(
            service(type="NodePort", node_port=30080, external_traffic_policy="Local"),
            [piece(A, B)],
            {CLUSTER: Route((LOCAL_A, REMOTE_B)), NODE: Route((LOCAL_A,))},
            id="external policy Local: own backends, client addresses kept",
        ),
        pytest.param(
            service(internal_traffic_policy="Local"), [piece(A, B)], {CLUSTER: Route((LOCAL_A,))}, id="internal Local"
        ),
        pytest.param(
            service(session_affinity="ClientIP"), [piece(A)], {CLUSTER: Route((LOCAL_A,), sticky=True)}, id="affinity"
        ),
        pytest.param(
            service(external_ips=["192.0.2.7"]),
            [piece(A)],
            {
                CLUSTER: Route((LOCAL_A,)),
                Frontend("192.0.2.7", "tcp", 80): Route((LOCAL_A,), masquerade=True),
            },
            id="external address",
        ),
        pytest.param(service(cluster_ip="None"), [piece(A)], {}, id="headless"),
        pytest.param(service(type="ExternalName", cluster_ip=""), [], {}, id="external name"),
    ],
)
def test_service_routes(given: Service, slices: Sequence[EndpointSlice], expected: dict[Frontend, Route]) -> None:
    assert dict(service_routes(given, slices, HERE)) == expected


def pod(*ports: ContainerPort, ip: str = "10.244.0.5", phase: str = "Running", host_network: bool = False) -> Pod:
    return Pod(
        spec=PodSpec(containers=[Container(name="c", ports=ports)], host_network=host_network),
        status=PodStatus(pod_ip=ip, phase=phase),
    )


MAPPED = ContainerPort(container_port=53, host_port=5353, protocol="UDP")
TO_POD = Route((Backend("10.244.0.5", 53, True),))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(pod(MAPPED), {Frontend("", "udp", 5353): TO_POD}, id="every address"),
        pytest.param(
            pod(ContainerPort(container_port=53, host_port=53, host_ip="192.0.2.1")),
            {Frontend("192.0.2.1", "tcp", 53): TO_POD},
            id="one address",
        ),
        pytest.param(pod(ContainerPort(container_port=80)), {}, id="no host port"),
        pytest.param(pod(MAPPED, ip=""), {}, id="no address yet"),
        pytest.param(pod(MAPPED, phase="Succeeded"), {}, id="finished"),
        pytest.param(pod(MAPPED, host_network=True), {}, id="in the host's network"),
    ],
)
def test_host_port_routes(given: Pod, expected: dict[Frontend, Route]) -> None:
    assert dict(host_port_routes(given)) == expected


INJECTION = "1.2.3.4 } ; flush ruleset ; add table ip x {"


@pytest.mark.parametrize(
    "address", [INJECTION, "1.2.3.4/0", "1.2.3.4-9.9.9.9", "@hairpins", "::1", "010.0.0.1", "x", ""]
)
def test_a_bad_endpoint_costs_nobody_else_anything(address: str) -> None:
    bad = EndpointSlice(
        metadata=ObjectMeta(name="web-0"),
        address_type="IPv4",
        ports=[EndpointPort(name="web", port=8080)],
        endpoints=[Endpoint(addresses=[address], conditions=EndpointConditions(ready=True))],
    )
    found = service_routes(service(), [bad, piece(A)], HERE)
    assert found == {CLUSTER: Route((LOCAL_A,))}


@pytest.mark.parametrize("port", [-1, 65536, 2**31 - 1])
def test_ports_that_are_none(port: int) -> None:
    assert service_routes(service(), [piece(A, port=port)], HERE) == {CLUSTER: Route()}
    assert service_routes(service(ports=[ServicePort(name="web", port=port)]), [piece(A)], HERE) == {}
    assert set(service_routes(service(node_port=port), [piece(A)], HERE)) == {CLUSTER}


def test_a_protocol_and_addresses_that_are_none() -> None:
    assert service_routes(service(protocol=INJECTION), [piece(A)], HERE) == {}
    assert service_routes(service(cluster_ip=INJECTION), [piece(A)], HERE) == {}
    odd = service(external_ips=[INJECTION, "::1", "192.0.2.7"])
    odd.status.load_balancer.ingress.add(ip=INJECTION)
    assert set(service_routes(odd, [piece(A)], HERE)) == {CLUSTER, Frontend("192.0.2.7", "tcp", 80)}


@pytest.mark.parametrize(
    ("pod_ip", "host_ip"), [(INJECTION, ""), ("::1", ""), ("10.244.0.2", INJECTION), ("10.244.0.2", "::1")]
)
def test_a_host_port_with_an_address_that_is_none(pod_ip: str, host_ip: str) -> None:
    ports = [ContainerPort(container_port=80, host_port=8080, host_ip=host_ip)]
    odd = Pod(spec=PodSpec(containers=[Container(name="a", ports=ports)]), status=PodStatus(pod_ip=pod_ip))
    assert host_port_routes(odd) == {}
