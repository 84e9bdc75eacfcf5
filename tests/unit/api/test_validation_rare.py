"""The less common parts of pods: each rule as one change to a good pod and the fault it must draw."""

from __future__ import annotations

import pytest

from orchestrator.api.v1 import Pod
from orchestrator.api.validation import validate
from tests.unit.api.validation_pods import changed, faults

Json = dict[str, object]
C = "spec.containers[0]"
ID_RANGE = "must be between 0 and 2147483647, inclusive"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
BROKEN_SELECTOR: Json = {"matchExpressions": [{"key": "a", "operator": "Near"}]}


def ephemeral(**fields: object) -> list[Json]:
    return [{"name": "debug", "image": "x:v1", **fields}]


def spread(**fields: object) -> list[Json]:
    return [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", **fields}]


def projected(**source: object) -> Json:
    return {"name": "v", "projected": {"sources": [source]}}


CASES: dict[str, tuple[str, object, str]] = {
    # containers
    "restart policy of a container": (
        "containers.0.restartPolicy",
        "Sometimes",
        f'{C}.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    ),
    "sidecar with a broken probe": (
        "initContainers.0",
        {"name": "s", "image": "x", "restartPolicy": "Always", "startupProbe": {"grpc": {"port": 0}}},
        "spec.initContainers[0].startupProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive",
    ),
    "sidecar with a broken hook": (
        "initContainers.0",
        {"name": "s", "image": "x", "restartPolicy": "Always", "lifecycle": {"preStop": {}}},
        "spec.initContainers[0].lifecycle.preStop: Required value: must specify a handler type",
    ),
    "ephemeral container without an image": (
        "ephemeralContainers",
        [{"name": "debug"}],
        "spec.ephemeralContainers[0].image: Required value",
    ),
    "ephemeral container with ports": (
        "ephemeralContainers",
        ephemeral(ports=[{"containerPort": 1}]),
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
    ),
    "ephemeral container with limits": (
        "ephemeralContainers",
        ephemeral(resources={"limits": {"cpu": "1"}}),
        "spec.ephemeralContainers[0].resources: Forbidden: cannot be set for an Ephemeral Container",
    ),
    "device path": (
        "containers.0.volumeDevices",
        [{"name": "data"}],
        f"{C}.volumeDevices[0].devicePath: Required value",
    ),
    "device of no volume": (
        "containers.0.volumeDevices",
        [{"name": "x", "devicePath": "/dev/x"}],
        f'{C}.volumeDevices[0].name: Not found: "x"',
    ),
    "address of a host port": (
        "containers.0.ports.0.hostIP",
        "here",
        f'{C}.ports[0].hostIP: Invalid value: "here": must be a valid IP address',
    ),
    "mount without a name": ("containers.0.volumeMounts.0.name", "", f"{C}.volumeMounts[0].name: Required value"),
    "recursively read-only, but writable": (
        "containers.0.volumeMounts.0.recursiveReadOnly",
        "Enabled",
        f"{C}.volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
    ),
    "recursively somehow": (
        "containers.0.volumeMounts.0.recursiveReadOnly",
        "Maybe",
        f'{C}.volumeMounts[0].recursiveReadOnly: Unsupported value: "Maybe": supported values: "Disabled"',
    ),
    "two sources of many variables": (
        "containers.0.envFrom.0.configMapRef",
        {"name": "c"},
        f'{C}.envFrom[0]: Invalid value: "": may not have more than one field specified at a time',
    ),
    "config map of many variables": (
        "containers.0.envFrom.0",
        {"configMapRef": {}},
        f"{C}.envFrom[0].configMapRef.name: Required value",
    ),
    "variable from a file": (
        "containers.0.env.1.valueFrom",
        {"fileKeyRef": {"volumeName": "data", "key": "A"}},
        f"{C}.env[1].valueFrom.fileKeyRef.path: Required value",
    ),
    "version of a field": (
        "containers.0.env.1.valueFrom.fieldRef.apiVersion",
        "v2",
        f'{C}.env[1].valueFrom.fieldRef.apiVersion: Unsupported value: "v2": supported values: "v1"',
    ),
    "field missing": (
        "containers.0.env.1.valueFrom.fieldRef.fieldPath",
        "",
        f"{C}.env[1].valueFrom.fieldRef.fieldPath: Required value",
    ),
    "resource missing": (
        "containers.0.env.3.valueFrom.resourceFieldRef.resource",
        "",
        f"{C}.env[3].valueFrom.resourceFieldRef.resource: Required value",
    ),
    "part of a device": (
        "containers.0.resources",
        {"limits": {"example.com/gpu": "2"}, "requests": {"example.com/gpu": "1"}},
        f'{C}.resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2',
    ),
    "grace period of a liveness probe": (
        "containers.0.livenessProbe.terminationGracePeriodSeconds",
        "0",
        f"{C}.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
    ),
    "header of a probe": (
        "containers.0.livenessProbe.httpGet.httpHeaders",
        [{"name": "a b"}],
        f'{C}.livenessProbe.httpGet.httpHeaders[0].name: Invalid value: "a b": a valid HTTP header must consist of',
    ),
    "port of a probe that is neither": (
        "containers.0.livenessProbe.httpGet.port",
        True,
        f"{C}.livenessProbe.httpGet.port: Invalid value: true: must be a port number or the name of a port",
    ),
    # security
    "proc mount": (
        "containers.0.securityContext.procMount",
        "All",
        f'{C}.securityContext.procMount: Unsupported value: "All": supported values: "Default", "Unmasked"',
    ),
    "profile that needs no file": (
        "containers.0.securityContext.appArmorProfile",
        {"type": "Unconfined", "localhostProfile": "x"},
        f'{C}.securityContext.appArmorProfile.localhostProfile: Forbidden: can only be set when type is "Localhost"',
    ),
    "profile elsewhere": (
        "containers.0.securityContext.seccompProfile",
        {"type": "Localhost", "localhostProfile": "../x"},
        f"{C}.securityContext.seccompProfile.localhostProfile: Invalid value: \"../x\": must not contain '..'",
    ),
    "profile of the pod": (
        "securityContext",
        {"seccompProfile": {"type": "Mine"}},
        'spec.securityContext.seccompProfile.type: Unsupported value: "Mine": supported values: "Localhost"',
    ),
    "AppArmor of the pod": (
        "securityContext",
        {"appArmorProfile": {}},
        "spec.securityContext.appArmorProfile.type: Required value",
    ),
    "nearly root": (
        "containers.0.securityContext.capabilities",
        {"add": ["SYS_ADMIN"]},
        f"{C}.securityContext: Invalid value: ",
    ),
    "group": (
        "containers.0.securityContext.runAsGroup",
        "2147483648",
        f"{C}.securityContext.runAsGroup: Invalid value: 2147483648: {ID_RANGE}",
    ),
    "group of files": (
        "securityContext",
        {"fsGroup": "-1"},
        f"spec.securityContext.fsGroup: Invalid value: -1: {ID_RANGE}",
    ),
    "more groups": (
        "securityContext",
        {"supplementalGroups": ["1", "-1"]},
        f"spec.securityContext.supplementalGroups[1]: Invalid value: -1: {ID_RANGE}",
    ),
    "policy of groups": (
        "securityContext",
        {"supplementalGroupsPolicy": "Loose"},
        'spec.securityContext.supplementalGroupsPolicy: Unsupported value: "Loose": supported values: "Merge"',
    ),
    "policy of files": (
        "securityContext",
        {"fsGroupChangePolicy": "Never"},
        'spec.securityContext.fsGroupChangePolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    "sysctl without a name": (
        "securityContext",
        {"sysctls": [{"value": "1"}]},
        "spec.securityContext.sysctls[0].name: Required value",
    ),
    "sysctl twice": (
        "securityContext",
        {"sysctls": [{"name": "a.b", "value": "1"}, {"name": "a.b", "value": "2"}]},
        'spec.securityContext.sysctls[1].name: Duplicate value: "a.b"',
    ),
    # volumes
    "file mode of one file": (
        "volumes.2.configMap.items.0.mode",
        -1,
        "spec.volumes[2].configMap.items[0].mode: Invalid value: -1: must be a number between 0 and 0777 (octal)",
    ),
    "key of no name": (
        "volumes.2.configMap.items.0.key",
        "",
        "spec.volumes[2].configMap.items[0].key: Required value",
    ),
    "file named like those kept for swapping": (
        "volumes.2.configMap.items.0.path",
        "..data",
        "spec.volumes[2].configMap.items[0].path: Invalid value: \"..data\": must not start with '..'",
    ),
    "own fields, mode": (
        "volumes.0",
        {"name": "v", "downwardAPI": {"defaultMode": 512}},
        "spec.volumes[0].downwardAPI.defaultMode: Invalid value: 512: must be a number between",
    ),
    "own fields, both kinds": (
        "volumes.0",
        {
            "name": "v",
            "downwardAPI": {
                "items": [
                    {
                        "path": "a",
                        "fieldRef": {"fieldPath": "metadata.name"},
                        "resourceFieldRef": {"resource": "limits.cpu", "containerName": "web"},
                    }
                ]
            },
        },
        'spec.volumes[0].downwardAPI.items[0]: Invalid value: "resource": fieldRef and resourceFieldRef can not be',
    ),
    "own fields, whose resource": (
        "volumes.0",
        {"name": "v", "downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
        "spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: Required value",
    ),
    "projection of nothing": (
        "volumes.0",
        projected(),
        "spec.volumes[0].projected.sources[0]: Required value: must specify a projection source",
    ),
    "projection of two": (
        "volumes.0",
        projected(secret={"name": "a"}, configMap={"name": "b"}),
        "spec.volumes[0].projected.sources[0].configMap: Forbidden: may not specify more than 1 volume type per source",
    ),
    "projection of a nameless secret": (
        "volumes.0",
        projected(secret={}),
        "spec.volumes[0].projected.sources[0].secret.name: Required value",
    ),
    "projection of a nameless config map": (
        "volumes.0",
        projected(configMap={}),
        "spec.volumes[0].projected.sources[0].configMap.name: Required value",
    ),
    "token of a minute": (
        "volumes.0",
        projected(serviceAccountToken={"path": "t", "expirationSeconds": "60"}),
        "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: must be",
    ),
    "claim": (
        "volumes.0",
        {"name": "v", "persistentVolumeClaim": {}},
        "spec.volumes[0].persistentVolumeClaim.claimName: Required value",
    ),
    "NFS server": ("volumes.0", {"name": "v", "nfs": {"path": "/a"}}, "spec.volumes[0].nfs.server: Required value"),
    "NFS path": (
        "volumes.0",
        {"name": "v", "nfs": {"server": "s", "path": "a"}},
        'spec.volumes[0].nfs.path: Invalid value: "a": must be an absolute path',
    ),
    "CSI driver": ("volumes.0", {"name": "v", "csi": {}}, "spec.volumes[0].csi.driver: Required value"),
    "claim to be made": (
        "volumes.0",
        {"name": "v", "ephemeral": {}},
        "spec.volumes[0].ephemeral.volumeClaimTemplate: Required value",
    ),
    # the pod
    "readiness gate": (
        "readinessGates",
        [{"conditionType": "a b"}],
        'spec.readinessGates[0].conditionType: Invalid value: "a b": name part must consist of',
    ),
    "preemption": (
        "preemptionPolicy",
        "Always",
        'spec.preemptionPolicy: Unsupported value: "Always": supported values: "Never", "PreemptLowerPriority"',
    ),
    "operating system": (
        "os",
        {"name": "plan9"},
        'spec.os.name: Unsupported value: "plan9": supported values: "linux", "windows"',
    ),
    "overhead": ("overhead", {"cpu": "x"}, 'spec.overhead[cpu]: Invalid value: "x": quantities must match'),
    "pull secret": ("imagePullSecrets", [{}], "spec.imagePullSecrets[0].name: Required value"),
    "search domain": (
        "dnsConfig",
        {"searches": ["a.test.", ".", "A"]},
        'spec.dnsConfig.searches[2]: Invalid value: "A": a lowercase RFC 1123 subdomain must',
    ),
    "search domains": (
        "dnsConfig",
        {"searches": ["a.test"] * 33},
        "spec.dnsConfig.searches: Too many: 33: must have at most 32 items",
    ),
    "resolver option": ("dnsConfig", {"options": [{}]}, "spec.dnsConfig.options[0].name: Required value"),
    "gate twice": (
        "schedulingGates",
        [{"name": "a"}, {"name": "a"}],
        'spec.schedulingGates[1].name: Duplicate value: "a"',
    ),
    # affinity and spreading
    "preferred node, weight": (
        f"affinity.nodeAffinity.{PREFERRED}",
        [{"weight": 0, "preference": {}}],
        f"spec.affinity.nodeAffinity.{PREFERRED}[0].weight: Invalid value: 0: must be in the range 1-100",
    ),
    "preferred node, number": (
        f"affinity.nodeAffinity.{PREFERRED}",
        [{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Lt"}]}}],
        f"spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchExpressions[0].values: Required value: must be "
        "specified single value when `operator` is 'Lt' or 'Gt'",
    ),
    "field of a node": (
        f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms.0.matchFields",
        [{"key": "metadata.uid", "operator": "In", "values": ["a"]}],
        f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchFields[0].key: Unsupported value: "
        '"metadata.uid": supported values: "metadata.name"',
    ),
    "field of a node, operator": (
        f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms.0.matchFields",
        [{"key": "metadata.name", "operator": "Exists"}],
        f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchFields[0].operator: Invalid value: "
        '"Exists": not a valid selector operator',
    ),
    "field of a node, values": (
        f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms.0.matchFields",
        [{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}],
        f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchFields[0].values: Required value: must be "
        "only one value",
    ),
    "near pods": (
        "affinity.podAffinity",
        {REQUIRED: [{"topologyKey": "a", "labelSelector": BROKEN_SELECTOR}]},
        f"spec.affinity.podAffinity.{REQUIRED}[0].labelSelector.matchExpressions[0].operator: Invalid value: "
        '"Near": not a valid selector operator',
    ),
    "near pods of namespaces": (
        "affinity.podAffinity",
        {REQUIRED: [{"topologyKey": "a", "namespaceSelector": BROKEN_SELECTOR}]},
        f"spec.affinity.podAffinity.{REQUIRED}[0].namespaceSelector.matchExpressions[0].operator: Invalid value: ",
    ),
    "near pods of a namespace": (
        "affinity.podAffinity",
        {REQUIRED: [{"topologyKey": "a", "namespaces": ["A"]}]},
        f'spec.affinity.podAffinity.{REQUIRED}[0].namespaces[0]: Invalid value: "A": a lowercase RFC 1123 label',
    ),
    "spreading, otherwise": (
        "topologySpreadConstraints",
        spread(whenUnsatisfiable="Wait"),
        'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Wait": supported values: ',
    ),
    "spreading, selector": (
        "topologySpreadConstraints",
        spread(labelSelector=BROKEN_SELECTOR),
        "spec.topologySpreadConstraints[0].labelSelector.matchExpressions[0].operator: Invalid value: ",
    ),
    "spreading, domains": (
        "topologySpreadConstraints",
        spread(minDomains=0),
        "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero",
    ),
    "spreading, domains for nothing": (
        "topologySpreadConstraints",
        spread(minDomains=1),
        "spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if "
        "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
    ),
    "spreading, affinity": (
        "topologySpreadConstraints",
        spread(nodeAffinityPolicy="X"),
        'spec.topologySpreadConstraints[0].nodeAffinityPolicy: Unsupported value: "X": supported values: "Honor"',
    ),
    "spreading, taints": (
        "topologySpreadConstraints",
        spread(nodeTaintsPolicy="X"),
        'spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: "X": supported values: "Honor"',
    ),
    "spreading twice": (
        "topologySpreadConstraints",
        spread() * 2,
        'spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "{zone, ScheduleAnyway}"',
    ),
}


@pytest.mark.parametrize(("path", "value", "expected"), CASES.values(), ids=CASES)
def test_one_fault(path: str, value: object, expected: str) -> None:
    found = faults(changed(path, value))
    assert any(fault.startswith(expected) for fault in found), found


def test_own_nameservers_are_named() -> None:
    data = changed("dnsConfig", {"options": [{"name": "ndots", "value": "1"}]})
    spec = data["spec"]
    assert isinstance(spec, dict)
    spec["dnsPolicy"] = "None"
    assert faults(data) == [
        "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"
    ]


def test_without_defaults_what_they_would_fill_is_missing() -> None:
    pod = Pod()
    pod.spec.volumes.add(name="v")
    pod.spec.containers.add(name="a", image="x").env.add(name="A").value_from.field_ref.field_path = "metadata.name"
    pod.spec.containers[0].liveness_probe.http_get.port.number_value = 80
    assert {str(fault) for fault in validate(pod)} >= {
        "spec.volumes[0]: Required value: must specify a volume type",
        f"{C}.imagePullPolicy: Required value",
        f"{C}.env[0].valueFrom.fieldRef.apiVersion: Required value",
        f"{C}.livenessProbe.httpGet.path: Required value",
        "spec.restartPolicy: Required value",
    }
