"""Where the traffic of a Service goes: objects in, routes out.

A route answers for one frontend: an address, protocol and port that clients connect to (a cluster IP, an external IP,
or a port on every address of the node) and the backends that share its connections. Pods with a `hostPort` are routes
as well, with one backend. Pure: the same objects always give the same routes, in the same order.

Routes become text for the kernel, all of them in one transaction, so nothing gets into one that is not an IPv4 address,
a port or a known protocol by this module's own reading: what else an object says is left out, and the rest stands.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.api.v1 import Endpoint, EndpointSlice, Pod, Service, ServicePort

PROTOCOLS: Mapping[str, str] = {"": "tcp", "TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
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
    cluster_ip = _ipv4(service.spec.cluster_ip)
    if not cluster_ip or not _is_proxied(service):
        return {}
    spec = service.spec
    slices = sorted((piece for piece in slices if piece.address_type == "IPv4"), key=lambda piece: piece.metadata.name)
    sticky = spec.session_affinity == "ClientIP"
    internal_local = spec.internal_traffic_policy == "Local"
    external_local = spec.external_traffic_policy == "Local"
    routes: dict[Frontend, Route] = {}
    for port in spec.ports:
        protocol = PROTOCOLS.get(port.protocol)
        if protocol is None or not _is_port(port.port):
            continue
        backends = _backends(port, slices, node_name)
        local = tuple(backend for backend in backends if backend.local)
        inside = Route(local if internal_local else backends, sticky)
        outside = Route(local, sticky) if external_local else Route(backends, sticky, masquerade=True)
        routes[Frontend(cluster_ip, protocol, port.port)] = inside
        for address in _external_addresses(service):
            routes[Frontend(address, protocol, port.port)] = outside
        if _is_port(port.node_port):
            routes[Frontend("", protocol, port.node_port)] = outside
    return routes


def host_port_routes(pod: Pod) -> Routes:
    """The host ports of a pod that runs on this node. A pod in the host's network needs none."""
    pod_ip = _ipv4(pod.status.pod_ip)
    if pod.spec.host_network or not pod_ip or pod.status.phase in ("Succeeded", "Failed"):
        return {}
    routes: dict[Frontend, Route] = {}
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        for port in container.ports:
            protocol = PROTOCOLS.get(port.protocol)
            everywhere = port.host_ip in ("", "0.0.0.0")
            address = "" if everywhere else _ipv4(port.host_ip)
            if protocol is None or not (everywhere or address):
                continue
            if _is_port(port.host_port) and _is_port(port.container_port):
                backend = Backend(pod_ip, port.container_port, local=True)
                routes[Frontend(address, protocol, port.host_port)] = Route((backend,))
    return routes


def _is_proxied(service: Service) -> bool:
    spec = service.spec
    return spec.type != "ExternalName" and PROXY_NAME_LABEL not in service.metadata.labels


def _external_addresses(service: Service) -> Sequence[str]:
    ingress = [entry.ip for entry in service.status.load_balancer.ingress]
    return [address for text in (*service.spec.external_ips, *ingress) if (address := _ipv4(text))]


def _backends(port: ServicePort, slices: Sequence[EndpointSlice], node_name: str) -> tuple[Backend, ...]:
    ready: set[Backend] = set()
    draining: set[Backend] = set()
    for piece in slices:
        target = next((entry.port for entry in piece.ports if entry.name == port.name and entry.port), 0)
        if not _is_port(target):
            continue
        for endpoint in piece.endpoints:
            address = _ipv4(endpoint.addresses[0]) if endpoint.addresses else ""
            if not address:
                continue
            backend = Backend(address, target, endpoint.node_name == node_name)
            if _is_ready(endpoint):
                ready.add(backend)
            elif endpoint.conditions.serving and endpoint.conditions.terminating:
                draining.add(backend)
    return tuple(sorted(ready or draining))


def _is_ready(endpoint: Endpoint) -> bool:
    """An absent condition counts as ready (the field's documented meaning)."""
    return endpoint.conditions.ready or not endpoint.conditions.HasField("ready")


def _ipv4(text: str) -> str:
    """The address, in the one form it has; empty when the text is none."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ipaddress.AddressValueError:
        return ""


def _is_port(number: int) -> bool:
    return 0 < number < 65536
