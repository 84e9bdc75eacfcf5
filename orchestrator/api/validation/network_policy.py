"""Network policies: ports that exist, ranges that are ranges, and peers of one kind."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, not_supported, required
from orchestrator.api.v1 import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.rules import PROTOCOLS, Faults, named, port, port_or_name

_TYPES = ("Egress", "Ingress")


def network_policy(obj: NetworkPolicy) -> Faults:
    spec = obj.spec
    yield from label_selector(spec.pod_selector, "spec.podSelector")
    for index, entry in enumerate(spec.ingress):
        here = f"spec.ingress[{index}]"
        yield from _ports(entry.ports, f"{here}.ports")
        yield from _peers(getattr(entry, "from"), f"{here}.from")
    for index, rule in enumerate(spec.egress):
        here = f"spec.egress[{index}]"
        yield from _ports(rule.ports, f"{here}.ports")
        yield from _peers(rule.to, f"{here}.to")
    if len(spec.policy_types) > len(_TYPES):
        yield invalid("spec.policyTypes", list(spec.policy_types), "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(spec.policy_types):
        if kind not in _TYPES:
            yield not_supported(f"spec.policyTypes[{index}]", kind, _TYPES)


def _ports(ports: Sequence[NetworkPolicyPort], path: str) -> Faults:
    for index, each in enumerate(ports):
        here = f"{path}[{index}]"
        if each.HasField("protocol") and each.protocol not in PROTOCOLS:
            yield not_supported(f"{here}.protocol", each.protocol, PROTOCOLS)
        yield from _range(each, here)


def _range(each: NetworkPolicyPort, path: str) -> Faults:
    end = each.end_port if each.HasField("end_port") else None
    here = f"{path}.endPort"
    if not each.HasField("port"):
        if end is not None:
            yield invalid(here, end, "may not be specified when `port` is not specified")
        return
    yield from port_or_name(f"{path}.port", each.port)
    if end is None:
        return
    if each.port.WhichOneof("kind") != "number_value":
        yield invalid(here, end, "may not be specified when `port` is non-numeric")
        return
    if end < each.port.number_value:
        yield invalid(here, end, "must be greater than or equal to `port`")
    yield from port(here, end)


def _peers(peers: Sequence[NetworkPolicyPeer], path: str) -> Faults:
    for index, peer in enumerate(peers):
        here = f"{path}[{index}]"
        given = [field.name for field, _ in peer.ListFields()]
        if not given:
            yield required(here, "must specify a peer")
        elif "ip_block" in given and len(given) > 1:
            yield forbidden(here, "may not specify both ipBlock and another peer")
        if peer.HasField("pod_selector"):
            yield from label_selector(peer.pod_selector, f"{here}.podSelector")
        if peer.HasField("namespace_selector"):
            yield from label_selector(peer.namespace_selector, f"{here}.namespaceSelector")
        if peer.HasField("ip_block"):
            yield from _block(peer.ip_block, f"{here}.ipBlock")


def _block(block: IPBlock, path: str) -> Faults:
    if not block.cidr:
        yield required(f"{path}.cidr")
        return
    faults = list(named(names.network, f"{path}.cidr", block.cidr))
    yield from faults
    for index, inner in enumerate(getattr(block, "except")):
        here = f"{path}.except[{index}]"
        inner_faults = list(named(names.network, here, inner))
        yield from inner_faults
        if not faults and not inner_faults and not _strictly_within(inner, block.cidr):
            yield invalid(here, inner, "must be a strict subset of `cidr`")


def _strictly_within(inner: str, outer: str) -> bool:
    one, other = ipaddress.ip_network(inner, strict=False), ipaddress.ip_network(outer, strict=False)
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one != other and one.subnet_of(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one != other and one.subnet_of(other)
    return False
