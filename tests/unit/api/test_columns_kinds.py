"""Tables of the later kinds: the cells that say something."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.api.kinds import find_kind
from tests.unit.api.test_columns import ago, row

Json = dict[str, Any]
POD: Json = {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}
TEMPLATE: Json = {"metadata": {"labels": {"x": "y"}}, "spec": POD}
WIDE: Json = {"CONTAINERS": "a,b", "IMAGES": "i,j"}


def target(**fields: Any) -> Json:
    return {"target": {"type": "Value", **fields}}


METRICS = [
    {"type": "Resource", "resource": {"name": "cpu", **target(averageUtilization=80)}},
    {"type": "Pods", "pods": {"metric": {"name": "m"}, **target(averageValue="5")}},
    {"type": "External", "external": {"metric": {"name": "q"}, **target(value="9")}},
]
READ = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}}]

ROWS: dict[str, tuple[str, Json, Json]] = {
    "controller": (
        "rc",
        {"spec": {"replicas": 3, "selector": {"b": "2", "a": "1"}, "template": TEMPLATE}, "status": {"replicas": 2}},
        {"DESIRED": "3", "CURRENT": "2", "READY": "0", "AGE": "5m", "SELECTOR": "a=1,b=2", **WIDE},
    ),
    "stateful set": (
        "sts",
        {"spec": {"replicas": 3, "template": TEMPLATE}, "status": {"readyReplicas": 1}},
        {"READY": "1/3", "AGE": "5m", **WIDE},
    ),
    "daemon set": (
        "ds",
        {"spec": {"template": TEMPLATE}, "status": {"desiredNumberScheduled": 4, "numberAvailable": 2}},
        {"DESIRED": "4", "AVAILABLE": "2", "NODE SELECTOR": "<none>", "SELECTOR": "<none>", **WIDE},
    ),
    "revision": (
        "controllerrevisions",
        {
            "metadata": {
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": True}
                ]
            },
            "revision": 7,
        },
        {"CONTROLLER": "daemonset.apps/d", "REVISION": "7"},
    ),
    "pod template": ("podtemplates", {"template": TEMPLATE}, {**WIDE, "POD LABELS": "x=y"}),
    "job that runs": (
        "job",
        {"spec": {"completions": 3}, "status": {"succeeded": 1, "startTime": ago(60)}},
        {"STATUS": "Running", "COMPLETIONS": "1/3", "DURATION": "60s"},
    ),
    "job that is done": (
        "job",
        {
            "spec": {"parallelism": 4},
            "status": {
                "conditions": [{"type": "Complete", "status": "True"}],
                "startTime": ago(200),
                "completionTime": ago(100),
            },
        },
        {"STATUS": "Complete", "COMPLETIONS": "0/1 of 4", "DURATION": "100s"},
    ),
    "job that is on its way out": (
        "job",
        {"metadata": {"deletionTimestamp": ago(1)}, "spec": {}},
        {"STATUS": "Terminating", "COMPLETIONS": "0/1", "DURATION": ""},
    ),
    "cron job": (
        "cj",
        {
            "spec": {"schedule": "@daily", "suspend": False, "jobTemplate": {"spec": {"template": TEMPLATE}}},
            "status": {"active": [{}], "lastScheduleTime": ago(30)},
        },
        {
            "SCHEDULE": "@daily",
            "TIMEZONE": "<none>",
            "SUSPEND": "False",
            "ACTIVE": "1",
            "LAST SCHEDULE": "30s",
            **WIDE,
        },
    ),
    "autoscaler": (
        "hpa",
        {
            "spec": {
                "maxReplicas": 9,
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "metrics": METRICS,
            },
            "status": {"currentMetrics": READ, "currentReplicas": 2},
        },
        {
            "REFERENCE": "Deployment/web",
            "TARGETS": "cpu: 12%/80%, <unknown>/5 + 1 more...",
            "MINPODS": "<unset>",
            "MAXPODS": "9",
            "REPLICAS": "2",
        },
    ),
    "budget": (
        "pdb",
        {"spec": {"maxUnavailable": "20%"}, "status": {"disruptionsAllowed": 1}},
        {"MIN AVAILABLE": "N/A", "MAX UNAVAILABLE": "20%", "ALLOWED DISRUPTIONS": "1"},
    ),
    "priority": (
        "pc",
        {"value": -5, "globalDefault": True, "preemptionPolicy": "Never"},
        {"VALUE": "-5", "GLOBAL-DEFAULT": "true", "PREEMPTIONPOLICY": "Never"},
    ),
    "quota": (
        "quota",
        {"status": {"hard": {"pods": "9", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "3"}}},
        {"REQUEST": "cpu: 0/1, pods: 3/9", "LIMIT": "limits.cpu: 0/2"},
    ),
    "limits": ("limits", {}, {"CREATED AT": ago(300)}),
    "volume": (
        "pv",
        {
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": "a", "name": "b"},
                "storageClassName": "fast",
            },
            "status": {"phase": "Bound"},
        },
        {
            "CAPACITY": "1Gi",
            "ACCESS MODES": "RWO,RWX",
            "RECLAIM POLICY": "Retain",
            "STATUS": "Bound",
            "CLAIM": "a/b",
            "STORAGECLASS": "fast",
            "VOLUMEATTRIBUTESCLASS": "<unset>",
            "VOLUMEMODE": "<unset>",
        },
    ),
    "claim that waits": (
        "pvc",
        {"spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Pending"}},
        {"STATUS": "Pending", "VOLUME": "", "CAPACITY": "", "ACCESS MODES": ""},
    ),
    "claim that is bound": (
        "pvc",
        {
            "spec": {"volumeName": "pv", "volumeMode": "Block"},
            "status": {"phase": "Bound", "accessModes": ["ReadOnlyMany"], "capacity": {"storage": "5Gi"}},
        },
        {"VOLUME": "pv", "CAPACITY": "5Gi", "ACCESS MODES": "ROX", "VOLUMEMODE": "Block"},
    ),
    "storage class": (
        "sc",
        {
            "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "p",
        },
        {"NAME": "x (default)", "PROVISIONER": "p", "RECLAIMPOLICY": "Delete", "ALLOWVOLUMEEXPANSION": "false"},
    ),
    "driver": (
        "csidrivers",
        {
            "spec": {
                "attachRequired": False,
                "volumeLifecycleModes": ["Persistent"],
                "tokenRequests": [{"audience": "a"}],
            }
        },
        {"ATTACHREQUIRED": "false", "TOKENREQUESTS": "a", "MODES": "Persistent"},
    ),
    "capacity": (
        "csistoragecapacities",
        {"storageClassName": "fast"},
        {"STORAGECLASSNAME": "fast", "CAPACITY": "<unset>"},
    ),
    "ingress": (
        "ing",
        {
            "spec": {"tls": [{}], "rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}},
        },
        {"CLASS": "<none>", "HOSTS": "a,b,c + 1 more...", "ADDRESS": "10.0.0.1", "PORTS": "80, 443"},
    ),
    "ingress class": (
        "ingressclasses",
        {"spec": {"controller": "c", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}}},
        {"CONTROLLER": "c", "PARAMETERS": "K.g/n"},
    ),
    "network policy": (
        "netpol",
        {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}},
        {"POD-SELECTOR": "a=b"},
    ),
    "endpoints": (
        "ep",
        {"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 1}, {"port": 2}]}]},
        {"ENDPOINTS": "10.0.0.1:1,10.0.0.1:2,[fd00::1]:1 + 1 more..."},
    ),
    "role": ("roles", {}, {"CREATED AT": ago(300)}),
    "binding": (
        "rolebindings",
        {
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [
                {"kind": "User", "name": "u"},
                {"kind": "Group", "name": "g"},
                {"kind": "ServiceAccount", "namespace": "a", "name": "s"},
            ],
        },
        {"ROLE": "Role/r", "USERS": "u", "GROUPS": "g", "SERVICEACCOUNTS": "a/s"},
    ),
    "request for a certificate": (
        "csr",
        {
            "spec": {"signerName": "a.test/s", "username": "alice", "expirationSeconds": 3600},
            "status": {"conditions": [{"type": "Approved", "status": "True"}], "certificate": "YQ=="},
        },
        {"SIGNERNAME": "a.test/s", "REQUESTOR": "alice", "REQUESTEDDURATION": "60m", "CONDITION": "Approved,Issued"},
    ),
    "runtime class": ("runtimeclasses", {"handler": "runsc"}, {"HANDLER": "runsc"}),
}


@pytest.mark.parametrize(("resource", "data", "expected"), ROWS.values(), ids=ROWS)
def test_rows(resource: str, data: Json, expected: Json) -> None:
    kind = find_kind(resource)
    found = row({"apiVersion": kind.api_version, "kind": kind.kind, **data}, wide=True)
    assert {name: found[name] for name in expected} == expected


def test_what_only_wide_tables_show() -> None:
    data = {"apiVersion": "apps/v1", "kind": "StatefulSet"}
    assert list(row(data)) == ["NAME", "READY", "AGE"]
    assert list(row({"apiVersion": "v1", "kind": "PersistentVolumeClaim"}))[-1] == "AGE"
