"""Objects in words, for each kind that has words of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.descriptions.object import describe_object
from cli.descriptions.page import Page
from orchestrator.api.codec import from_json
from orchestrator.api.kinds import KubeObject
from orchestrator.api.manifest import read_manifests
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Event, EventSource, Node, Pod

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
METADATA = "metadata: {name: web, namespace: default, creationTimestamp: 2026-11-22T11:50:00Z}"


def read(manifest: str) -> KubeObject:
    return from_json(read_manifests(manifest, "test")[0].data).obj


def describe(manifest: str, *events: Event) -> str:
    return describe_object(read(manifest), events, NOW)


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


POD = f"""
apiVersion: v1
kind: Pod
{METADATA}
spec:
  nodeName: n1
  serviceAccountName: default
  tolerations: [{{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 300}}, {{key: b, value: c}}]
  nodeSelector: {{disk: ssd}}
  initContainers: [{{name: first, image: init:1, command: [sh, -c, "one\\ntwo"]}}]
  containers:
  - name: main
    image: web:v1
    args: [-f]
    ports: [{{containerPort: 80, hostPort: 8080}}, {{containerPort: 53, protocol: UDP}}]
    env:
    - {{name: PLAIN, value: "1"}}
    - {{name: FIELD, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
    - {{name: AMOUNT, valueFrom: {{resourceFieldRef: {{resource: limits.cpu}}}}}}
    - {{name: CONFIG, valueFrom: {{configMapKeyRef: {{name: cm, key: k}}}}}}
    - {{name: HIDDEN, valueFrom: {{secretKeyRef: {{name: s, key: k}}}}}}
    envFrom: [{{configMapRef: {{name: cm}}}}, {{prefix: X_, secretRef: {{name: s, optional: true}}}}]
    readinessProbe: {{httpGet: {{path: /ready, port: 80}}, periodSeconds: 5}}
    livenessProbe: {{exec: {{command: [cat, /alive]}}}}
    startupProbe: {{tcpSocket: {{port: http}}}}
    resources: {{limits: {{cpu: 500m}}, requests: {{cpu: 250m}}}}
    volumeMounts: [{{name: data, mountPath: /data, subPath: x}}, {{name: c, mountPath: /c, readOnly: true}}]
  volumes: [{{name: data, emptyDir: {{}}}}, {{name: c, configMap: {{name: cm}}}}, {{name: h, hostPath: {{path: /x}}}}]
status:
  phase: Running
  podIP: 10.244.0.5
  hostIP: 192.0.2.4
  qosClass: Burstable
  conditions: [{{type: Ready, status: "True"}}]
  initContainerStatuses:
  - {{name: first, state: {{terminated: {{exitCode: 0, reason: Completed}}}}}}
  containerStatuses:
  - name: main
    containerID: containerd://abc
    ready: true
    restartCount: 2
    state: {{waiting: {{reason: CrashLoopBackOff, message: back-off 10s}}}}
    lastState: {{terminated: {{exitCode: 1, reason: Error}}}}
"""


@pytest.mark.parametrize(
    "line",
    [
        "Name: web",
        "CreationTimestamp: Sun, 22 Nov 2026 11:50:00 +0000",
        "Node: n1/192.0.2.4",
        "Status: Running",
        "IP: 10.244.0.5",
        "Command: sh",
        "Ports: 80/TCP",
        "53/UDP",
        "Host Ports: 8080/TCP",
        "Args: -f",
        "State: Waiting",
        "Reason: CrashLoopBackOff",
        "Message: back-off 10s",
        "Last State: Terminated",
        "Exit Code: 1",
        "Restart Count: 2",
        "Limits: cpu: 500m",
        "Requests: cpu: 250m",
        "Liveness: exec [cat /alive] delay=0s timeout=0s period=0s #success=0 #failure=0",
        "Readiness: http-get http://:80/ready delay=0s timeout=0s period=5s #success=0 #failure=0",
        "Startup: tcp-socket :http delay=0s timeout=0s period=0s #success=0 #failure=0",
        "Environment Variables from: cm ConfigMap Optional: false",
        "s Secret with prefix 'X_' Optional: true",
        "Environment: PLAIN: 1",
        "FIELD: (v1:status.podIP)",
        "AMOUNT: (limits.cpu)",
        "CONFIG: <set to the key 'k' of config map 'cm'>",
        "HIDDEN: <set to the key 'k' in secret 's'>",
        'Mounts: /data from data (rw,path="x")',
        "/c from c (ro)",
        "Ready True",
        "Type: EmptyDir",
        "Type: HostPath",
        "Path: /x",
        "QoS Class: Burstable",
        "Node-Selectors: disk=ssd",
        "Tolerations: a:NoExecute op=Exists for 300s",
        "b=c",
        "Events: <none>",
    ],
)
def test_a_pod(line: str) -> None:
    assert line in lines(describe(POD))


def test_the_lines_of_a_value_stay_in_its_column() -> None:
    text = describe(POD).splitlines()
    first = next(i for i, line in enumerate(text) if line.endswith("one"))
    assert text[first + 1].index("two") == text[first].index("one")


def test_a_pod_that_ends() -> None:
    pod = read(POD)
    pod.metadata.deletion_grace_period_seconds = 30
    for seconds, status in ((20, "Status: Terminating"), (-130, "Status: Terminating (lasts 2m10s)")):
        pod.metadata.deletion_timestamp.CopyFrom(to_timestamp(NOW + timedelta(seconds=seconds)))
        shown = lines(describe_object(pod, None, NOW))
        assert status in shown
        assert "Status: Running" not in shown
        assert "Termination Grace Period: 30s" in shown


DEPLOYMENT = f"""
apiVersion: apps/v1
kind: Deployment
{METADATA}
spec:
  replicas: 3
  paused: true
  selector: {{matchLabels: {{app: web}}, matchExpressions: [{{key: tier, operator: In, values: [a, b]}}]}}
  strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: 25%, maxUnavailable: 0}}}}
  template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: main, image: "web:v1"}}]}}}}
status:
  replicas: 2
  updatedReplicas: 1
  availableReplicas: 1
  unavailableReplicas: 1
  conditions: [{{type: Available, status: "False", reason: MinimumReplicasUnavailable}}]
"""

SERVICE = f"""
apiVersion: v1
kind: Service
{METADATA}
spec:
  type: NodePort
  clusterIP: 10.96.0.5
  selector: {{app: web}}
  ports: [{{port: 80, nodePort: 30080, targetPort: http, protocol: TCP, name: front}}]
"""


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (
            DEPLOYMENT,
            [
                "Selector: app=web,tier in (a,b)",
                "Replicas: 3 desired | 1 updated | 2 total | 1 available | 1 unavailable",
                "RollingUpdateStrategy: 0 max unavailable, 25% max surge",
                "Paused: true",
                "Labels: app=web",
                "Image: web:v1",
                "Available False MinimumReplicasUnavailable",
            ],
        ),
        (
            SERVICE,
            [
                "Selector: app=web",
                "Type: NodePort",
                "IP: 10.96.0.5",
                "Port: front 80/TCP",
                "TargetPort: http/TCP",
                "NodePort: front 30080/TCP",
            ],
        ),
        (
            f'apiVersion: v1\nkind: ConfigMap\n{METADATA}\ndata: {{a: "1\\n2\\n", b: x}}\nbinaryData: {{c: AAAA}}\n',
            ["a: 1", "2", "b: x", "c: 3 bytes"],
        ),
        (
            f"apiVersion: v1\nkind: Secret\n{METADATA}\ntype: Opaque\ndata: {{password: Z2VoZWlt}}\n",
            ["Type: Opaque", "password: 6 bytes"],
        ),
        (
            f"apiVersion: coordination.k8s.io/v1\nkind: Lease\n{METADATA}\nspec: {{holderIdentity: me}}\n",
            ["Spec:", "HolderIdentity: me"],
        ),
    ],
)
def test_other_kinds(manifest: str, expected: list[str]) -> None:
    shown = lines(describe(manifest))
    assert [line for line in expected if line not in shown] == []
    assert "geheim" not in " ".join(shown)
    assert "Z2VoZWlt" not in " ".join(shown)


def test_a_node_with_its_pods() -> None:
    node = read(
        """
        apiVersion: v1
        kind: Node
        metadata: {name: n1, creationTimestamp: 2026-11-22T11:50:00Z}
        spec: {unschedulable: true, podCIDR: 10.244.0.0/24, taints: [{key: a, value: b, effect: NoSchedule}]}
        status:
          allocatable: {cpu: "2", memory: 1Gi}
          addresses: [{type: InternalIP, address: 192.0.2.4}]
          conditions: [{type: Ready, status: "True", reason: KubeletReady, message: ready}]
          nodeInfo: {kernelVersion: "6.1"}
        """
    )
    pod = read(POD)
    assert isinstance(node, Node)
    assert isinstance(pod, Pod)
    shown = lines(describe_object(node, None, NOW, related=[pod]))
    for line in (
        "Taints: a=b:NoSchedule", "Unschedulable: true", "PodCIDR: 10.244.0.0/24", "Addresses: InternalIP: 192.0.2.4",
        "KernelVersion: 6.1", "Pods (1 in total):", "default web 250m 0Mi", "cpu 250m 12%", "memory 0Mi 0%",
    ):  # fmt: skip
        assert line in shown


def event(seconds: int, message: str, count: int = 1) -> Event:
    moment = to_timestamp(NOW - timedelta(seconds=seconds))
    return Event(
        type="Warning",
        reason="Failed",
        message=message,
        count=count,
        source=EventSource(component="scheduler"),
        first_timestamp=to_timestamp(NOW - timedelta(seconds=300)),
        last_timestamp=moment,
    )


def test_events_in_the_order_of_time() -> None:
    new = Event(type="Normal", reason="Pulled", message="new", reporting_component="agent")
    new.event_time.CopyFrom(to_timestamp(NOW - timedelta(seconds=5)))
    shown = lines(describe(POD, new, event(10, "two\nlines", 3), event(60, "first")))
    assert shown[-5:] == [
        "Type Reason Age From Message",
        "---- ------ --- ---- -------",
        "Warning Failed 60s scheduler first",
        "Warning Failed 10s (x3 over 5m) scheduler two lines",
        "Normal Pulled 5s agent new",
    ]
    assert "Events" not in describe_object(read(POD), None, NOW)


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=8), st.text("xy\n", max_size=6)), min_size=1, max_size=6))
def test_values_stand_in_one_column(pairs: list[tuple[str, str]]) -> None:
    page = Page()
    for name, value in pairs:
        page.value(name, value)
    rows = [line for line in page.text().splitlines() if not line.endswith(":")]
    column = max(len(name) for name, _ in pairs) + 3
    assert all(row[column - 2 : column].isspace() and not row[column : column + 1].isspace() for row in rows if row)
