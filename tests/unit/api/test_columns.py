"""Tables: the same words in the same columns as `kubectl get`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.api.ages import age, human_duration
from orchestrator.api.codec import from_json
from orchestrator.api.columns import Table, table
from orchestrator.api.kinds import all_kinds, kind_of
from orchestrator.api.timestamps import format_timestamp, to_timestamp
from orchestrator.api.v1 import ObjectMeta, Pod

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def ago(seconds: int) -> str:
    return format_timestamp(to_timestamp(NOW - timedelta(seconds=seconds)).seconds, 0)


def show(data: dict[str, Any], *, wide: bool = False) -> Table:
    data = {"apiVersion": "v1", **data}
    data["metadata"] = {"name": "x", "creationTimestamp": ago(300), **data.get("metadata", {})}
    obj = from_json(data).obj
    return table(kind_of(obj), [obj], NOW, wide)


def row(data: dict[str, Any], *, wide: bool = False) -> dict[str, str]:
    shown = show(data, wide=wide)
    return dict(zip(shown.columns, shown.rows[0], strict=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (192, "3m12s"), (599, "9m59s"),
        (600, "10m"), (659, "10m"), (10799, "179m"), (10800, "3h"), (11000, "3h3m"), (28799, "7h59m"), (28800, "8h"),
        (172799, "47h"), (172800, "2d"), (176400, "2d1h"), (691199, "7d23h"), (691200, "8d"),
        (2 * 365 * 86400 - 1, "729d"), (2 * 365 * 86400, "2y"), (800 * 86400, "2y70d"), (9 * 365 * 86400, "9y"),
    ],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text
    assert age(NOW, NOW - timedelta(seconds=seconds)) == text


def test_the_age_of_what_has_none() -> None:
    assert age(NOW, None) == age(NOW, Pod().metadata.creation_timestamp) == "<unknown>"


def waiting(reason: str = "", **more: Any) -> dict[str, Any]:
    return {"name": "c", "state": {"waiting": {"reason": reason} if reason else {}}, **more}


def running(*, ready: bool = True, **more: Any) -> dict[str, Any]:
    return {"name": "c", "ready": ready, "state": {"running": {"startedAt": ago(10)}}, **more}


def ended(code: int, reason: str = "", signal: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": "c", "state": {"terminated": {"exitCode": code, "reason": reason, "signal": signal}}, **more}


def restarted(times: int, seconds: int) -> dict[str, Any]:
    return {"restartCount": times, "lastState": {"terminated": {"exitCode": 1, "finishedAt": ago(seconds)}}}


def condition(name: str, status: str = "True", reason: str = "") -> dict[str, str]:
    return {"type": name, "status": status, "reason": reason}


def pod(
    *statuses: dict[str, Any],
    phase: str = "Running",
    init: tuple[dict[str, Any], ...] = (),
    init_spec: tuple[dict[str, Any], ...] | None = None,
    meta: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, str]:
    init_containers = [{"name": f"i{number}"} for number in range(len(init))] if init_spec is None else list(init_spec)
    containers = [{"name": f"c{number}"} for number in range(max(len(statuses), 1))]
    named_init = [{**each, "name": spec["name"]} for each, spec in zip(init, init_containers, strict=True)]
    return row(
        {
            "kind": "Pod",
            "metadata": meta or {},
            "spec": {"containers": containers, "initContainers": init_containers},
            "status": {
                "phase": phase,
                "containerStatuses": list(statuses),
                "initContainerStatuses": named_init,
                **status,
            },
        }
    )


SIDECAR = {"name": "s", "restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("shown", "ready", "status", "restarts"),
    [
        (pod(phase="Pending"), "0/1", "Pending", "0"),
        (pod(waiting("ContainerCreating"), phase="Pending"), "0/1", "ContainerCreating", "0"),
        (pod(running()), "1/1", "Running", "0"),
        (pod(running(), running(ready=False)), "1/2", "Running", "0"),
        (pod(running(), waiting("ImagePullBackOff")), "1/2", "ImagePullBackOff", "0"),
        (pod(waiting("CrashLoopBackOff", **restarted(3, 192))), "0/1", "CrashLoopBackOff", "3 (3m12s ago)"),
        (pod(running(**restarted(1, 60)), running(**restarted(2, 30))), "2/2", "Running", "3 (30s ago)"),
        (pod(running(restartCount=2)), "1/1", "Running", "2"),
        (pod(ended(0, "Completed"), phase="Succeeded"), "0/1", "Completed", "0"),
        (pod(ended(1, "Error"), phase="Failed"), "0/1", "Error", "0"),
        (pod(ended(137, "OOMKilled")), "0/1", "OOMKilled", "0"),
        (pod(ended(3)), "0/1", "ExitCode:3", "0"),
        (pod(ended(137, signal=9)), "0/1", "Signal:9", "0"),
        (pod(ended(0, "Completed"), running(), conditions=[condition("Ready")]), "1/2", "Running", "0"),
        (pod(ended(0, "Completed"), running(), conditions=[condition("Ready", "False")]), "1/2", "NotReady", "0"),
        (pod(phase="Failed", reason="Evicted"), "0/1", "Evicted", "0"),
        (pod(phase="Pending", conditions=[condition("PodScheduled", "False", "SchedulingGated")]),
         "0/1", "SchedulingGated", "0"),
        (pod(running(), meta={"deletionTimestamp": ago(1)}), "1/1", "Terminating", "0"),
        (pod(running(), meta={"deletionTimestamp": ago(1)}, reason="NodeLost"), "1/1", "Unknown", "0"),
        (pod(ended(0, "Completed"), phase="Succeeded", meta={"deletionTimestamp": ago(1)}), "0/1", "Completed", "0"),
        (pod(phase="Pending", init=(running(), waiting())), "0/1", "Init:0/2", "0"),
        (pod(phase="Pending", init=(ended(0, "Completed"), waiting("PodInitializing"))), "0/1", "Init:1/2", "0"),
        (pod(phase="Pending", init=(ended(1, "Error", **restarted(1, 5)), waiting())),
         "0/1", "Init:Error", "1 (5s ago)"),
        (pod(phase="Pending", init=(ended(2),)), "0/1", "Init:ExitCode:2", "0"),
        (pod(phase="Pending", init=(ended(2, signal=9),)), "0/1", "Init:Signal:9", "0"),
        (pod(phase="Pending", init=(waiting("CrashLoopBackOff"),)), "0/1", "Init:CrashLoopBackOff", "0"),
        (pod(waiting("PodInitializing"), phase="Pending", init=(ended(0, restartCount=4),)),
         "0/1", "PodInitializing", "0"),
        (pod(running(), init=(ended(0, **restarted(4, 9)),)), "1/1", "Running", "0"),
        (pod(running(restartCount=1), init=(running(started=True, restartCount=2),), init_spec=(SIDECAR,)),
         "2/2", "Running", "3"),
        (pod(waiting("PodInitializing"), phase="Pending", init=(running(ready=False),), init_spec=(SIDECAR,)),
         "0/2", "Init:0/1", "0"),
    ],
)  # fmt: skip
def test_pods(shown: dict[str, str], ready: str, status: str, restarts: str) -> None:
    assert (shown["READY"], shown["STATUS"], shown["RESTARTS"], shown["AGE"]) == (ready, status, restarts, "5m")


def test_wide_pods() -> None:
    gates = [{"conditionType": "a"}, {"conditionType": "b"}]
    status = {"podIP": "10.244.0.5", "conditions": [condition("a")]}
    data = {"kind": "Pod", "spec": {"nodeName": "n1", "readinessGates": gates}, "status": status}
    shown = row(data, wide=True)
    assert list(shown)[5:] == ["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert list(shown.values())[5:] == ["10.244.0.5", "n1", "<none>", "1/2"]
    assert list(row({"kind": "Pod"}, wide=True).values())[5:] == ["<none>"] * 4


@pytest.mark.parametrize(
    ("data", "columns", "cells"),
    [
        (
            {"kind": "Node", "metadata": {"labels": {"node-role.kubernetes.io/worker": "",
                                                     "node-role.kubernetes.io/control-plane": ""}},
             "spec": {"unschedulable": True},
             "status": {"conditions": [condition("Ready")], "nodeInfo": {"kubeletVersion": "v1"}}},
            "NAME STATUS ROLES AGE VERSION",
            ["x", "Ready,SchedulingDisabled", "control-plane,worker", "5m", "v1"],
        ),
        ({"kind": "Node", "status": {"conditions": [condition("Ready", "Unknown")]}}, "NAME STATUS ROLES AGE VERSION",
         ["x", "NotReady", "<none>", "5m", ""]),
        ({"kind": "Node"}, "NAME STATUS ROLES AGE VERSION", ["x", "Unknown", "<none>", "5m", ""]),
        ({"kind": "Namespace", "status": {"phase": "Active"}}, "NAME STATUS AGE", ["x", "Active", "5m"]),
        (
            {"kind": "Service", "spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [
                {"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}},
            "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
            ["x", "NodePort", "10.96.0.9", "<none>", "80:30080/TCP,53/UDP", "5m"],
        ),
        ({"kind": "Service", "spec": {"type": "ExternalName", "externalName": "a.test"}},
         "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE", ["x", "ExternalName", "<none>", "a.test", "<none>", "5m"]),
        ({"kind": "Service", "spec": {"type": "LoadBalancer", "clusterIP": "None"}},
         "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE", ["x", "LoadBalancer", "None", "<pending>", "<none>", "5m"]),
        ({"kind": "Service", "spec": {"type": "LoadBalancer"},
          "status": {"loadBalancer": {"ingress": [{"hostname": "balancer.example.test"}]}}},
         "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
         ["x", "LoadBalancer", "<none>", "balancer.exam...", "<none>", "5m"]),
        ({"kind": "ConfigMap", "data": {"a": "b"}, "binaryData": {"c": ""}}, "NAME DATA AGE", ["x", "2", "5m"]),
        ({"kind": "Secret", "type": "Opaque", "data": {"a": "YQ=="}}, "NAME TYPE DATA AGE", ["x", "Opaque", "1", "5m"]),
        ({"kind": "ServiceAccount"}, "NAME SECRETS AGE", ["x", "0", "5m"]),
        ({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "me"}},
         "NAME HOLDER AGE", ["x", "me", "5m"]),
        (
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
             "ports": [{"port": 80}, {}], "endpoints": [{"addresses": [f"10.0.0.{number}"]} for number in range(5)]},
            "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
            ["x", "IPv4", "80,*", "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more...", "5m"],
        ),
        ({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"},
         "NAME ADDRESSTYPE PORTS ENDPOINTS AGE", ["x", "IPv4", "<unset>", "<unset>", "5m"]),
        ({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"replicas": 3},
          "status": {"replicas": 2, "readyReplicas": 1}},
         "NAME DESIRED CURRENT READY AGE", ["x", "3", "2", "1", "5m"]),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3},
          "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}},
         "NAME READY UP-TO-DATE AVAILABLE AGE", ["x", "1/3", "2", "1", "5m"]),
    ],
)  # fmt: skip
def test_kinds(data: dict[str, Any], columns: str, cells: list[str]) -> None:
    shown = show(data)
    assert shown.columns == columns.split()
    assert shown.rows == [cells]


def test_wide_workloads_name_their_images_and_pods() -> None:
    spec = {
        "selector": {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["b", "a"]},
                {"key": "z", "operator": "Exists"},
            ],
        },
        "template": {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "i:2"}]}},
    }
    shown = row({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}, wide=True)
    assert (shown["CONTAINERS"], shown["IMAGES"]) == ("a,b", "i:1,i:2")
    assert shown["SELECTOR"] == "app=web,tier in (a,b),z"
    service = row({"kind": "Service", "spec": {"selector": {"b": "2", "a": "1"}}}, wide=True)
    assert service["SELECTOR"] == "a=1,b=2"


def test_wide_nodes() -> None:
    status = {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"osImage": "Debian"}}
    shown = list(row({"kind": "Node", "status": status}, wide=True).items())[5:]
    assert shown == [
        ("INTERNAL-IP", "10.0.0.1"),
        ("EXTERNAL-IP", "<none>"),
        ("OS-IMAGE", "Debian"),
        ("KERNEL-VERSION", "<unknown>"),
        ("CONTAINER-RUNTIME", "<unknown>"),
    ]


def test_events() -> None:
    event = {
        "kind": "Event",
        "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{c}"},
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off restarting\n",
        "source": {"component": "agent", "host": "n1"},
        "firstTimestamp": ago(600),
        "lastTimestamp": ago(5),
        "count": 7,
    }
    narrow = show(event)
    assert narrow.columns == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert narrow.rows == [["5s", "Warning", "BackOff", "pod/web", "Back-off restarting"]]
    wide = row(event, wide=True)
    assert (wide["SUBOBJECT"], wide["SOURCE"], wide["FIRST SEEN"], wide["COUNT"]) == (
        "spec.containers{c}",
        "agent, n1",
        "10m",
        "7",
    )
    once = row({"kind": "Event", "eventTime": ago(8).replace("Z", ".000000Z"), "reportingComponent": "r"}, wide=True)
    assert (once["LAST SEEN"], once["FIRST SEEN"], once["COUNT"], once["SOURCE"]) == ("8s", "8s", "1", "r")
    series = row({"kind": "Event", "eventTime": ago(90), "series": {"count": 4, "lastObservedTime": ago(2)}}, wide=True)
    assert (series["LAST SEEN"], series["FIRST SEEN"], series["COUNT"]) == ("2s", "90s", "4")


def test_every_kind_has_a_table_even_when_it_is_empty() -> None:
    for kind in all_kinds():
        obj = kind.message()
        obj.metadata.CopyFrom(ObjectMeta(name="x"))
        for wide in (False, True):
            shown = table(kind, [obj], NOW, wide)
            assert len(shown.rows[0]) == len(shown.columns)
            assert all(isinstance(cell, str) for cell in shown.rows[0])
        assert table(kind, [], NOW, False).rows == []
