"""EndpointSlices: addresses of one family, behind ports with distinct names."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import duplicate, invalid, required, too_many
from orchestrator.api.v1 import Endpoint, EndpointSlice
from orchestrator.api.validation.rules import PROTOCOLS, Faults, immutable, named, one_of, port, reachable, repeats

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
ENDPOINTS_LIMIT = 1000
ADDRESSES_LIMIT = 100
PORTS_LIMIT = 20000


def endpoint_slice(obj: EndpointSlice) -> Faults:
    yield from one_of("addressType", obj.address_type, ADDRESS_TYPES)
    if len(obj.endpoints) > ENDPOINTS_LIMIT:
        yield too_many("endpoints", len(obj.endpoints), ENDPOINTS_LIMIT)
    else:
        for index, endpoint in enumerate(obj.endpoints):
            yield from _endpoint(endpoint, f"endpoints[{index}]", obj.address_type)
    yield from _ports(obj)


def endpoint_slice_update(new: EndpointSlice, old: EndpointSlice) -> Faults:
    yield from immutable("addressType", new.address_type, old.address_type)


def _endpoint(endpoint: Endpoint, path: str, address_type: str) -> Faults:
    if not endpoint.addresses:
        yield required(f"{path}.addresses", "must contain at least 1 address")
    elif len(endpoint.addresses) > ADDRESSES_LIMIT:
        yield too_many(f"{path}.addresses", len(endpoint.addresses), ADDRESSES_LIMIT)
    for index, address in enumerate(endpoint.addresses):
        here = f"{path}.addresses[{index}]"
        if address_type == "FQDN":
            yield from named(names.subdomain, here, address)
        elif address_type in ADDRESS_TYPES:
            yield from _address(here, address, address_type)
    if endpoint.HasField("node_name"):
        yield from named(names.subdomain, f"{path}.nodeName", endpoint.node_name)
    if endpoint.HasField("hostname"):
        yield from named(names.label, f"{path}.hostname", endpoint.hostname)
    if endpoint.deprecated_topology:
        why = "may not be set (use `nodeName` and `zone`)"
        yield invalid(f"{path}.deprecatedTopology", dict(endpoint.deprecated_topology), why)


def _address(path: str, address: str, address_type: str) -> Faults:
    if names.ip_address(address) or (":" in address) != (address_type == "IPv6"):
        yield invalid(path, address, f"must be a valid {address_type} address")
        return
    yield from reachable(path, address)


def _ports(obj: EndpointSlice) -> Faults:
    if len(obj.ports) > PORTS_LIMIT:
        yield too_many("ports", len(obj.ports), PORTS_LIMIT)
        return
    for index, entry in enumerate(obj.ports):
        here = f"ports[{index}]"
        if entry.name:
            yield from named(names.label, f"{here}.name", entry.name)
        yield from one_of(f"{here}.protocol", entry.protocol, PROTOCOLS)
        if entry.HasField("port"):
            yield from port(f"{here}.port", entry.port)
        if entry.HasField("app_protocol"):
            yield from named(names.qualified_name, f"{here}.appProtocol", entry.app_protocol)
    for index in repeats(entry.name for entry in obj.ports):
        yield duplicate(f"ports[{index}].name", obj.ports[index].name)
