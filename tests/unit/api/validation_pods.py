"""A pod with a bit of everything, and ways to break it."""

from __future__ import annotations

import copy

from google.protobuf.json_format import ParseDict

from orchestrator.api.defaults import set_defaults
from orchestrator.api.v1 import Pod
from orchestrator.api.validation import validate

Json = dict[str, object]

GOOD: Json = {
    "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "registry.test/web:v1",
                "ports": [{"name": "http", "containerPort": 80}],
                "env": [
                    {"name": "A", "value": "b"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                    {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                ],
                "envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "a/b"}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"port": "http"}},
                "readinessProbe": {"exec": {"command": ["true"]}},
                "lifecycle": {"preStop": {"sleep": {"seconds": "5"}}},
                "securityContext": {"runAsUser": "1000", "allowPrivilegeEscalation": False},
            }
        ],
        "initContainers": [{"name": "init", "image": "registry.test/init:v1"}],
        "volumes": [
            {"name": "data"},
            {"name": "host", "hostPath": {"path": "/srv", "type": "Directory"}},
            {"name": "conf", "configMap": {"name": "c", "items": [{"key": "k", "path": "a/b"}]}},
            {
                "name": "mix",
                "projected": {
                    "sources": [
                        {"secret": {"name": "s", "items": [{"key": "k", "path": "x"}]}},
                        {"downwardAPI": {"items": [{"path": "y", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    ]
                },
            },
        ],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a.test"]}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}]
                }
            },
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}
                ]
            },
        },
    },
}


def pod(data: Json) -> Pod:
    obj = ParseDict(data, Pod())
    set_defaults(obj)
    return obj


def changed(path: str, value: object) -> Json:
    """The good pod with one value set; a path is keys and positions, joined by dots: containers.0.image."""
    data = copy.deepcopy(GOOD)
    place: object = data["spec"]
    *parents, last = path.split(".")
    for part in parents:
        if isinstance(place, list):
            place = place[int(part)]
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
    if isinstance(place, list):
        place[int(last) :] = [value]
    elif isinstance(place, dict):
        place[last] = value
    return data


def faults(data: Json) -> list[str]:
    return [str(fault) for fault in validate(pod(data))]
