"""What the server chose for an object when it was created, kept when a client writes the object again without it.

A manifest names neither the cluster address nor the node ports of its Service, and still applying it a second time must
not ask for new ones. Runs on an update that replaces an object, after defaults and before validation.
"""

from __future__ import annotations

from orchestrator.api.kinds import K
from orchestrator.api.v1 import Namespace, Service, ServiceSpec

_WITH_ADDRESS = frozenset({"ClusterIP", "NodePort", "LoadBalancer"})
_WITH_NODE_PORTS = frozenset({"NodePort", "LoadBalancer"})


def keep_allocated(new: K, old: K) -> None:
    """Give an update the values that the server chose and the update leaves open: cluster addresses and node ports of
    a Service, finalizers of a Namespace."""
    match new, old:
        case Service(), Service():
            _keep_addresses(new.spec, old.spec)
        case Namespace(), Namespace():
            new.spec.finalizers[:] = old.spec.finalizers


def _keep_addresses(new: ServiceSpec, old: ServiceSpec) -> None:
    if new.type in _WITH_ADDRESS and old.type in _WITH_ADDRESS:
        if not new.cluster_ip and not new.cluster_ips:
            new.cluster_ip = old.cluster_ip
            new.cluster_ips[:] = old.cluster_ips
        elif new.cluster_ip and not new.cluster_ips:
            new.cluster_ips.append(new.cluster_ip)
    if new.type == "ExternalName" and old.type in _WITH_ADDRESS and new.cluster_ip == old.cluster_ip:
        for name in ("cluster_ip", "cluster_ips", "ip_families", "ip_family_policy"):
            new.ClearField(name)
    if new.type in _WITH_NODE_PORTS and old.type in _WITH_NODE_PORTS:
        _keep_node_ports(new, old)
    elif new.type not in _WITH_NODE_PORTS and old.type in _WITH_NODE_PORTS:
        _drop_node_ports(new, old)


def _keep_node_ports(new: ServiceSpec, old: ServiceSpec) -> None:
    """A port keeps its node port; which one it was is told by protocol and number, and by name where that is open."""
    chosen = {(port.protocol, port.port): port.node_port for port in old.ports}
    named = {port.name: port.node_port for port in old.ports if port.name}
    taken = {port.node_port for port in new.ports if port.node_port}
    for port in new.ports:
        if port.node_port:
            continue
        kept = chosen.get((port.protocol, port.port)) or named.get(port.name) or 0
        if kept not in taken:
            port.node_port = kept
            taken.add(kept)


def _drop_node_ports(new: ServiceSpec, old: ServiceSpec) -> None:
    """A service that is no longer reachable from outside gives back the ports it had, unless it asks for others."""
    given = {port.node_port for port in old.ports}
    for port in new.ports:
        if port.node_port in given:
            port.node_port = 0
    if new.external_traffic_policy == old.external_traffic_policy:
        new.external_traffic_policy = ""
