"""Validation of ingresses, policies, roles and certificate requests: the smallest object, changed, and the faults."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.changed_objects import Json, faults

PATH = "spec/rules"


def path(**fields: Any) -> Json:
    backend = {"service": {"name": "web", "port": {"name": "http"}}}
    return {PATH: [{"host": "a.test", "http": {"paths": [{"backend": backend, **fields}]}}]}


OTHERS: dict[str, tuple[str, Json, list[str]]] = {
    "ingress to nowhere": (
        "ing",
        {"spec": {}},
        ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"],
    ),
    "ingress": ("ing", path(path="/a", pathType="Prefix"), []),
    "ingress of an address": (
        "ing",
        {PATH: [{"host": "10.0.0.1", "http": {}}]},
        [
            'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
            "spec.rules[0].http.paths: Required value",
        ],
    ),
    "path of no type": (
        "ing",
        path(path="/a"),
        ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
    ),
    "path that leaves": (
        "ing",
        path(path="/a//b/..", pathType="Exact"),
        [
            "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b/..\": must not contain '//'",
            "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b/..\": cannot end with '/..'",
        ],
    ),
    "backends": (
        "ing",
        {
            "spec/defaultBackend": {
                "service": {"name": "web", "port": {"name": "a", "number": 1}},
            },
            PATH: [{"http": {"paths": [{"pathType": "Some", "backend": {"service": {"name": "web"}}}]}}],
        },
        [
            'spec.defaultBackend: Invalid value: "": cannot set both port name & port number',
            'spec.rules[0].http.paths[0].pathType: Unsupported value: "Some": supported values: "Exact", '
            '"ImplementationSpecific", "Prefix"',
            "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
        ],
    ),
    "ingress class": (
        "ingressclasses",
        {"spec/controller": "mine", "spec/parameters": {"scope": "Namespace"}},
        [
            'spec.controller: Invalid value: "mine": must be a domain-prefixed path (such as "acme.io/foo")',
            "spec.parameters.kind: Required value",
            "spec.parameters.name: Required value",
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ],
    ),
    "network policy": (
        "netpol",
        {
            "spec/ingress": [
                {
                    "ports": [{"port": 80, "endPort": 79}, {"endPort": 5}, {"port": "http", "endPort": 5}],
                    "from": [{}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}, "podSelector": {}}],
                }
            ],
            "spec/policyTypes": ["Both"],
        },
        [
            "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`",
            "spec.ingress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is not specified",
            "spec.ingress[0].ports[2].endPort: Invalid value: 5: may not be specified when `port` is non-numeric",
            "spec.ingress[0].from[0]: Required value: must specify a peer",
            "spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer",
            'spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "11.0.0.0/8": must be a strict subset of `cidr`',
            'spec.policyTypes[0]: Unsupported value: "Both": supported values: "Egress", "Ingress"',
        ],
    ),
    "endpoints": (
        "ep",
        {"subsets": [{"ports": [{"port": 1}, {"port": 0, "name": "a"}]}, {"addresses": [{"ip": "127.0.0.1"}]}]},
        [
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            "subsets[0].ports[0].name: Required value",
            "subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            'subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, '
            "::1/128)",
        ],
    ),
    "role that allows nothing": (
        "roles",
        {"rules": [{}, {"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]}]},
        [
            "rules[0].verbs: Required value: verbs must contain at least one value",
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[0].resources: Required value: resource rules must supply at least one resource",
            'rules[1].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs',
            'rules[1].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and '
            "non-resource URLs",
        ],
    ),
    "cluster role made of none": (
        "clusterroles",
        {"aggregationRule": {}},
        [
            "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if "
            "aggregationRule is non-nil"
        ],
    ),
    "binding": (
        "clusterrolebindings",
        {
            "roleRef": {"kind": "Role", "name": ""},
            "subjects": [
                {"kind": "ServiceAccount", "name": "a"},
                {"kind": "User", "name": "a", "apiGroup": "mine"},
                {"kind": "Robot", "name": "a"},
            ],
        },
        [
            'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
            "roleRef.name: Required value",
            "subjects[0].namespace: Required value",
            'subjects[1].apiGroup: Unsupported value: "mine": supported values: "rbac.authorization.k8s.io"',
            'subjects[2].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"',
        ],
    ),
    "a role's name may have colons": ("clusterroles", {"metadata/name": "system:node"}, []),
    "request for a certificate": (
        "csr",
        {
            "spec/request": "aGVsbG8=",
            "spec/signerName": "me",
            "spec/usages": ["sing", "client auth", "client auth"],
            "spec/expirationSeconds": 599,
        },
        [
            'spec.request: Invalid value: "hello": PEM block type must be CERTIFICATE REQUEST',
            'spec.signerName: Invalid value: "me": must be a fully qualified domain and path of the form '
            "'example.com/signer-name'",
            'spec.usages[2]: Duplicate value: "client auth"',
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
        ],
    ),
    "runtime class": (
        "runtimeclasses",
        {"handler": "", "overhead": {"podFixed": {"cpu": "-1"}}, "scheduling": {"tolerations": [{"value": "a"}] * 2}},
        [
            "handler: Required value",
            'overhead.podFixed[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            'scheduling.tolerations[0].operator: Invalid value: "": operator must be Exists when `key` is empty, which '
            'means "match all values and all keys"',
            'scheduling.tolerations[1].operator: Invalid value: "": operator must be Exists when `key` is empty, which '
            'means "match all values and all keys"',
            'scheduling.tolerations[1]: Duplicate value: {"value":"a"}',
        ],
    ),
    "pod template": ("podtemplates", {"template/spec": {}}, ["template.spec.containers: Required value"]),
}


@pytest.mark.parametrize(("resource", "changes", "expected"), OTHERS.values(), ids=OTHERS)
def test_others(resource: str, changes: Json, expected: list[str]) -> None:
    found = faults(resource, changes)
    if "spec/usages" in changes:
        assert found.pop(2).startswith('spec.usages[0]: Unsupported value: "sing": supported values: "any", ')
    assert found == expected
