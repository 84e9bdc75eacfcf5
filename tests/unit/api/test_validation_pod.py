"""Pods: every rule as one change to a good pod and the fault it must draw."""

from __future__ import annotations

import copy

import pytest
from google.protobuf.json_format import ParseDict, ParseError
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.defaults import set_defaults
from orchestrator.api.v1 import Pod
from orchestrator.api.validation import validate, validate_update

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


def test_a_good_pod_has_no_faults() -> None:
    assert faults(GOOD) == []


C = "spec.containers[0]"
ID_RANGE = "must be between 0 and 2147483647, inclusive"
CASES: dict[str, tuple[str, object, str]] = {
    # containers
    "no containers": ("containers", [], "spec.containers: Required value"),
    "container without a name": ("containers.0.name", "", f"{C}.name: Required value"),
    "container name": ("containers.0.name", "Web", f'{C}.name: Invalid value: "Web": a lowercase RFC 1123 label must'),
    "image": ("containers.0.image", "", f"{C}.image: Required value"),
    "image with spaces": ("containers.0.image", " a ", f'{C}.image: Invalid value: " a ": must not have leading or'),
    "same name twice": (
        "containers.1",
        {"name": "web", "image": "x"},
        'spec.containers[1].name: Duplicate value: "web"',
    ),
    "same name as an init container": (
        "initContainers.0.name",
        "web",
        'spec.initContainers[0].name: Duplicate value: "web"',
    ),
    "pull policy": (
        "containers.0.imagePullPolicy",
        "Sometimes",
        f'{C}.imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"',
    ),
    "message policy": (
        "containers.0.terminationMessagePolicy",
        "X",
        f'{C}.terminationMessagePolicy: Unsupported value: "X": supported values: "FallbackToLogsOnError", "File"',
    ),
    # ports
    "port missing": ("containers.0.ports.0", {"name": "a"}, f"{C}.ports[0].containerPort: Required value"),
    "port range": (
        "containers.0.ports.0.containerPort",
        70000,
        f"{C}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    "host port range": (
        "containers.0.ports.0.hostPort",
        -1,
        f"{C}.ports[0].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive",
    ),
    "protocol": (
        "containers.0.ports.0.protocol",
        "tcp",
        f'{C}.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"',
    ),
    "port name": (
        "containers.0.ports.0.name",
        "a-very-long-port-name",
        f'{C}.ports[0].name: Invalid value: "a-very-long-port-name": must be no more than 15 bytes',
    ),
    "port name twice": (
        "containers.0.ports",
        [{"name": "http", "containerPort": 1}, {"name": "http", "containerPort": 2}],
        f'{C}.ports[1].name: Duplicate value: "http"',
    ),
    "host port twice": (
        "containers.0.ports",
        [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}],
        f'{C}.ports[1].hostPort: Duplicate value: "TCP//80"',
    ),
    "host port of another container": (
        "containers",
        [
            {"name": "a", "image": "x", "ports": [{"containerPort": 1, "hostPort": 80}]},
            {"name": "b", "image": "x", "ports": [{"containerPort": 2, "hostPort": 80}]},
        ],
        'spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//80"',
    ),
    # environment
    "variable without a name": ("containers.0.env.0.name", "", f"{C}.env[0].name: Required value"),
    "variable name": (
        "containers.0.env.0.name",
        "a=b",
        f'{C}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable',
    ),
    "value and source": (
        "containers.0.env.1.value",
        "x",
        f'{C}.env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
    ),
    "no source": (
        "containers.0.env.1.valueFrom",
        {},
        f'{C}.env[1].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
        "`configMapKeyRef` or `secretKeyRef`",
    ),
    "two sources": (
        "containers.0.env.1.valueFrom.secretKeyRef",
        {"name": "s", "key": "k"},
        f'{C}.env[1].valueFrom: Invalid value: "": may not have more than one field specified at a time',
    ),
    "field that does not exist": (
        "containers.0.env.1.valueFrom.fieldRef.fieldPath",
        "spec.foo",
        f'{C}.env[1].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.foo": supported values: "metadata.name"',
    ),
    "whole labels in a variable": (
        "containers.0.env.1.valueFrom.fieldRef.fieldPath",
        "metadata.labels",
        f'{C}.env[1].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels"',
    ),
    "label that can't be": (
        "containers.0.env.2.valueFrom.fieldRef.fieldPath",
        "metadata.labels['a b']",
        f'{C}.env[2].valueFrom.fieldRef.fieldPath: Invalid value: "a b": name part must consist of',
    ),
    "resource that does not exist": (
        "containers.0.env.3.valueFrom.resourceFieldRef.resource",
        "limits.gpu",
        f'{C}.env[3].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu"',
    ),
    "config map key": (
        "containers.0.env.4.valueFrom.configMapKeyRef.key",
        "",
        f"{C}.env[4].valueFrom.configMapKeyRef.key: Required value",
    ),
    "envFrom of nothing": (
        "containers.0.envFrom.0",
        {"prefix": "A"},
        f'{C}.envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
    ),
    "envFrom without a name": (
        "containers.0.envFrom.0.secretRef",
        {},
        f"{C}.envFrom[0].secretRef.name: Required value",
    ),
    # mounts
    "unknown volume": ("containers.0.volumeMounts.0.name", "x", f'{C}.volumeMounts[0].name: Not found: "x"'),
    "mount path": ("containers.0.volumeMounts.0.mountPath", "", f"{C}.volumeMounts[0].mountPath: Required value"),
    "mount path twice": (
        "containers.0.volumeMounts",
        [{"name": "data", "mountPath": "/d"}, {"name": "host", "mountPath": "/d"}],
        f'{C}.volumeMounts[1].mountPath: Invalid value: "/d": must be unique',
    ),
    "sub path upwards": (
        "containers.0.volumeMounts.0.subPath",
        "a/../..",
        f"{C}.volumeMounts[0].subPath: Invalid value: \"a/../..\": must not contain '..'",
    ),
    "sub path from the root": (
        "containers.0.volumeMounts.0.subPath",
        "/a",
        f'{C}.volumeMounts[0].subPath: Invalid value: "/a": must be a relative path',
    ),
    "two sub paths": (
        "containers.0.volumeMounts.0.subPathExpr",
        "a",
        f'{C}.volumeMounts[0].subPathExpr: Invalid value: "a": subPathExpr and subPath are mutually exclusive',
    ),
    "propagation without privilege": (
        "containers.0.volumeMounts.0.mountPropagation",
        "Bidirectional",
        f"{C}.volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to",
    ),
    # resources
    "quantity": (
        "containers.0.resources.limits.cpu",
        "a lot",
        f'{C}.resources.limits[cpu]: Invalid value: "a lot": quantities must match the regular expression',
    ),
    "negative quantity": (
        "containers.0.resources.requests.memory",
        "-1",
        f'{C}.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0',
    ),
    "request over limit": (
        "containers.0.resources.requests.cpu",
        "2",
        f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    "no such resource": (
        "containers.0.resources.limits.gpu",
        "1",
        f'{C}.resources.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers',
    ),
    "half a device": (
        "containers.0.resources.limits",
        {"example.com/gpu": "500m"},
        f'{C}.resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer',
    ),
    "device without a limit": (
        "containers.0.resources.requests",
        {"example.com/gpu": "1"},
        f"{C}.resources.limits[example.com/gpu]: Required value: Limit must be set for non overcommitable resources",
    ),
    # probes and hooks
    "probe without a handler": (
        "containers.0.livenessProbe",
        {"periodSeconds": 1},
        f"{C}.livenessProbe: Required value: must specify a handler type",
    ),
    "probe with two handlers": (
        "containers.0.livenessProbe.tcpSocket",
        {"port": 80},
        f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
    ),
    "probe port": (
        "containers.0.livenessProbe.httpGet.port",
        0,
        f"{C}.livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
    ),
    "probe port name": (
        "containers.0.livenessProbe.httpGet.port",
        "HTTP!",
        f'{C}.livenessProbe.httpGet.port: Invalid value: "HTTP!": must contain only alpha-numeric characters',
    ),
    "probe scheme": (
        "containers.0.livenessProbe.httpGet.scheme",
        "http",
        f'{C}.livenessProbe.httpGet.scheme: Unsupported value: "http": supported values: "HTTP", "HTTPS"',
    ),
    "probe period": (
        "containers.0.livenessProbe.periodSeconds",
        -1,
        f"{C}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
    ),
    "liveness successes": (
        "containers.0.livenessProbe.successThreshold",
        2,
        f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ),
    "readiness with a grace period": (
        "containers.0.readinessProbe.terminationGracePeriodSeconds",
        "1",
        f"{C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
    ),
    "probe command": (
        "containers.0.readinessProbe.exec.command",
        [],
        f"{C}.readinessProbe.exec.command: Required value",
    ),
    "a long sleep before the end": (
        "containers.0.lifecycle.preStop.sleep.seconds",
        "31",
        f"{C}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than",
    ),
    "hook without a handler": (
        "containers.0.lifecycle.postStart",
        {},
        f"{C}.lifecycle.postStart: Required value: must specify a handler type",
    ),
    "probe of an init container": (
        "initContainers.0.readinessProbe",
        {"exec": {"command": ["true"]}},
        "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without "
        "restartPolicy=Always",
    ),
    "restart policy of an init container": (
        "initContainers.0.restartPolicy",
        "Never",
        'spec.initContainers[0].restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    # volumes
    "volume name": ("volumes.0.name", "A_b", 'spec.volumes[0].name: Invalid value: "A_b": a lowercase RFC 1123 label'),
    "volume name twice": ("volumes.1.name", "data", 'spec.volumes[1].name: Duplicate value: "data"'),
    "two sources of a volume": (
        "volumes.1.emptyDir",
        {},
        "spec.volumes[1].emptyDir: Forbidden: may not specify more than 1 volume type",
    ),
    "host path type": (
        "volumes.1.hostPath.type",
        "Folder",
        'spec.volumes[1].hostPath.type: Unsupported value: "Folder": supported values: ',
    ),
    "host path upwards": (
        "volumes.1.hostPath.path",
        "/a/../b",
        "spec.volumes[1].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
    ),
    "config map of a volume": ("volumes.2.configMap.name", "", "spec.volumes[2].configMap.name: Required value"),
    "file mode": (
        "volumes.2.configMap.defaultMode",
        512,
        "spec.volumes[2].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal)",
    ),
    "file path": (
        "volumes.2.configMap.items.0.path",
        "../a",
        "spec.volumes[2].configMap.items[0].path: Invalid value: \"../a\": must not contain '..'",
    ),
    "secret of a volume": ("volumes.0.secret", {}, "spec.volumes[0].secret.secretName: Required value"),
    "size": (
        "volumes.0.emptyDir",
        {"sizeLimit": "big"},
        'spec.volumes[0].emptyDir.sizeLimit: Invalid value: "big": quantities must match',
    ),
    "medium": (
        "volumes.0.emptyDir",
        {"medium": "Disk"},
        'spec.volumes[0].emptyDir.medium: Unsupported value: "Disk": supported values: "", "HugePages", "Memory"',
    ),
    "same file from two sources": (
        "volumes.3.projected.sources.0.secret.items.0.path",
        "y",
        'spec.volumes[3].projected: Invalid value: "y": conflicting duplicate paths',
    ),
    "file of nothing": (
        "volumes.3.projected.sources.1.downwardAPI.items.0",
        {"path": "a"},
        "spec.volumes[3].projected.sources[1].downwardAPI.items[0]: Required value: one of fieldRef and",
    ),
    # the pod
    "restart policy": (
        "restartPolicy",
        "X",
        'spec.restartPolicy: Unsupported value: "X": supported values: "Always", "Never", "OnFailure"',
    ),
    "DNS policy": ("dnsPolicy", "X", 'spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirst"'),
    "DNS of its own": (
        "dnsPolicy",
        "None",
        "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
    ),
    "name server": (
        "dnsConfig",
        {"nameservers": ["dns.test"]},
        'spec.dnsConfig.nameservers[0]: Invalid value: "dns.test": must be a valid IP address',
    ),
    "name servers": (
        "dnsConfig",
        {"nameservers": [f"10.0.0.{number}" for number in range(4)]},
        "spec.dnsConfig.nameservers: Too many: 4: must have at most 3 items",
    ),
    "grace period": (
        "terminationGracePeriodSeconds",
        "-1",
        "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
    ),
    "deadline": (
        "activeDeadlineSeconds",
        "0",
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    ),
    "host alias": (
        "hostAliases.0.ip",
        "x",
        'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address',
    ),
    "host alias name": ("hostAliases.0.hostnames.0", "A", 'spec.hostAliases[0].hostnames[0]: Invalid value: "A"'),
    "node name": ("nodeName", "N1", 'spec.nodeName: Invalid value: "N1": a lowercase RFC 1123 subdomain must'),
    "hostname": ("hostname", "a.b", 'spec.hostname: Invalid value: "a.b": a lowercase RFC 1123 label must'),
    "node selector": ("nodeSelector.disk", "a b", 'spec.nodeSelector: Invalid value: "a b": a valid label must be'),
    "toleration operator": (
        "tolerations.0.operator",
        "Near",
        'spec.tolerations[0].operator: Unsupported value: "Near": supported values: "Equal", "Exists"',
    ),
    "toleration of everything": (
        "tolerations.0",
        {"operator": "Equal"},
        'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which '
        'means "match all values and all keys"',
    ),
    "toleration with a useless value": (
        "tolerations.0.operator",
        "Exists",
        "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
    ),
    "toleration for a while": (
        "tolerations.0.tolerationSeconds",
        "5",
        "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when",
    ),
    "toleration effect": (
        "tolerations.0.effect",
        "X",
        'spec.tolerations[0].effect: Unsupported value: "X": supported values: "NoExecute", "NoSchedule"',
    ),
    "node affinity without terms": (
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
        [],
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
        "must have at least one node selector term",
    ),
    "affinity weight": (
        "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.0.weight",
        101,
        "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: "
        "must be in the range 1-100",
    ),
    "topology key": (
        "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.0.podAffinityTerm.topologyKey",
        "",
        "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: "
        "Required value: can not be empty",
    ),
    "spreading": (
        "topologySpreadConstraints",
        [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}],
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
    ),
    # security
    "user": (
        "containers.0.securityContext.runAsUser",
        "-1",
        f"{C}.securityContext.runAsUser: Invalid value: -1: {ID_RANGE}",
    ),
    "user of the pod": (
        "securityContext",
        {"runAsUser": "-1"},
        f"spec.securityContext.runAsUser: Invalid value: -1: {ID_RANGE}",
    ),
    "privileged without escalation": (
        "containers.0.securityContext.privileged",
        True,
        f"{C}.securityContext: Invalid value: "
        '{"privileged":true,"runAsUser":"1000","allowPrivilegeEscalation":false}: '
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
    ),
    "seccomp": (
        "containers.0.securityContext.seccompProfile",
        {"type": "Localhost"},
        f'{C}.securityContext.seccompProfile.localhostProfile: Required value: must be set when type is "Localhost"',
    ),
    "sysctl": (
        "securityContext",
        {"sysctls": [{"name": "A B", "value": "1"}]},
        'spec.securityContext.sysctls[0].name: Invalid value: "A B": must have at most 253 characters',
    ),
}


@pytest.mark.parametrize(("path", "value", "expected"), CASES.values(), ids=CASES)
def test_one_fault(path: str, value: object, expected: str) -> None:
    found = faults(changed(path, value))
    assert any(fault.startswith(expected) for fault in found), found


def test_all_faults_at_once() -> None:
    data = changed("restartPolicy", "X")
    data["spec"]["containers"] = [{"name": "A"}, {"image": "x"}]  # type: ignore[index]
    data["metadata"] = {"name": "Web"}
    paths = [fault.split(":")[0] for fault in faults(data)]
    assert paths == [
        "metadata.name",
        "metadata.namespace",
        "spec.containers[0].name",
        "spec.containers[0].image",
        "spec.containers[1].name",
        "spec.restartPolicy",
    ]


def test_processes_shared_with_the_node_and_among_themselves() -> None:
    data = changed("hostPID", True)
    assert faults(data) == []
    data["spec"]["shareProcessNamespace"] = True  # type: ignore[index]
    assert faults(data) == [
        "spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"
    ]


def test_on_the_nodes_network_ports_must_be_the_nodes() -> None:
    data = changed("hostNetwork", True)
    assert faults(data) == []
    data["spec"]["containers"][0]["ports"][0]["hostPort"] = 81  # type: ignore[index]
    assert faults(data) == [
        f"{C}.ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true"
    ]


def test_a_gated_pod_has_no_node() -> None:
    data = changed("schedulingGates", [{"name": "example.com/wait"}])
    assert faults(data) == []
    data["spec"]["nodeName"] = "n1"  # type: ignore[index]
    assert faults(data) == ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"]


FIXED = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative): "
    "changed "
)
UPDATES: dict[str, tuple[str, object, list[str]]] = {
    "image": ("containers.0.image", "registry.test/web:v2", []),
    "init image": ("initContainers.0.image", "registry.test/init:v2", []),
    "deadline set": ("activeDeadlineSeconds", "10", []),
    "toleration added": (
        "tolerations",
        [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}, {"key": "z", "operator": "Exists"}],
        [],
    ),
    "toleration removed": (
        "tolerations",
        [],
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
    ),
    "command": ("containers.0.command", ["sh"], [f"{FIXED}spec.containers"]),
    "restart policy": ("restartPolicy", "Never", [f"{FIXED}spec.restartPolicy"]),
    "node": ("nodeName", "n2", [f"{FIXED}spec.nodeName"]),
    "host name": ("hostname", "x", [f"{FIXED}spec.hostname"]),
    "selector gone": ("nodeSelector", {}, [f"{FIXED}spec.nodeSelector"]),
    "grace period": ("terminationGracePeriodSeconds", "1", [f"{FIXED}spec.terminationGracePeriodSeconds"]),
    "container added": (
        "containers.1",
        {"name": "b", "image": "x"},
        ["spec.containers: Forbidden: pod updates may not add or remove containers"],
    ),
    "init container gone": (
        "initContainers",
        [],
        ["spec.initContainers: Forbidden: pod updates may not add or remove containers"],
    ),
}


@pytest.mark.parametrize(("path", "value", "expected"), UPDATES.values(), ids=UPDATES)
def test_update(path: str, value: object, expected: list[str]) -> None:
    assert [str(fault) for fault in validate_update(pod(changed(path, value)), pod(GOOD))] == expected


def test_a_deadline_only_gets_shorter() -> None:
    old = pod(changed("activeDeadlineSeconds", "10"))
    for value, expected in (
        ("5", []),
        ("11", ["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"]),
        (
            None,
            ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"],
        ),
    ):
        new = pod(GOOD if value is None else changed("activeDeadlineSeconds", value))
        assert [str(fault) for fault in validate_update(new, old)] == expected


def test_a_negative_grace_period_may_become_one_second() -> None:
    old = pod(changed("terminationGracePeriodSeconds", "-1"))
    assert validate_update(pod(changed("terminationGracePeriodSeconds", "1")), old) == []
    assert validate_update(pod(changed("terminationGracePeriodSeconds", "2")), old) != []


def test_gates_only_go_away() -> None:
    gated = pod(changed("schedulingGates", [{"name": "a"}, {"name": "b"}]))
    assert validate_update(pod(changed("schedulingGates", [{"name": "b"}])), gated) == []
    assert next(str(fault) for fault in validate_update(gated, pod(GOOD))) == (
        "spec.schedulingGates[0]: Forbidden: only deletion is allowed, but found new scheduling gate 'a'"
    )


def test_a_gated_pod_may_become_choosier() -> None:
    gated = changed("schedulingGates", [{"name": "a"}])
    choosier = copy.deepcopy(gated)
    choosier["spec"]["nodeSelector"]["zone"] = "x"  # type: ignore[index]
    assert validate_update(pod(choosier), pod(gated)) == []
    assert validate_update(pod(gated), pod(choosier)) != []


JSON = st.sampled_from(["", "a", "A b", "/x", "..", "-1", "9" * 30])


@given(st.sampled_from(sorted(path for path, value, _ in CASES.values() if isinstance(value, str))), JSON)
def test_any_text_in_any_field_is_judged(path: str, text: str) -> None:
    try:
        obj = ParseDict(changed(path, text), Pod())
    except ParseError:  # of numbers; the decoder's business
        return
    set_defaults(obj)
    validate(obj)
    validate_update(obj, pod(GOOD))
