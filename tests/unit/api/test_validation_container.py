"""Containers: every rule as one change to a good pod and the fault it must draw."""

from __future__ import annotations

import pytest

from tests.unit.api.validation_pods import changed, faults

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
        f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources",
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
        '{"privileged":true,"runAsUser":1000,"allowPrivilegeEscalation":false}: '
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
