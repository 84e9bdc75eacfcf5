"""Nodes, slices, leases, events and the small kinds: each rule as one object and the faults it must draw."""

from __future__ import annotations

import pytest

from orchestrator.api.v1 import Binding, EndpointSlice, Event, Lease, Namespace, Node, Scale, ServiceAccount
from orchestrator.api.validation import validate_update
from tests.unit.api.validation_objects import LABEL_WORDS, Json, faults, make


def node(**data: object) -> Json:
    return {"metadata": {"name": "n1"}, **data}


NODES: dict[str, tuple[Json, list[str]]] = {
    "good": (
        node(
            spec={"podCIDR": "10.244.0.0/24", "taints": [{"key": "a", "effect": "NoSchedule"}]},
            status={"capacity": {"cpu": "2", "example.com/gpu": "1"}},
        ),
        [],
    ),
    "taint": (
        node(spec={"taints": [{"value": "b c", "effect": "Never"}]}),
        [
            "spec.taints[0].key: Required value",
            f'spec.taints[0].value: Invalid value: "b c": {LABEL_WORDS}',
            'spec.taints[0].effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", '
            '"PreferNoSchedule"',
        ],
    ),
    "taint twice": (
        node(
            spec={"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}
        ),
        ['spec.taints[1]: Duplicate value: {"key":"a","effect":"NoSchedule"}'],
    ),
    "pod addresses": (
        node(spec={"podCIDR": "10.244.0.0"}),
        [
            'spec.podCIDRs[0]: Invalid value: "10.244.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or '
            "2001:db8::/64)"
        ],
    ),
    "capacity": (
        node(status={"capacity": {"cpu": "-1"}, "allocatable": {"cpu": "0"}}),
        ['status.capacity[cpu]: Invalid value: "-1": must be greater than or equal to 0'],
    ),
    "address twice": (
        node(
            status={
                "addresses": [
                    {"type": "InternalIP", "address": "10.0.0.1"},
                    {"type": "InternalIP", "address": "10.0.0.1"},
                ]
            }
        ),
        ['status.addresses[1]: Duplicate value: {"type":"InternalIP","address":"10.0.0.1"}'],
    ),
}


@pytest.mark.parametrize(("data", "expected"), NODES.values(), ids=NODES)
def test_node(data: Json, expected: list[str]) -> None:
    assert faults(Node, data) == expected


def test_a_node_keeps_its_pod_addresses() -> None:
    bare = make(Node, node())
    given = make(Node, node(spec={"podCIDR": "10.244.0.0/24", "providerID": "a://b"}))
    other = make(Node, node(spec={"podCIDR": "10.244.1.0/24"}))
    assert validate_update(given, bare) == []
    assert validate_update(given, given) == []
    assert [str(fault) for fault in validate_update(other, given)] == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
        'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
    ]


SLICES: dict[str, tuple[Json, list[str]]] = {
    "good": (
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.244.0.5"], "nodeName": "n1"}],
            "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        },
        [],
    ),
    "no type": ({}, ["addressType: Required value"]),
    "type": (
        {"addressType": "IP"},
        ['addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"'],
    ),
    "no address": (
        {"addressType": "IPv4", "endpoints": [{}]},
        ["endpoints[0].addresses: Required value: must contain at least 1 address"],
    ),
    "address of another family": (
        {"addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}]},
        ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address'],
    ),
    "address of this machine": (
        {"addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]},
        [
            'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, '
            "::1/128)"
        ],
    ),
    "names": ({"addressType": "FQDN", "endpoints": [{"addresses": ["a.test"]}]}, []),
    "endpoint of an old form": (
        {
            "addressType": "FQDN",
            "endpoints": [{"addresses": ["a.test"], "deprecatedTopology": {"zone": "x"}}],
        },
        [
            'endpoints[0].deprecatedTopology: Invalid value: {"zone":"x"}: may not be set (use `nodeName` and `zone`)',
        ],
    ),
    "too many addresses": (
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"] * 101}]},
        ["endpoints[0].addresses: Too many: 101: must have at most 100 items"],
    ),
    "too many ports": (
        {"addressType": "IPv4", "ports": [{}] * 20001},
        ["ports: Too many: 20001: must have at most 20000 items"],
    ),
    "port twice": (
        {"addressType": "IPv4", "ports": [{"port": 1}, {"port": 2}]},
        ['ports[1].name: Duplicate value: ""'],
    ),
    "too many endpoints": (
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}] * 1001},
        ["endpoints: Too many: 1001: must have at most 1000 items"],
    ),
}


@pytest.mark.parametrize(("data", "expected"), SLICES.values(), ids=SLICES)
def test_endpoint_slice(data: Json, expected: list[str]) -> None:
    assert faults(EndpointSlice, data) == expected


def test_names_in_an_endpoint_slice() -> None:
    data: Json = {
        "addressType": "FQDN",
        "endpoints": [{"addresses": ["A"], "hostname": "a.b", "nodeName": "N"}],
        "ports": [{"name": "a.b", "appProtocol": "/"}],
    }
    assert sorted({fault.split(":")[0] for fault in faults(EndpointSlice, data)}) == [
        "endpoints[0].addresses[0]",
        "endpoints[0].hostname",
        "endpoints[0].nodeName",
        "ports[0].appProtocol",
        "ports[0].name",
    ]


def test_the_family_of_a_slice_never_changes() -> None:
    old, new = make(EndpointSlice, {"addressType": "IPv4"}), make(EndpointSlice, {"addressType": "IPv6"})
    assert [str(fault) for fault in validate_update(new, old)] == [
        'addressType: Invalid value: "IPv6": field is immutable'
    ]


def test_lease() -> None:
    assert faults(Lease, {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0}}) == []
    assert faults(Lease, {}) == []
    assert faults(Lease, {"spec": {"holderIdentity": "", "leaseDurationSeconds": 0, "leaseTransitions": -1}}) == [
        "spec.holderIdentity: Required value: must not be empty",
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
    ]


EVENTS: dict[str, tuple[Json, list[str]]] = {
    "good": ({"involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"}}, []),
    "about a node": ({"involvedObject": {"kind": "Node", "name": "n1"}}, []),
    "about another namespace": (
        {"involvedObject": {"kind": "Pod", "name": "a", "namespace": "other"}},
        ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
    ),
    "newer form": (
        {"eventTime": "2026-01-01T00:00:00Z", "message": "x" * 1025},
        [
            "reportingController: Required value",
            "reason: Required value",
            "message: Too long: may not be more than 1024 bytes",
            'type: Invalid value: "": has invalid value',
        ],
    ),
}


@pytest.mark.parametrize(("data", "expected"), EVENTS.values(), ids=EVENTS)
def test_event(data: Json, expected: list[str]) -> None:
    assert faults(Event, data) == expected


def test_an_event_about_a_node_is_in_a_namespace_everybody_has() -> None:
    data: Json = {"metadata": {"name": "a", "namespace": "mine"}, "involvedObject": {"kind": "Node", "name": "n1"}}
    assert faults(Event, data) == ['involvedObject.namespace: Invalid value: "": does not match event.namespace']


def test_the_rest() -> None:
    assert faults(ServiceAccount, {}) == []
    assert faults(Namespace, {"metadata": {"name": "a"}, "spec": {"finalizers": ["mine"]}}) == [
        'spec.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'
    ]
    assert faults(Scale, {"spec": {"replicas": -1}}) == [
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    ]
    assert faults(Binding, {"target": {"kind": "Node", "name": "n1"}}) == []
    assert faults(Binding, {"target": {"kind": "Pod"}}) == [
        'target.kind: Unsupported value: "Pod": supported values: "<empty>", "Node"',
        "target.name: Required value",
    ]
