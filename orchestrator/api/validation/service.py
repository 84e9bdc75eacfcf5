"""Services: ports, addresses, and what a type allows. Whether an address or port is free is the server's to say."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from orchestrator.api import names
from orchestrator.api.errors import duplicate, forbidden, invalid, not_supported, required
from orchestrator.api.v1 import Service, ServicePort, ServiceSpec, ServiceStatus
from orchestrator.api.validation.rules import (
    PROTOCOLS,
    Faults,
    labels,
    named,
    one_of,
    plain,
    port,
    port_or_name,
    repeats,
    within,
)

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
NODE_PORTS = (30000, 32767)
HEADLESS = "None"
_WITH_NODE_PORTS = frozenset({"NodePort", "LoadBalancer"})
_TRAFFIC_POLICIES = ("Cluster", "Local")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_LONGEST_AFFINITY = 86400
UNCHANGEABLE = "may not change once set"


def service(obj: Service) -> Faults:
    spec = obj.spec
    headless = spec.cluster_ip == HEADLESS
    external = spec.type == "ExternalName"
    yield from one_of("spec.type", spec.type, TYPES)
    if not spec.ports and not headless and not external:
        yield required("spec.ports")
    yield from _ports(spec.ports, "spec.ports", exposed=spec.type in _WITH_NODE_PORTS, headless=headless)
    yield from labels("spec.selector", spec.selector)
    yield from _affinity(spec)
    yield from _addresses(spec, headless=headless, external=external)
    if external:
        if spec.external_name:
            yield from named(names.subdomain, "spec.externalName", spec.external_name.removesuffix("."))
        else:
            yield required("spec.externalName")
    if headless and spec.type in _WITH_NODE_PORTS:
        yield invalid("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {spec.type} services")
    yield from _traffic(spec)
    for index, address in enumerate(spec.external_ips):
        yield from _routable(f"spec.externalIPs[{index}]", address)
    for index, network in enumerate(spec.load_balancer_source_ranges):
        yield from named(names.network, f"spec.loadBalancerSourceRanges[{index}]", network.strip())
    if spec.HasField("load_balancer_class"):
        if spec.type != "LoadBalancer":
            yield forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")
        yield from named(names.qualified_name, "spec.loadBalancerClass", spec.load_balancer_class)


def service_update(new: Service, old: Service) -> Faults:
    """A service keeps its address while it has one; becoming an ExternalName gives it up."""
    before, after = old.spec, new.spec
    if "ExternalName" in {before.type, after.type}:
        return
    if before.cluster_ip and after.cluster_ip != before.cluster_ip:
        yield invalid("spec.clusterIPs[0]", list(after.cluster_ips), UNCHANGEABLE)
    elif before.ip_families and list(after.ip_families[:1]) != list(before.ip_families[:1]):
        yield invalid("spec.ipFamilies[0]", list(after.ip_families[:1]), UNCHANGEABLE)


def service_status(status: ServiceStatus) -> Faults:
    for index, entry in enumerate(status.load_balancer.ingress):
        here = f"status.loadBalancer.ingress[{index}]"
        if entry.ip:
            yield from named(names.ip_address, f"{here}.ip", entry.ip)
        if entry.hostname:
            yield from named(names.subdomain, f"{here}.hostname", entry.hostname)


def _ports(ports: Sequence[ServicePort], path: str, *, exposed: bool, headless: bool) -> Faults:
    for index, entry in enumerate(ports):
        here = f"{path}[{index}]"
        if entry.name:
            yield from named(names.label, f"{here}.name", entry.name)
        elif len(ports) > 1:
            yield required(f"{here}.name")
        yield from port(f"{here}.port", entry.port)
        yield from one_of(f"{here}.protocol", entry.protocol, PROTOCOLS)
        yield from port_or_name(f"{here}.targetPort", entry.target_port)
        yield from _target_of_headless(entry, f"{here}.targetPort", headless=headless)
        if entry.HasField("app_protocol"):
            yield from named(names.qualified_name, f"{here}.appProtocol", entry.app_protocol)
        if entry.node_port and not exposed:
            yield forbidden(f"{here}.nodePort", "may not be used when `type` is 'ClusterIP'")
        elif entry.node_port and not NODE_PORTS[0] <= entry.node_port <= NODE_PORTS[1]:
            why = (
                f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[1]}"
            )
            yield invalid(f"{here}.nodePort", entry.node_port, why)
    for index in repeats(entry.name or index for index, entry in enumerate(ports)):
        yield duplicate(f"{path}[{index}].name", ports[index].name)
    for index in repeats((entry.protocol, entry.port) for entry in ports):
        yield duplicate(f"{path}[{index}]", {"port": ports[index].port, "protocol": ports[index].protocol})
    for index in repeats(
        (entry.protocol, entry.node_port) if entry.node_port else index for index, entry in enumerate(ports)
    ):
        yield duplicate(f"{path}[{index}].nodePort", ports[index].node_port)


def _target_of_headless(entry: ServicePort, path: str, *, headless: bool) -> Faults:
    """Nothing forwards for a headless service, so its port can't differ from the pods' own."""
    target = entry.target_port
    if headless and target.WhichOneof("kind") == "number_value" and target.number_value != entry.port:
        yield invalid(path, plain(target), "must be equal to the value of 'port' when clusterIP = None")


def _addresses(spec: ServiceSpec, *, headless: bool, external: bool) -> Faults:
    if external:
        if spec.cluster_ip:
            yield forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'")
        return
    if spec.cluster_ips and spec.cluster_ip != spec.cluster_ips[0]:
        yield invalid("spec.clusterIPs", list(spec.cluster_ips), "first value must match `clusterIP`")
    for index, address in enumerate(spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])):
        here = f"spec.clusterIPs[{index}]"
        if address == HEADLESS:
            if len(spec.cluster_ips) > 1:
                yield invalid(here, address, "'None' must be the first and only value")
        else:
            yield from named(names.ip_address, here, address)
    for index, family in enumerate(spec.ip_families):
        if family not in _FAMILIES:
            yield not_supported(f"spec.ipFamilies[{index}]", family, _FAMILIES)
    for index in repeats(spec.ip_families):
        yield duplicate(f"spec.ipFamilies[{index}]", spec.ip_families[index])
    if spec.HasField("ip_family_policy"):
        yield from one_of("spec.ipFamilyPolicy", spec.ip_family_policy, _FAMILY_POLICIES)
    if not headless:
        yield from _families_match(spec)


def _families_match(spec: ServiceSpec) -> Faults:
    for index, (address, family) in enumerate(zip(spec.cluster_ips, spec.ip_families, strict=False)):
        if not names.ip_address(address) and (":" in address) != (family == "IPv6"):
            yield invalid(
                f"spec.clusterIPs[{index}]",
                address,
                f"expected an {family} value as indicated by `ipFamilies[{index}]`",
            )


def _affinity(spec: ServiceSpec) -> Faults:
    yield from one_of("spec.sessionAffinity", spec.session_affinity, ["ClientIP", "None"])
    config = spec.session_affinity_config
    if spec.session_affinity == "ClientIP":
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        if not config.client_ip.HasField("timeout_seconds"):
            yield required(path)
        else:
            yield from within(path, config.client_ip.timeout_seconds, 1, _LONGEST_AFFINITY)
    elif spec.HasField("session_affinity_config"):
        why = "must not be set when session affinity is None"
        yield forbidden("spec.sessionAffinityConfig", why)


def _traffic(spec: ServiceSpec) -> Faults:
    exposed = spec.type in _WITH_NODE_PORTS or bool(spec.external_ips)
    path = "spec.externalTrafficPolicy"
    if spec.external_traffic_policy and not exposed:
        yield invalid(path, spec.external_traffic_policy, "may only be set for externally-accessible services")
    elif spec.external_traffic_policy:
        yield from one_of(path, spec.external_traffic_policy, _TRAFFIC_POLICIES)
    if spec.HasField("internal_traffic_policy"):
        yield from one_of("spec.internalTrafficPolicy", spec.internal_traffic_policy, _TRAFFIC_POLICIES)
    if spec.HasField("traffic_distribution"):
        yield from one_of("spec.trafficDistribution", spec.traffic_distribution, _DISTRIBUTIONS)


def _routable(path: str, address: str) -> Faults:
    faults = list(named(names.ip_address, path, address))
    yield from faults
    if faults:
        return
    parsed = ipaddress.ip_address(address)
    for unfit, what in (
        (parsed.is_unspecified, f"may not be unspecified ({address})"),
        (parsed.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (parsed.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
    ):
        if unfit:
            yield invalid(path, address, what)
