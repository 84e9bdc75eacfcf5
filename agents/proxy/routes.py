"""Where the traffic of a Service goes: objects in, routes out.

A route answers for one frontend: an address, protocol and port that clients connect to (a cluster IP, an external IP,
or a port on every address of the node) and the backends that share its connections. Pods with a `hostPort` are routes
as well, with one backend. Pure: the same objects always give the same routes, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.api.v1 import Endpoint, EndpointSlice, Pod, Service, ServicePort

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"


@dataclass(frozen=True, slots=True, order=True)
class Frontend:
    """What clients connect to. An empty address means every address of this node."""

    address: str
    protocol: str  # tcp, udp, sctp
    port: int


class Backend(NamedTuple):
    address: str
    port: int
    local: bool  # on this node


@dataclass(frozen=True, slots=True)
class Route:
    backends: tuple[Backend, ...] = ()  # none: connections are refused
    sticky: bool = False  # a client's address always meets the same backend
    masquerade: bool = False  # backends see the node's address, so that their answers come back this way


Routes = Mapping[Frontend, Route]


def service_routes(service: Service, slices: Iterable[EndpointSlice], node_name: str) -> Routes:
    """The routes of one Service on one node, from the slices that carry its name.

    Ready endpoints only; when every endpoint is terminating, those that still serve (KEP-1669).
    """
    if not _is_proxied(service):
        return {}
    spec = service.spec
    slices = sorted((piece for piece in slices if piece.address_type == "IPv4"), key=lambda piece: piece.metadata.name)
    sticky = spec.session_affinity == "ClientIP"
    internal_local = spec.internal_traffic_policy == "Local"
    external_local = spec.external_traffic_policy == "Local"
    routes: dict[Frontend, Route] = {}
    for port in spec.ports:
        backends = _backends(port, slices, node_name)
        local = tuple(backend for backend in backends if backend.local)
        protocol = (port.protocol or "TCP").lower()
        inside = Route(local if internal_local else backends, sticky)
        outside = Route(local, sticky) if external_local else Route(backends, sticky, masquerade=True)
        routes[Frontend(spec.cluster_ip, protocol, port.port)] = inside
        for address in _external_addresses(service):
            routes[Frontend(address, protocol, port.port)] = outside
        if port.node_port:
            routes[Frontend("", protocol, port.node_port)] = outside
    return routes


def host_port_routes(pod: Pod) -> Routes:
    """The host ports of a pod that runs on this node. A pod in the host's network needs none."""
    if pod.spec.host_network or not pod.status.pod_ip or pod.status.phase in ("Succeeded", "Failed"):
        return {}
    routes: dict[Frontend, Route] = {}
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        for port in container.ports:
            if port.host_port:
                address = "" if port.host_ip in ("", "0.0.0.0") else port.host_ip
                frontend = Frontend(address, (port.protocol or "TCP").lower(), port.host_port)
                routes[frontend] = Route((Backend(pod.status.pod_ip, port.container_port, local=True),))
    return routes


def _is_proxied(service: Service) -> bool:
    spec = service.spec
    return (
        spec.type != "ExternalName"
        and spec.cluster_ip not in ("", "None")
        and ":" not in spec.cluster_ip
        and PROXY_NAME_LABEL not in service.metadata.labels
    )


def _external_addresses(service: Service) -> Sequence[str]:
    ingress = [entry.ip for entry in service.status.load_balancer.ingress if entry.ip]
    return [address for address in (*service.spec.external_ips, *ingress) if ":" not in address]


def _backends(port: ServicePort, slices: Sequence[EndpointSlice], node_name: str) -> tuple[Backend, ...]:
    ready: set[Backend] = set()
    draining: set[Backend] = set()
    for piece in slices:
        target = next((entry.port for entry in piece.ports if entry.name == port.name and entry.port), None)
        if target is None:
            continue
        for endpoint in piece.endpoints:
            if not endpoint.addresses:
                continue
            backend = Backend(endpoint.addresses[0], target, endpoint.node_name == node_name)
            if _is_ready(endpoint):
                ready.add(backend)
            elif endpoint.conditions.serving and endpoint.conditions.terminating:
                draining.add(backend)
    return tuple(sorted(ready or draining))


def _is_ready(endpoint: Endpoint) -> bool:
    """An absent condition counts as ready (the field's documented meaning)."""
    return endpoint.conditions.ready or not endpoint.conditions.HasField("ready")
