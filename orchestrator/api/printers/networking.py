"""Tables of ingresses, their classes, network policies and endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.api.printing import NONE, Printers, add, age_of, selector, some
from orchestrator.api.v1 import Endpoints, Ingress, IngressClass, NetworkPolicy

PRINTERS: Printers = {}
_ADDRESS_WIDTH = 16


def _ingress(obj: Ingress, now: datetime, wide: bool) -> Sequence[str]:
    hosts = [rule.host for rule in obj.spec.rules if rule.host]
    return (
        obj.metadata.name,
        obj.spec.ingress_class_name if obj.spec.HasField("ingress_class_name") else NONE,
        some(hosts, "*"),
        _address(obj, wide),
        "80, 443" if obj.spec.tls else "80",
        age_of(obj, now),
    )


def _address(obj: Ingress, wide: bool) -> str:
    entrances = sorted({each.ip or each.hostname for each in obj.status.load_balancer.ingress} - {""})
    text = ",".join(entrances)
    return text if wide or len(text) <= _ADDRESS_WIDTH else f"{text[: _ADDRESS_WIDTH - 3]}..."


def _ingress_class(obj: IngressClass, now: datetime, wide: bool) -> Sequence[str]:
    parameters = NONE
    if obj.spec.HasField("parameters"):
        own = obj.spec.parameters
        kind = f"{own.kind}.{own.api_group}" if own.api_group else own.kind
        parameters = f"{kind}/{own.name}"
    return obj.metadata.name, obj.spec.controller, parameters, age_of(obj, now)


def _network_policy(obj: NetworkPolicy, now: datetime, wide: bool) -> Sequence[str]:
    return obj.metadata.name, selector(obj.spec.pod_selector), age_of(obj, now)


def _endpoints(obj: Endpoints, now: datetime, wide: bool) -> Sequence[str]:
    found = []
    for subset in obj.subsets:
        ports = [str(port.port) for port in subset.ports]
        for address in subset.addresses:
            host = f"[{address.ip}]" if ":" in address.ip else address.ip
            found += [f"{host}:{port}" for port in ports] if ports else [address.ip]
    return obj.metadata.name, some(found, NONE), age_of(obj, now)


add(
    PRINTERS,
    "ingresses.networking.k8s.io",
    ("NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"),
    _ingress,
)
add(
    PRINTERS,
    "ingressclasses.networking.k8s.io",
    ("NAME", "CONTROLLER", "PARAMETERS", "AGE"),
    _ingress_class,
)
add(PRINTERS, "networkpolicies.networking.k8s.io", ("NAME", "POD-SELECTOR", "AGE"), _network_policy)
add(PRINTERS, "endpoints", ("NAME", "ENDPOINTS", "AGE"), _endpoints)
