"""Validation of the later kinds: the smallest allowed object, a few changes, and all the faults that they draw."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from orchestrator.api.codec import from_json
from orchestrator.api.creation import complete_new
from orchestrator.api.defaults import set_defaults
from orchestrator.api.kinds import KubeObject, find_kind, kind_for
from orchestrator.api.validation import validate, validate_status, validate_status_update, validate_update
from tests.unit.api.smallest_objects import SMALLEST

Json = dict[str, Any]
GONE = object()


def changed(resource: str, changes: Json) -> KubeObject:
    kind = find_kind(resource)
    data = copy.deepcopy(SMALLEST[kind.resource])
    data["metadata"] = {"name": "web", "uid": "u-1", **({"namespace": "default"} if kind.namespaced else {})}
    for path, value in changes.items():
        _put(data, path.split("/"), value)
    obj = from_json({"apiVersion": kind.api_version, "kind": kind.kind, **data}).obj
    set_defaults(obj)
    complete_new(obj, user="alice", groups=[])
    return obj


def _put(data: Any, path: list[str], value: Any) -> None:
    for part in path[:-1]:
        data = data[int(part)] if isinstance(data, list) else data.setdefault(part, {})
    if value is GONE:
        del data[path[-1]]
    elif isinstance(data, list):
        data[int(path[-1])] = value
    else:
        data[path[-1]] = value


def faults(resource: str, changes: Json) -> list[str]:
    return [str(fault) for fault in validate(changed(resource, changes))]


TEMPLATE = "spec/template"
INDEXED: Json = {"spec/completionMode": "Indexed", "spec/completions": 4}
RULE = "spec/podFailurePolicy"


def rule(**fields: Any) -> Json:
    return {RULE: {"rules": [fields]}}


def metric(kind: str, **source: Any) -> Json:
    name = kind[0].lower() + kind[1:]
    return {"spec/metrics": [{"type": kind, name: source}]}


ALWAYS_ONE = 'Required value: valid values: "OnFailure", "Never"'
WHOLE = "updates to statefulset spec for fields other than"

CASES: dict[str, tuple[str, Json, list[str]]] = {
    "controller without pods": (
        "rc",
        {TEMPLATE: GONE},
        ["spec.selector: Required value", "spec.template: Required value"],
    ),
    "controller that would not find its pods": (
        "rc",
        {"spec/selector": {"a": "b"}, "spec/replicas": -1},
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ],
    ),
    "stateful set": (
        "sts",
        {
            "spec/podManagementPolicy": "Sometimes",
            "spec/updateStrategy": {"type": "Now"},
            "spec/persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"},
            "spec/serviceName": "1",
            "spec/selector": {},
        },
        [
            "spec.podManagementPolicy: Invalid value: \"Sometimes\": must be 'OrderedReady' or 'Parallel'",
            "spec.updateStrategy: Invalid value: \"Now\": must be 'RollingUpdate' or 'OnDelete'",
            'spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": supported values: '
            '"Delete", '
            '"Retain"',
            'spec.serviceName: Invalid value: "1": a DNS-1035 label must consist of lower case alphanumeric '
            "characters or "
            "'-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
            "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
        ],
    ),
    "stateful set's claims are volumes": (
        "sts",
        {
            "spec/volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            f"{TEMPLATE}/spec/containers/0/volumeMounts": [{"name": "data", "mountPath": "/data"}],
        },
        ["spec.volumeClaimTemplates[0].spec.resources[storage]: Required value"],
    ),
    "stateful set's pace": (
        "sts",
        {"spec/updateStrategy": {"rollingUpdate": {"partition": -1, "maxUnavailable": 0}}},
        [
            "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
        ],
    ),
    "daemon set's pace": (
        "ds",
        {"spec/updateStrategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": "10%"}}},
        [
            'spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set when maxUnavailable is '
            "non-zero"
        ],
    ),
    "daemon set that can't move": (
        "ds",
        {"spec/updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}},
        ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
    ),
    "daemon set's strategy": (
        "ds",
        {"spec/updateStrategy": {"type": "Now"}},
        ['spec.updateStrategy: Unsupported value: "Now": supported values: "OnDelete", "RollingUpdate"'],
    ),
    "daemon set's pods go on": (
        "ds",
        {f"{TEMPLATE}/spec/restartPolicy": "Never"},
        ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
    ),
    "revision": (
        "controllerrevisions",
        {"data": GONE, "revision": -1},
        ["data: Required value: data is mandatory", "revision: Invalid value: -1: must be greater than or equal to 0"],
    ),
    "job whose pods never end": (
        "job",
        {f"{TEMPLATE}/spec/restartPolicy": "Always"},
        [f"spec.template.spec.restartPolicy: {ALWAYS_ONE}"],
    ),
    "job of less than nothing": (
        "job",
        {"spec/parallelism": -1, "spec/backoffLimit": -2, "spec/completionMode": "Both", "spec/managedBy": "me"},
        [
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            "spec.backoffLimit: Invalid value: -2: must be greater than or equal to 0",
            'spec.completionMode: Unsupported value: "Both": supported values: "Indexed", "NonIndexed"',
            'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")',
        ],
    ),
    "job with a selector of its own": (
        "job",
        {"spec/selector": {"matchLabels": {"a": "b"}}},
        [
            'spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"u-1"}}: '
            "`selector` not auto-generated",
            'spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u-1",'
            '"batch.kubernetes.io/job-name":"web","controller-uid":"u-1","job-name":"web"}: `selector` does not match '
            "template `labels`",
        ],
    ),
    "job with a manual selector": (
        "job",
        {
            "spec/manualSelector": True,
            "spec/selector": {"matchLabels": {"a": "b"}},
            f"{TEMPLATE}/metadata": {"labels": {"a": "b"}},
        },
        [],
    ),
    "indexes without a number": (
        "job",
        {"spec/completionMode": "Indexed", "spec/parallelism": 200_000},
        [
            "spec.completions: Required value: when completion mode is Indexed",
            "spec.parallelism: Invalid value: 200000: must be less than or equal to 100000 when completion mode is "
            "Indexed",
        ],
    ),
    "limits of indexes without indexes": (
        "job",
        {"spec/maxFailedIndexes": 3},
        [
            "spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions",
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            "spec.maxFailedIndexes: Invalid value: 3: requires indexed completion mode",
        ],
    ),
    "failure policy": (
        "job",
        {
            **rule(action="FailIndex", onExitCodes={"containerName": "x", "operator": "In", "values": [3, 0, 3]}),
            f"{TEMPLATE}/spec/restartPolicy": "OnFailure",
        },
        [
            'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the '
            "backoffLimitPerIndex to be "
            "set",
            'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "x": must be one of the '
            "container "
            "or initContainer names in the pod template",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when '
            "podFailurePolicy is specified",
        ],
    ),
    "failure policy that says nothing": (
        "job",
        rule(action="Stop"),
        [
            'spec.podFailurePolicy.rules[0].action: Unsupported value: "Stop": supported values: "Count", "FailIndex", '
            '"FailJob", "Ignore"',
            "spec.podFailurePolicy.rules[0]: Invalid value: null: specifying one of OnExitCodes and OnPodConditions is "
            "required",
        ],
    ),
    "success policy without indexes": (
        "job",
        {"spec/successPolicy": {"rules": [{"succeededCount": 1}]}},
        [
            'spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires indexed completion mode',
        ],
    ),
    "success policy": (
        "job",
        {
            **INDEXED,
            "spec/successPolicy": {
                "rules": [
                    {},
                    {"succeededIndexes": "1-2,2"},
                    {"succeededIndexes": "0-1", "succeededCount": 3},
                    {"succeededCount": 9},
                ]
            },
        },
        [
            "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be "
            "specified",
            'spec.successPolicy.rules[1].succeededIndexes: Invalid value: "1-2,2": error parsing succeededIndexes: '
            "non-increasing order, previous: 2, current: 2",
            "spec.successPolicy.rules[2].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number "
            "of indexes in the specified succeededIndexes field)",
            "spec.successPolicy.rules[3].succeededCount: Invalid value: 9: must be less than or equal to 4 (the number "
            "of specified completions)",
        ],
    ),
    "cron job": (
        "cj",
        {
            "metadata/name": "x" * 53,
            "spec/schedule": "61 * * * *",
            "spec/timeZone": "Moon/Base",
            "spec/concurrencyPolicy": "Maybe",
            "spec/startingDeadlineSeconds": -1,
            "spec/jobTemplate/spec/selector": {"matchLabels": {"a": "b"}},
            "spec/jobTemplate/spec/manualSelector": True,
        },
        [
            f'metadata.name: Invalid value: "{"x" * 53}": must be no more than 52 characters',
            'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61',
            'spec.timeZone: Invalid value: "Moon/Base": unknown time zone Moon/Base',
            "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
            'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"',
            'spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be '
            "auto-generated",
            'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "false", "nil"',
        ],
    ),
    "cron job elsewhere": ("cj", {"spec/timeZone": "Europe/Berlin", "spec/schedule": "@daily"}, []),
    "cron job with two time zones": (
        "cj",
        {"spec/schedule": "TZ=UTC * * * * *", "spec/timeZone": "local"},
        [
            'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use '
            "timeZone field "
            "instead",
            'spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in '
            "https://www.iana.org/time-zones",
        ],
    ),
    "autoscaler's bounds": (
        "hpa",
        {"spec/minReplicas": 0, "spec/maxReplicas": -1, "spec/scaleTargetRef": {"kind": "a/b"}},
        [
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            "spec.maxReplicas: Invalid value: -1: must be greater than 0",
            "spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`",
            "spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'",
            "spec.scaleTargetRef.name: Required value",
        ],
    ),
    "metric of no type": (
        "hpa",
        {"spec/metrics": [{"pods": {}}]},
        [
            "spec.metrics[0].type: Required value: must specify a metric source type",
            'spec.metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", '
            '"Pods", "Resource"',
            "spec.metrics[0].pods: Forbidden: must populate the given metric source only",
        ],
    ),
    "metric with two targets": (
        "hpa",
        metric("Resource", target={"type": "Value", "averageUtilization": 0, "averageValue": "0"}),
        [
            "spec.metrics[0].resource.name: Required value: must specify a resource name",
            'spec.metrics[0].resource.target.averageValue: Invalid value: "0": must be positive',
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
            "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target "
            "utilization",
        ],
    ),
    "metric of pods": (
        "hpa",
        metric("Pods", metric={"name": "x"}, target={"type": "Much"}),
        [
            'spec.metrics[0].pods.target.type: Invalid value: "Much": must be either Utilization, Value, or '
            "AverageValue",
            "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
        ],
    ),
    "autoscaler's pace": (
        "hpa",
        {
            "spec/behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 3601,
                    "selectPolicy": "Most",
                    "policies": [{"type": "Few", "value": 0, "periodSeconds": 1801}],
                }
            }
        },
        [
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
            'spec.behavior.scaleUp.selectPolicy: Unsupported value: "Most": supported values: "Disabled", "Max", "Min"',
            'spec.behavior.scaleUp.policies[0].type: Unsupported value: "Few": supported values: "Percent", "Pods"',
            "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ],
    ),
    "budget of two numbers": (
        "pdb",
        {"spec": {"minAvailable": 1, "maxUnavailable": "101%", "unhealthyPodEvictionPolicy": "Never"}},
        [
            'spec: Invalid value: {"minAvailable":1,"maxUnavailable":"101%","unhealthyPodEvictionPolicy":"Never"}: '
            "minAvailable and maxUnavailable cannot be both set",
            'spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
            'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", '
            '"IfHealthyBudget"',
        ],
    ),
    "priority above all": (
        "pc",
        {"value": 1_000_000_001, "preemptionPolicy": "Always"},
        [
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            'preemptionPolicy: Unsupported value: "Always": supported values: "Never", "PreemptLowerPriority"',
        ],
    ),
    "priority of the system": (
        "pc",
        {"metadata/name": "system-mine"},
        ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only"],
    ),
    "quota": (
        "quota",
        {
            "spec/hard": {"pods": "1.5", "gpus": "1", "requests.cpu": "-1"},
            "spec/scopes": ["BestEffort", "NotBestEffort"],
            "spec/scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]},
        },
        [
            'spec.hard[gpus]: Invalid value: "gpus": must be a standard resource for quota',
            'spec.hard[pods]: Invalid value: "1500m": must be an integer',
            'spec.hard[requests.cpu]: Invalid value: "-1": must be greater than or equal to 0',
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
            "spec.scopeSelector.matchExpressions[0].values: Required value: must be at least one value when "
            "`operator` is "
            "'In' or 'NotIn' for scope selector",
        ],
    ),
    "limits out of order": (
        "limits",
        {"spec/limits": [{"type": "Container", "min": {"cpu": "3"}, "max": {"cpu": "2"}, "default": {"cpu": "1"}}]},
        [
            'spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2',
            'spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 3 is greater than default request '
            "value 1",
            'spec.limits[0].default[cpu]: Invalid value: "1": min value 3 is greater than default value 1',
        ],
    ),
    "limits of pods and claims": (
        "limits",
        {
            "spec/limits": [
                {"type": "Pod", "default": {"cpu": "1"}},
                {"type": "PersistentVolumeClaim"},
                {"type": "Pod", "maxLimitRequestRatio": {"cpu": "0.5"}},
            ]
        },
        [
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            "spec.limits[1].limits: Required value: either minimum or maximum storage value is required, but "
            "neither was "
            "provided",
            'spec.limits[2].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1',
            'spec.limits[2].type: Duplicate value: ""',
        ],
    ),
}

STORAGE: dict[str, tuple[str, Json, list[str]]] = {
    "volume without anything": (
        "pv",
        {"spec": {}},
        [
            "spec.accessModes: Required value",
            "spec.capacity: Required value",
            "spec: Required value: must specify a volume type",
        ],
    ),
    "volume of two kinds": (
        "pv",
        {"spec/nfs": {"server": "s", "path": "/"}, "spec/accessModes": ["Sometimes", "ReadWriteOncePod"]},
        [
            'spec.accessModes: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", '
            '"ReadWriteOnce", "ReadWriteOncePod"',
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
        ],
    ),
    "volume of a driver": (
        "pv",
        {
            "spec/hostPath": GONE,
            "spec/csi": {"nodeStageSecretRef": {"name": "s"}},
            "spec/capacity": {"storage": "0"},
            "spec/volumeMode": "Tape",
        },
        [
            'spec.capacity[storage]: Invalid value: "0": must be greater than zero',
            "spec.csi.driver: Required value",
            "spec.csi.volumeHandle: Required value",
            "spec.csi.nodeStageSecretRef.namespace: Required value",
            'spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"',
        ],
    ),
    "local volume": (
        "pv",
        {"spec/hostPath": GONE, "spec/local": {"path": "/a/../b"}},
        [
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
            "spec.local.path: Invalid value: \"/a/../b\": must not contain '..'",
        ],
    ),
    "volume of a storage system": (
        "pv",
        {"spec/hostPath": GONE, "spec/rbd": {"image": "i"}},
        ["spec.rbd.monitors: Required value"],
    ),
    "claim": (
        "pvc",
        {
            "spec/accessModes": GONE,
            "spec/resources": {"requests": {"storage": "-1"}},
            "spec/dataSource": {"kind": "Snapshot"},
        },
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            'spec.resources[storage]: Invalid value: "-1": must be greater than zero',
            "spec.dataSource.name: Required value",
            "spec.dataSource: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when referencing the "
            "default "
            "apiGroup",
            "spec.dataSourceRef.name: Required value",
            "spec.dataSourceRef: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when referencing the "
            "default apiGroup",
        ],
    ),
    "storage class": (
        "sc",
        {
            "provisioner": "",
            "reclaimPolicy": "Recycle",
            "volumeBindingMode": "Later",
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}, {"key": "zone"}]}],
        },
        [
            "provisioner: Required value",
            'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
            'volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"',
            'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"',
            "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
            'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"',
        ],
    ),
    "attachment of nothing": (
        "volumeattachments",
        {"spec/source": {}, "spec/nodeName": ""},
        [
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            "spec.nodeName: Required value",
        ],
    ),
    "attachment of an inline volume": (
        "volumeattachments",
        {"spec/source": {"inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/"}}}},
        ["spec.source.inlineVolumeSpec.hostPath: Forbidden: may only specify csi for an inline volume"],
    ),
    "driver": (
        "csidrivers",
        {
            "spec": {
                "fsGroupPolicy": "All",
                "volumeLifecycleModes": ["Long"],
                "tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}],
                "nodeAllocatableUpdatePeriodSeconds": 1,
            }
        },
        [
            'spec.fsGroupPolicy: Unsupported value: "All": supported values: "File", "None", "ReadWriteOnceWithFSType"',
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 "
            "minutes",
            'spec.tokenRequests[1].audience: Duplicate value: "a"',
            'spec.volumeLifecycleModes: Unsupported value: "Long": supported values: "Ephemeral", "Persistent"',
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 1: must be greater than or equal to 10 seconds",
        ],
    ),
    "drivers of a node": (
        "csinodes",
        {"spec/drivers": [{"name": "a", "nodeID": "n"}, {"name": "a", "topologyKeys": ["k", "k"]}]},
        [
            "spec.drivers[1].nodeID: Required value",
            'spec.drivers[1].topologyKeys[1]: Duplicate value: "k"',
            'spec.drivers[1].name: Duplicate value: "a"',
        ],
    ),
    "capacity": (
        "csistoragecapacities",
        {"storageClassName": "", "capacity": "-1"},
        [
            "storageClassName: Required value",
            'capacity: Invalid value: "-1": must be greater than or equal to 0',
        ],
    ),
}

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


@pytest.mark.parametrize(("resource", "changes", "expected"), CASES.values(), ids=CASES)
def test_workloads_and_bounds(resource: str, changes: Json, expected: list[str]) -> None:
    assert faults(resource, changes) == expected


@pytest.mark.parametrize(("resource", "changes", "expected"), STORAGE.values(), ids=STORAGE)
def test_storage(resource: str, changes: Json, expected: list[str]) -> None:
    assert faults(resource, changes) == expected


@pytest.mark.parametrize(("resource", "changes", "expected"), OTHERS.values(), ids=OTHERS)
def test_others(resource: str, changes: Json, expected: list[str]) -> None:
    found = faults(resource, changes)
    if "spec/usages" in changes:
        assert found.pop(2).startswith('spec.usages[0]: Unsupported value: "sing": supported values: "any", ')
    assert found == expected


UPDATES: dict[str, tuple[str, Json, Json, list[str]]] = {
    "stateful set's template": ("sts", {}, {"spec/replicas": 3, "spec/minReadySeconds": 1}, []),
    "stateful set's service": (
        "sts",
        {},
        {"spec/serviceName": "other"},
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are "
            "forbidden"
        ],
    ),
    "daemon set's selector": (
        "ds",
        {},
        {"spec/selector/matchLabels": {"a": "b"}},
        ['spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable'],
    ),
    "revision": (
        "controllerrevisions",
        {},
        {"data": {"a": 1}},
        ['data: Invalid value: "<object>": field is immutable'],
    ),
    "job's parallelism": ("job", {"spec/completions": 1}, {"spec/parallelism": 5, "spec/suspend": True}, []),
    "job's completions": (
        "job",
        {},
        {"spec/completions": 5},
        ["spec.completions: Invalid value: 5: field is immutable"],
    ),
    "indexed job grows": ("job", INDEXED, {**INDEXED, "spec/completions": 9, "spec/parallelism": 9}, []),
    "indexed job grows alone": (
        "job",
        INDEXED,
        {**INDEXED, "spec/completions": 9},
        ["spec.completions: Invalid value: 9: can only be modified in tandem with spec.parallelism"],
    ),
    "suspended job moves": (
        "job",
        {"spec/suspend": True},
        {"spec/suspend": True, f"{TEMPLATE}/spec/nodeSelector": {"zone": "a"}},
        [],
    ),
    "priority": ("pc", {}, {"value": 7}, ["value: Forbidden: may not be changed in an update."]),
    "quota's scopes": (
        "quota",
        {},
        {"spec/scopes": ["BestEffort"]},
        ['spec.scopes: Invalid value: ["BestEffort"]: field is immutable'],
    ),
    "volume's source": (
        "pv",
        {},
        {"spec/hostPath": {"path": "/other"}},
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"],
    ),
    "claim is bound": ("pvc", {}, {"spec/volumeName": "pv"}, []),
    "claim of another class": (
        "pvc",
        {"spec/storageClassName": "a"},
        {"spec/storageClassName": "b"},
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
            "for bound claims"
        ],
    ),
    "bound claim grows": (
        "pvc",
        {"status/phase": "Bound", "status/capacity": {"storage": "1Gi"}},
        {"spec/resources/requests/storage": "2Gi"},
        [],
    ),
    "bound claim shrinks": (
        "pvc",
        {"status/phase": "Bound", "status/capacity": {"storage": "1Gi"}},
        {"spec/resources/requests/storage": "1Mi"},
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
    ),
    "storage class": (
        "sc",
        {},
        {"provisioner": "example.com/other", "parameters": {"a": "b"}, "reclaimPolicy": "Retain"},
        [
            "parameters: Forbidden: updates to parameters are forbidden.",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
            "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        ],
    ),
    "driver": (
        "csidrivers",
        {},
        {"spec": {"attachRequired": False}},
        ["spec.attachRequired: Invalid value: false: field is immutable"],
    ),
    "capacity": ("csistoragecapacities", {}, {"capacity": "1Gi"}, []),
    "ingress class": (
        "ingressclasses",
        {},
        {"spec/controller": "example.com/other"},
        ['spec.controller: Invalid value: "example.com/other": field is immutable'],
    ),
    "binding's role": (
        "rolebindings",
        {},
        {"roleRef/name": "edit"},
        [
            "roleRef: Invalid value: "
            '{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"edit"}: cannot '
            "change roleRef"
        ],
    ),
    "runtime class": (
        "runtimeclasses",
        {},
        {"handler": "other"},
        ['handler: Invalid value: "other": field is immutable'],
    ),
}


@pytest.mark.parametrize(("resource", "old", "new", "expected"), UPDATES.values(), ids=UPDATES)
def test_updates(resource: str, old: Json, new: Json, expected: list[str]) -> None:
    found = validate_update(changed(resource, {**old, **new}), changed(resource, old))
    assert [str(fault) for fault in found] == expected


STATUSES: dict[str, tuple[str, Json, list[str]]] = {
    "controller": (
        "rc",
        {"replicas": 1, "readyReplicas": 2},
        ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"],
    ),
    "stateful set": (
        "sts",
        {"replicas": 2, "availableReplicas": 1, "collisionCount": -1},
        [
            "status.collisionCount: Invalid value: -1: must be greater than or equal to 0",
            "status.availableReplicas: Invalid value: 1: cannot be greater than status.readyReplicas",
        ],
    ),
    "daemon set": (
        "ds",
        {"numberReady": -1},
        ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"],
    ),
    "job": ("job", {"active": -1}, ["status.active: Invalid value: -1: must be greater than or equal to 0"]),
    "claim": (
        "pvc",
        {"capacity": {"storage": "-1"}},
        ['status.capacity[storage]: Invalid value: "-1": must be greater than or equal to 0'],
    ),
    "request denied and approved": (
        "csr",
        {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "False"}]},
        [
            'status.conditions[1].status: Unsupported value: "False": supported values: "True"',
            'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive',
        ],
    ),
}


@pytest.mark.parametrize(("resource", "status", "expected"), STATUSES.values(), ids=STATUSES)
def test_statuses(resource: str, status: Json, expected: list[str]) -> None:
    assert [str(fault) for fault in validate_status(changed(resource, {"status": status}))] == expected


def test_a_decision_stands() -> None:
    approved = changed("csr", {"status": {"conditions": [{"type": "Approved", "status": "True"}]}})
    assert validate_status_update(approved, changed("csr", {})) == []
    assert [str(fault) for fault in validate_status_update(changed("csr", {}), approved)] == [
        'status.conditions: Invalid value: null: updates may not remove a condition of type "Approved"'
    ]


QUESTIONS: dict[str, tuple[str, str, Json, list[str]]] = {
    "token": ("authentication.k8s.io/v1", "TokenReview", {}, ["spec.token: Required value"]),
    "token request": (
        "authentication.k8s.io/v1",
        "TokenRequest",
        {"spec": {"expirationSeconds": 1}},
        ["spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes"],
    ),
    "nobody, nothing": (
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        {},
        [
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes "
            "must be specified",
            'spec.user: Invalid value: "": at least one of user or group must be specified',
        ],
    ),
    "oneself": (
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
        {"spec": {"resourceAttributes": {"verb": "get"}}},
        [],
    ),
    "another namespace": (
        "authorization.k8s.io/v1",
        "LocalSubjectAccessReview",
        {"metadata": {"namespace": "a"}, "spec": {"user": "u", "resourceAttributes": {"namespace": "b"}}},
        ['spec.resourceAttributes.namespace: Invalid value: "b": must match metadata.namespace'],
    ),
    "rules": ("authorization.k8s.io/v1", "SelfSubjectRulesReview", {"spec": {"namespace": "a"}}, []),
    "who am I": ("authentication.k8s.io/v1", "SelfSubjectReview", {}, []),
    "eviction": (
        "policy/v1",
        "Eviction",
        {"metadata": {"name": "a", "namespace": "b"}, "deleteOptions": {"gracePeriodSeconds": -1}},
        ["deleteOptions.gracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"],
    ),
}


@pytest.mark.parametrize(("api_version", "kind", "data", "expected"), QUESTIONS.values(), ids=QUESTIONS)
def test_questions(api_version: str, kind: str, data: Json, expected: list[str]) -> None:
    assert not kind_for(api_version, kind).stored
    obj = from_json({"apiVersion": api_version, "kind": kind, **data}).obj
    set_defaults(obj)
    assert [str(fault) for fault in validate(obj)] == expected
