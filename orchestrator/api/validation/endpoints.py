"""Endpoints: subsets with addresses that others can reach, and ports that can be told apart."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.api import names
from orchestrator.api.errors import required
from orchestrator.api.v1 import EndpointAddress, Endpoints, EndpointSubsetPort
from orchestrator.api.validation.rules import PROTOCOLS, Faults, named, one_of, port, reachable


def endpoints(obj: Endpoints) -> Faults:
    for index, subset in enumerate(obj.subsets):
        here = f"subsets[{index}]"
        if not subset.addresses and not subset.not_ready_addresses:
            yield required(here, "must specify `addresses` or `notReadyAddresses`")
        for name, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
            for position, address in enumerate(addresses):
                yield from _address(address, f"{here}.{name}[{position}]")
        yield from _ports(subset.ports, f"{here}.ports")


def _address(address: EndpointAddress, path: str) -> Faults:
    yield from reachable(f"{path}.ip", address.ip)
    if address.hostname:
        yield from named(names.label, f"{path}.hostname", address.hostname)
    if address.HasField("node_name"):
        yield from named(names.subdomain, f"{path}.nodeName", address.node_name)


def _ports(ports: Sequence[EndpointSubsetPort], path: str) -> Faults:
    for index, each in enumerate(ports):
        here = f"{path}[{index}]"
        if each.name:
            yield from named(names.label, f"{here}.name", each.name)
        elif len(ports) > 1:
            yield required(f"{here}.name")
        yield from port(f"{here}.port", each.port)
        yield from one_of(f"{here}.protocol", each.protocol, PROTOCOLS)
        if each.HasField("app_protocol"):
            yield from named(names.qualified_name, f"{here}.appProtocol", each.app_protocol)
