"""Defaults: what appears where nothing was said, and that saying it twice changes nothing."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.allocated import keep_allocated
from orchestrator.api.defaults import pull_policy, set_defaults
from orchestrator.api.qos import qos_class
from orchestrator.api.v1 import (
    ConfigMap,
    Container,
    Deployment,
    EndpointSlice,
    Namespace,
    Node,
    Pod,
    PodSpec,
    ReplicaSet,
    Secret,
    Service,
    Volume,
)

Json = dict[str, object]


def defaulted(message: Message, given: Json) -> Json:
    ParseDict(given, message)
    set_defaults(message)
    data: Json = MessageToDict(message)
    return data


CASES: dict[str, tuple[Message, Json, Json]] = {
    "container": (
        Container(),
        {"name": "a", "image": "x:v1"},
        {
            "name": "a",
            "image": "x:v1",
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
        },
    ),
    "pod spec": (
        PodSpec(),
        {},
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": "30",
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "enableServiceLinks": True,
        },
    ),
    "what is set stays": (
        PodSpec(),
        {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "enableServiceLinks": False},
        {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": "0",
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "enableServiceLinks": False,
        },
    ),
    "the old name of the service account": (
        PodSpec(),
        {"serviceAccount": "sa", "restartPolicy": "Never", "terminationGracePeriodSeconds": 1},
        {
            "serviceAccount": "sa",
            "serviceAccountName": "sa",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": "1",
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "enableServiceLinks": True,
        },
    ),
    "volume without a source": (Volume(), {"name": "v"}, {"name": "v", "emptyDir": {}}),
    "volume from a config map": (
        Volume(),
        {"name": "v", "configMap": {"name": "c"}},
        {"name": "v", "configMap": {"name": "c", "defaultMode": 420}},
    ),
    "volume mode 0 is a mode": (
        Volume(),
        {"name": "v", "secret": {"secretName": "c", "defaultMode": 0}},
        {"name": "v", "secret": {"secretName": "c", "defaultMode": 0}},
    ),
    "volume with a size": (
        Volume(),
        {"name": "v", "emptyDir": {"sizeLimit": "1024Mi"}},
        {"name": "v", "emptyDir": {"sizeLimit": "1Gi"}},
    ),
    "replica set": (ReplicaSet(), {"spec": {}}, {"spec": {"replicas": 1}}),
    "replica set of none": (ReplicaSet(), {"spec": {"replicas": 0}}, {"spec": {"replicas": 0}}),
    "deployment": (
        Deployment(),
        {"spec": {}},
        {
            "spec": {
                "replicas": 1,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            }
        },
    ),
    "deployment that recreates": (
        Deployment(),
        {"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}},
        {
            "spec": {
                "replicas": 0,
                "strategy": {"type": "Recreate"},
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            }
        },
    ),
    "deployment with a pace": (
        Deployment(),
        {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}, "revisionHistoryLimit": 0}},
        {
            "spec": {
                "replicas": 1,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0.0, "maxSurge": "25%"}},
                "revisionHistoryLimit": 0,
                "progressDeadlineSeconds": 600,
            }
        },
    ),
    "service": (
        Service(),
        {"spec": {"ports": [{"port": 80}]}},
        {
            "spec": {
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80.0}],
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "internalTrafficPolicy": "Cluster",
            }
        },
    ),
    "service with everything": (
        Service(),
        {
            "spec": {
                "type": "NodePort",
                "clusterIP": "10.96.0.9",
                "ports": [{"port": 80, "protocol": "UDP", "targetPort": "http"}],
                "sessionAffinity": "ClientIP",
            }
        },
        {
            "spec": {
                "ports": [{"port": 80, "protocol": "UDP", "targetPort": "http"}],
                "type": "NodePort",
                "clusterIP": "10.96.0.9",
                "clusterIPs": ["10.96.0.9"],
                "externalTrafficPolicy": "Cluster",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "internalTrafficPolicy": "Cluster",
            }
        },
    ),
    "secret": (
        Secret(),
        {"stringData": {"a": "x", "b": "y"}, "data": {"a": "b2xk", "c": "eg=="}},
        {"data": {"a": "eA==", "b": "eQ==", "c": "eg=="}, "type": "Opaque"},
    ),
    "config map": (ConfigMap(), {"data": {"a": "b"}}, {"data": {"a": "b"}}),
    "namespace": (
        Namespace(),
        {"metadata": {"name": "a"}},
        {
            "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        },
    ),
    "namespace on its way out": (
        Namespace(),
        {"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Terminating"}},
        {
            "metadata": {
                "name": "a",
                "deletionTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"kubernetes.io/metadata.name": "a"},
            },
            "status": {"phase": "Terminating"},
        },
    ),
    "node": (
        Node(),
        {
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {"capacity": {"cpu": "2000m", "memory": "1Gi"}, "allocatable": {"cpu": "1"}},
        },
        {
            "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]},
            "status": {"capacity": {"cpu": "2", "memory": "1Gi"}, "allocatable": {"cpu": "1", "memory": "1Gi"}},
        },
    ),
    "endpoint slice": (
        EndpointSlice(),
        {"ports": [{"port": 1}]},
        {"ports": [{"name": "", "protocol": "TCP", "port": 1}]},
    ),
}


@pytest.mark.parametrize(("message", "given", "expected"), CASES.values(), ids=CASES)
def test_defaults(message: Message, given: Json, expected: Json) -> None:
    fresh = type(message)()
    assert defaulted(fresh, given) == expected
    again = type(message)()
    again.CopyFrom(fresh)
    set_defaults(again)
    assert again == fresh


IMAGES = {
    "web": "Always",
    "web:latest": "Always",
    "registry.test:5000/web": "Always",
    "registry.test:5000/web:v1": "IfNotPresent",
    "web:v1": "IfNotPresent",
    "web@sha256:0123": "IfNotPresent",
    "web:latest@sha256:0123": "Always",
    "": "IfNotPresent",
}


@pytest.mark.parametrize(("image", "policy"), IMAGES.items(), ids=IMAGES)
def test_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def pod(spec: Json) -> Pod:
    obj = ParseDict({"metadata": {"name": "a"}, "spec": spec}, Pod())
    set_defaults(obj)
    return obj


def test_requests_default_to_limits() -> None:
    container = {"name": "a", "resources": {"limits": {"cpu": "0.5", "memory": "1Gi"}, "requests": {"cpu": "100m"}}}
    obj = pod({"containers": [container], "initContainers": [container]})
    for made in (obj.spec.containers[0], obj.spec.init_containers[0]):
        assert dict(made.resources.requests) == {"cpu": "100m", "memory": "1Gi"}
        assert dict(made.resources.limits) == {"cpu": "500m", "memory": "1Gi"}


def test_on_the_nodes_network_ports_are_the_nodes() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]
    assert [each.host_port for each in pod({"containers": [{"ports": ports}]}).spec.containers[0].ports] == [0, 81]
    host = pod({"hostNetwork": True, "containers": [{"ports": ports}]})
    assert [each.host_port for each in host.spec.containers[0].ports] == [80, 81]


def test_probes_are_complete() -> None:
    container = pod({"containers": [{"livenessProbe": {"httpGet": {"port": 80}}}]}).spec.containers[0]
    assert MessageToDict(container.liveness_probe) == {
        "httpGet": {"path": "/", "port": 80.0, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_a_pod_outlasts_a_short_absence_of_its_node() -> None:
    made = pod({"containers": [{}]}).spec.tolerations
    assert [(each.key, each.operator, each.effect, each.toleration_seconds) for each in made] == [
        ("node.kubernetes.io/not-ready", "Exists", "NoExecute", 300),
        ("node.kubernetes.io/unreachable", "Exists", "NoExecute", 300),
    ]


def test_a_pod_with_its_own_tolerations_keeps_them() -> None:
    mine = {
        "key": "node.kubernetes.io/not-ready",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": "5",
    }
    made = pod({"containers": [{}], "tolerations": [mine]}).spec.tolerations
    assert [(each.key, each.toleration_seconds) for each in made] == [
        ("node.kubernetes.io/not-ready", 5),
        ("node.kubernetes.io/unreachable", 300),
    ]
    assert len(pod({"containers": [{}], "tolerations": [{"operator": "Exists"}]}).spec.tolerations) == 1


def test_a_pod_has_a_phase_and_a_class() -> None:
    made = pod({"containers": [{}]})
    assert (made.status.phase, made.status.qos_class) == ("Pending", "BestEffort")
    assert made.spec.service_account_name == made.spec.service_account == "default"


def resources(limits: Json | None = None, requests: Json | None = None) -> Json:
    return {"resources": {"limits": limits or {}, "requests": requests or {}}}


ALL: Json = {"cpu": "1", "memory": "1Gi"}
CLASSES: dict[str, tuple[list[Json], str]] = {
    "nothing asked": ([resources()], "BestEffort"),
    "zero asked": ([resources(requests={"cpu": "0"})], "BestEffort"),
    "other resources": ([resources({"ephemeral-storage": "1Gi"})], "BestEffort"),
    "limits": ([resources(ALL)], "Guaranteed"),
    "equal requests": ([resources(ALL, {"cpu": "1000m", "memory": "1024Mi"})], "Guaranteed"),
    "smaller requests": ([resources(ALL, {"cpu": "1m"})], "Burstable"),
    "only memory": ([resources({"memory": "1Gi"})], "Burstable"),
    "one of two": ([resources(ALL), resources()], "Burstable"),
    "both": ([resources(ALL), resources(ALL)], "Guaranteed"),
}


@pytest.mark.parametrize(("containers", "expected"), CLASSES.values(), ids=CLASSES)
def test_qos_class(containers: list[Json], expected: str) -> None:
    assert qos_class(ParseDict({"containers": containers}, PodSpec())) == expected


AMOUNTS = st.sampled_from(["1", "0.5", "1000m", "1024Mi", "nonsense", "-1"])
LISTS = st.dictionaries(st.sampled_from(["cpu", "memory"]), AMOUNTS)
CONTAINERS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["", "a", "a:v1", "a@sha256:1"]),
        "imagePullPolicy": st.sampled_from(["Always", "Never"]),
        "ports": st.lists(st.fixed_dictionaries({"containerPort": st.integers(0, 5)}), max_size=2),
        "resources": st.fixed_dictionaries({}, optional={"limits": LISTS, "requests": LISTS}),
        "readinessProbe": st.just({"tcpSocket": {"port": 1}}),
    },
)
PODS = st.fixed_dictionaries(
    {"containers": st.lists(CONTAINERS, max_size=2)},
    optional={
        "hostNetwork": st.booleans(),
        "restartPolicy": st.sampled_from(["Never", "Always"]),
        "tolerations": st.lists(st.sampled_from([{"operator": "Exists"}, {"key": "a"}]), max_size=2),
        "volumes": st.lists(st.sampled_from([{"name": "a"}, {"name": "b", "secret": {}}]), max_size=2),
        "serviceAccount": st.just("x"),
    },
)


@given(PODS)
def test_twice_is_once(spec: Json) -> None:
    once = pod(spec)
    twice = Pod()
    twice.CopyFrom(once)
    set_defaults(twice)
    assert twice == once
    # A template in a pod's place gets the same, less what only a pod about to run needs.
    template = Deployment()
    ParseDict(spec, template.spec.template.spec)
    set_defaults(template)
    again = Deployment()
    again.CopyFrom(template)
    set_defaults(again)
    assert again == template


def service(spec: Json) -> Service:
    obj = ParseDict({"spec": spec}, Service())
    set_defaults(obj)
    return obj


OLD_SERVICE: Json = {
    "type": "NodePort",
    "clusterIP": "10.96.0.9",
    "ports": [{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30081}],
}
KEPT: dict[str, tuple[Json, str, list[int]]] = {
    "the same again": (
        {"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
        "10.96.0.9",
        [30080, 30081],
    ),
    "one port gone, one new": (
        {"type": "NodePort", "ports": [{"name": "b", "port": 81}, {"name": "c", "port": 82}]},
        "10.96.0.9",
        [30081, 0],
    ),
    "a port renumbered": ({"type": "NodePort", "ports": [{"name": "a", "port": 8080}]}, "10.96.0.9", [30080]),
    "a port chosen": (
        {"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30090}]},
        "10.96.0.9",
        [30090],
    ),
    "a port taken over": (
        {"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "c", "port": 82, "nodePort": 30080}]},
        "10.96.0.9",
        [0, 30080],
    ),
    "inside only": ({"ports": [{"name": "a", "port": 80, "nodePort": 30080}]}, "10.96.0.9", [0]),
    "another address is not touched": ({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}, "10.96.0.7", [0]),
    "a name elsewhere": ({"type": "ExternalName", "externalName": "x.test"}, "", []),
}


@pytest.mark.parametrize(("spec", "address", "node_ports"), KEPT.values(), ids=KEPT)
def test_what_a_service_was_given_is_kept(spec: Json, address: str, node_ports: list[int]) -> None:
    new = service(spec)
    keep_allocated(new, service(OLD_SERVICE))
    assert new.spec.cluster_ip == address
    assert list(new.spec.cluster_ips) == ([address] if address else [])
    assert [each.node_port for each in new.spec.ports] == node_ports


def test_a_namespace_keeps_its_finalizers() -> None:
    old, new = Namespace(), Namespace()
    old.spec.finalizers.extend(["kubernetes", "example.com/x"])
    keep_allocated(new, old)
    assert list(new.spec.finalizers) == ["kubernetes", "example.com/x"]
