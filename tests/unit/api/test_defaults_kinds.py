"""Defaults of the later kinds: for each rule what is given and what stands there afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.api.codec import from_json, to_json
from orchestrator.api.creation import complete_new
from orchestrator.api.defaults import set_defaults
from orchestrator.api.kinds import find_kind
from orchestrator.api.v1 import CertificateSigningRequest, Job

Json = dict[str, Any]


def defaulted(resource: str, data: Json) -> Json:
    kind = find_kind(resource)
    obj = from_json({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x"}, **data}).obj
    set_defaults(obj)
    return to_json(obj)


def at(data: Json, path: str) -> Any:
    found: Any = data
    for part in path.split("."):
        found = found[int(part)] if isinstance(found, list) else found.get(part)
        if found is None:
            return None
    return found


LABELED: Json = {"metadata": {"labels": {"app": "web"}}}
UP = [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]
DOWN = [{"type": "Percent", "value": 100, "periodSeconds": 15}]

CASES: dict[str, tuple[str, Json, Json]] = {
    "a controller's selector is its template's labels": (
        "rc",
        {"spec": {"template": LABELED}},
        {"spec.replicas": 1, "spec.selector": {"app": "web"}, "metadata.labels": {"app": "web"}},
    ),
    "a controller's own selector stays": (
        "rc",
        {"spec": {"replicas": 0, "selector": {"a": "b"}, "template": LABELED}},
        {"spec.replicas": 0, "spec.selector": {"a": "b"}},
    ),
    "a stateful set": (
        "sts",
        {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}},
        {
            "spec.replicas": 1,
            "spec.podManagementPolicy": "OrderedReady",
            "spec.revisionHistoryLimit": 10,
            "spec.updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "spec.persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "spec.volumeClaimTemplates.0.apiVersion": "v1",
            "spec.volumeClaimTemplates.0.kind": "PersistentVolumeClaim",
            "spec.volumeClaimTemplates.0.spec.volumeMode": "Filesystem",
            "spec.volumeClaimTemplates.0.status.phase": "Pending",
        },
    ),
    "a stateful set that waits for deletions": (
        "sts",
        {"spec": {"updateStrategy": {"type": "OnDelete"}}},
        {"spec.updateStrategy": {"type": "OnDelete"}},
    ),
    "a daemon set": (
        "ds",
        {},
        {
            "spec.updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "spec.revisionHistoryLimit": 10,
        },
    ),
    "a job": (
        "job",
        {"spec": {"template": LABELED}},
        {
            "spec.parallelism": 1,
            "spec.completions": 1,
            "spec.backoffLimit": 6,
            "spec.completionMode": "NonIndexed",
            "spec.suspend": False,
            "spec.manualSelector": False,
            "spec.podReplacementPolicy": "TerminatingOrFailed",
            "metadata.labels": {"app": "web"},
        },
    ),
    "a job with a work queue": (
        "job",
        {"spec": {"parallelism": 3}},
        {"spec.parallelism": 3, "spec.completions": None},
    ),
    "a job with completions alone": ("job", {"spec": {"completions": 4}}, {"spec.parallelism": 1}),
    "a job that counts failures by index": (
        "job",
        {"spec": {"backoffLimitPerIndex": 1, "podFailurePolicy": {"rules": [{"onPodConditions": [{"type": "A"}]}]}}},
        {
            "spec.backoffLimit": 2147483647,
            "spec.podReplacementPolicy": "Failed",
            "spec.podFailurePolicy.rules.0.onPodConditions.0.status": "True",
        },
    ),
    "a cron job, whose jobs are not made yet": (
        "cj",
        {"spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}}},
        {
            "spec.concurrencyPolicy": "Allow",
            "spec.suspend": False,
            "spec.successfulJobsHistoryLimit": 3,
            "spec.failedJobsHistoryLimit": 1,
            "spec.jobTemplate.spec.parallelism": None,
            "spec.jobTemplate.spec.backoffLimit": None,
            "spec.jobTemplate.spec.template.spec.restartPolicy": "Always",
        },
    ),
    "an autoscaler": (
        "hpa",
        {},
        {
            "spec.minReplicas": 1,
            "spec.metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                }
            ],
            "spec.behavior": None,
        },
    ),
    "an autoscaler's pace": (
        "hpa",
        {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}},
        {
            "spec.behavior.scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": UP},
            "spec.behavior.scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Max", "policies": DOWN},
        },
    ),
    "quantities take their usual form": (
        "hpa",
        {"spec": {"metrics": [{"type": "Pods", "pods": {"target": {"averageValue": "0.5"}}}]}},
        {"spec.metrics.0.pods.target.averageValue": "500m"},
    ),
    "a priority class": ("pc", {"value": 5}, {"preemptionPolicy": "PreemptLowerPriority"}),
    "limits of containers": (
        "limits",
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Gi"}}]}},
        {
            "spec.limits.0.default": {"cpu": "2"},
            "spec.limits.0.defaultRequest": {"cpu": "2", "memory": "1Gi"},
        },
    ),
    "limits of pods": (
        "limits",
        {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "2"}}]}},
        {"spec.limits.0.default": None, "spec.limits.0.defaultRequest": None},
    ),
    "a volume": (
        "pv",
        {"spec": {"hostPath": {"path": "/a"}, "iscsi": {}}},
        {
            "spec.persistentVolumeReclaimPolicy": "Retain",
            "spec.volumeMode": "Filesystem",
            "spec.hostPath.type": "",
            "spec.iscsi.iscsiInterface": "default",
            "status.phase": "Pending",
        },
    ),
    "a claim from a snapshot": (
        "pvc",
        {"spec": {"dataSource": {"apiGroup": "a.test", "kind": "Snapshot", "name": "s"}}},
        {
            "spec.volumeMode": "Filesystem",
            "status.phase": "Pending",
            "spec.dataSourceRef": {"apiGroup": "a.test", "kind": "Snapshot", "name": "s"},
        },
    ),
    "a claim from another namespace": (
        "pvc",
        {"spec": {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "s", "namespace": "other"}}},
        {"spec.dataSource": None},
    ),
    "a storage class": ("sc", {}, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
    "a driver": (
        "csidrivers",
        {"spec": {}},
        {
            "spec.attachRequired": True,
            "spec.podInfoOnMount": False,
            "spec.storageCapacity": False,
            "spec.fsGroupPolicy": "ReadWriteOnceWithFSType",
            "spec.volumeLifecycleModes": ["Persistent"],
            "spec.requiresRepublish": False,
            "spec.seLinuxMount": False,
        },
    ),
    "parameters of an ingress class": (
        "ingressclasses",
        {"spec": {"parameters": {"kind": "K", "name": "n"}}},
        {"spec.parameters.scope": "Cluster"},
    ),
    "a policy about what comes in": (
        "netpol",
        {"spec": {"ingress": [{"ports": [{"port": 80}]}]}},
        {"spec.policyTypes": ["Ingress"], "spec.ingress.0.ports.0.protocol": "TCP"},
    ),
    "a policy about what goes out": (
        "netpol",
        {"spec": {"egress": [{}]}},
        {"spec.policyTypes": ["Ingress", "Egress"]},
    ),
    "a policy that says nothing": ("netpol", {}, {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
    "endpoints": ("ep", {"subsets": [{"ports": [{"port": 1}]}]}, {"subsets.0.ports.0.protocol": "TCP"}),
    "subjects": (
        "rolebindings",
        {"subjects": [{"kind": "User"}, {"kind": "Group"}, {"kind": "ServiceAccount"}], "roleRef": {"kind": "Role"}},
        {
            "subjects.0.apiGroup": "rbac.authorization.k8s.io",
            "subjects.1.apiGroup": "rbac.authorization.k8s.io",
            "subjects.2.apiGroup": None,
            "roleRef.apiGroup": "rbac.authorization.k8s.io",
        },
    ),
}


@pytest.mark.parametrize(("resource", "data", "expected"), CASES.values(), ids=CASES)
def test_defaults(resource: str, data: Json, expected: Json) -> None:
    found = defaulted(resource, data)
    assert {path: at(found, path) for path in expected} == expected


def test_a_job_selects_its_own_pods() -> None:
    job = Job()
    job.metadata.name, job.metadata.uid = "sum", "u-1"
    complete_new(job, user="", groups=[])
    assert dict(job.spec.selector.match_labels) == {"batch.kubernetes.io/controller-uid": "u-1"}
    assert dict(job.spec.template.metadata.labels) == {
        "controller-uid": "u-1",
        "batch.kubernetes.io/controller-uid": "u-1",
        "job-name": "sum",
        "batch.kubernetes.io/job-name": "sum",
    }
    manual = Job()
    manual.spec.manual_selector = True
    complete_new(manual, user="", groups=[])
    assert not manual.spec.HasField("selector")


def test_a_request_for_a_certificate_names_who_asks() -> None:
    request = CertificateSigningRequest()
    request.spec.username = "somebody-else"
    request.spec.groups.append("system:masters")
    complete_new(request, user="alice", groups=["staff"])
    assert (request.spec.username, list(request.spec.groups)) == ("alice", ["staff"])
