"""Services: each rule as one object and the faults it must draw."""

from __future__ import annotations

import pytest

from orchestrator.api.v1 import Service
from orchestrator.api.validation import validate_update
from tests.unit.api.validation_objects import LABEL_WORDS, Json, faults, make


def service(**spec: object) -> Json:
    return {"spec": {"ports": [{"port": 80}], **spec}}


SERVICES: dict[str, tuple[Json, list[str]]] = {
    "good": (service(selector={"app": "web"}), []),
    "no ports": (service(ports=[]), ["spec.ports: Required value"]),
    "headless without ports": (service(ports=[], clusterIP="None"), []),
    "two ports": (service(ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}]), []),
    "two ports without names": (
        service(ports=[{"name": "a", "port": 80}, {"port": 81}]),
        ["spec.ports[1].name: Required value"],
    ),
    "port name twice": (
        service(ports=[{"name": "a", "port": 80}, {"name": "a", "port": 81}]),
        ['spec.ports[1].name: Duplicate value: "a"'],
    ),
    "port twice": (
        service(ports=[{"name": "a", "port": 80}, {"name": "b", "port": 80}]),
        ['spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}'],
    ),
    "port of two protocols": (
        service(ports=[{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]),
        [],
    ),
    "port range": (
        service(ports=[{"port": 65536, "targetPort": 80}]),
        ["spec.ports[0].port: Invalid value: 65536: must be between 1 and 65535, inclusive"],
    ),
    "target port": (
        service(ports=[{"port": 80, "targetPort": "no_name"}]),
        [
            'spec.ports[0].targetPort: Invalid value: "no_name": must contain only alpha-numeric characters (a-z, '
            "0-9), and hyphens (-)"
        ],
    ),
    "protocol": (
        service(ports=[{"port": 80, "protocol": "HTTP"}]),
        ['spec.ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"'],
    ),
    "type": (
        service(type="Public"),
        [
            'spec.type: Unsupported value: "Public": supported values: "ClusterIP", "ExternalName", "LoadBalancer", '
            '"NodePort"'
        ],
    ),
    "node port": (service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]), []),
    "node port out of range": (
        service(type="NodePort", ports=[{"port": 80, "nodePort": 80}]),
        [
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid "
            "ports is 30000-32767"
        ],
    ),
    "node port without its type": (
        service(ports=[{"port": 80, "nodePort": 30080}]),
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ),
    "node port twice": (
        service(
            type="NodePort",
            ports=[{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30080}],
        ),
        ["spec.ports[1].nodePort: Duplicate value: 30080"],
    ),
    "address": (
        service(clusterIP="10.96.0"),
        ['spec.clusterIPs[0]: Invalid value: "10.96.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'],
    ),
    "addresses that differ": (
        service(clusterIP="10.96.0.1", clusterIPs=["10.96.0.2"]),
        ['spec.clusterIPs: Invalid value: ["10.96.0.2"]: first value must match `clusterIP`'],
    ),
    "headless node port": (
        service(type="NodePort", clusterIP="None"),
        ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
    ),
    "headless with another target": (
        service(clusterIP="None", ports=[{"port": 80, "targetPort": 8080}]),
        [
            "spec.ports[0].targetPort: Invalid value: 8080: must be equal to the value of 'port' when clusterIP = None",
        ],
    ),
    "selector": (service(selector={"app": "a b"}), [f'spec.selector: Invalid value: "a b": {LABEL_WORDS}']),
    "affinity": (
        service(sessionAffinity="Cookie"),
        ['spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"'],
    ),
    "affinity time": (
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
        [
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be between 1 and 86400, "
            "inclusive"
        ],
    ),
    "external name": (service(type="ExternalName", ports=[], externalName="db.test"), []),
    "external name missing": (service(type="ExternalName", ports=[]), ["spec.externalName: Required value"]),
    "external name with an address": (
        service(type="ExternalName", ports=[], externalName="db.test", clusterIP="10.96.0.9"),
        ["spec.clusterIPs: Forbidden: may not be set when `type` is 'ExternalName'"],
    ),
    "traffic from outside, inside": (
        service(externalTrafficPolicy="Local"),
        [
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
        ],
    ),
    "family": (
        service(ipFamilies=["IPv5"]),
        ['spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"'],
    ),
    "not headless alone": (
        service(clusterIP="None", clusterIPs=["None", "10.96.0.9"], ipFamilies=["IPv4"]),
        ["spec.clusterIPs[0]: Invalid value: \"None\": 'None' must be the first and only value"],
    ),
    "family of an address": (
        service(clusterIP="10.96.0.9", ipFamilies=["IPv6"]),
        [
            'spec.clusterIPs[0]: Invalid value: "10.96.0.9": expected an IPv6 value as indicated by `ipFamilies[0]`',
        ],
    ),
    "family twice": (
        service(ipFamilies=["IPv4", "IPv4"]),
        ['spec.ipFamilies[1]: Duplicate value: "IPv4"'],
    ),
    "source ranges": (
        service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", "10.0.0.1"]),
        [
            'spec.loadBalancerSourceRanges[1]: Invalid value: "10.0.0.1": must be a valid CIDR value, (e.g. '
            "10.9.8.0/24 or 2001:db8::/64)"
        ],
    ),
    "balancer of another type": (
        service(loadBalancerClass="a"),
        ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
    ),
    "distribution": (
        service(trafficDistribution="Far"),
        [
            'spec.trafficDistribution: Unsupported value: "Far": supported values: "PreferClose", "PreferSameNode", '
            '"PreferSameZone"'
        ],
    ),
    "external address": (
        service(externalIPs=["x"]),
        [
            'spec.externalIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
        ],
    ),
    "loopback": (
        service(externalIPs=["127.0.0.1"]),
        [
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
        ],
    ),
}


@pytest.mark.parametrize(("data", "expected"), SERVICES.values(), ids=SERVICES)
def test_service(data: Json, expected: list[str]) -> None:
    assert faults(Service, data) == expected


def test_the_name_of_a_service_starts_with_a_letter() -> None:
    found = faults(Service, {**service(), "metadata": {"name": "1st", "namespace": "default"}})
    assert len(found) == 1
    assert found[0].startswith('metadata.name: Invalid value: "1st": a DNS-1035 label must consist of')


SERVICE_UPDATES: dict[str, tuple[Json, Json, list[str]]] = {
    "nothing": (service(clusterIP="10.96.0.9"), service(clusterIP="10.96.0.9"), []),
    "an address given": (service(), service(clusterIP="10.96.0.9"), []),
    "another address": (
        service(clusterIP="10.96.0.9"),
        service(clusterIP="10.96.0.8"),
        ['spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set'],
    ),
    "no address": (
        service(clusterIP="10.96.0.9"),
        service(clusterIP="None"),
        ['spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set'],
    ),
    "another family": (
        service(clusterIP="None", ipFamilies=["IPv4"]),
        service(clusterIP="None", ipFamilies=["IPv6"]),
        ['spec.ipFamilies[0]: Invalid value: ["IPv6"]: may not change once set'],
    ),
    "a name instead": (service(clusterIP="10.96.0.9"), service(type="ExternalName", externalName="a.test"), []),
    "type": (service(clusterIP="10.96.0.9"), service(clusterIP="10.96.0.9", type="NodePort"), []),
}


@pytest.mark.parametrize(("old", "new", "expected"), SERVICE_UPDATES.values(), ids=SERVICE_UPDATES)
def test_service_update(old: Json, new: Json, expected: list[str]) -> None:
    assert [str(fault) for fault in validate_update(make(Service, new), make(Service, old))] == expected
