"""Nodes: pod networks, lost nodes and what becomes of their pods. Hours pass by the test's own clock."""

from __future__ import annotations

from orchestrator.api.kinds import clone
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import (
    Deployment,
    Event,
    Lease,
    LeaseSpec,
    Node,
    NodeCondition,
    NodeStatus,
    ObjectMeta,
    Pod,
    Toleration,
)
from tests.integration.controllers.cluster import Cluster, FlowingClock
from tests.integration.controllers.test_rollouts import is_rolled_out, ready, start
from tests.integration.server.objects import deployment, pod

CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


async def register(cluster: Cluster, name: str) -> Node:
    conditions = [NodeCondition(type=kind, status=str(kind == "Ready")) for kind in CONDITIONS]
    node = await cluster.client.create(Node(metadata=ObjectMeta(name=name), status=NodeStatus(conditions=conditions)))
    await cluster.client.create(
        Lease(metadata=ObjectMeta(name=name, namespace="kube-node-lease"), spec=LeaseSpec(holder_identity=name))
    )
    return node


async def renew(cluster: Cluster, name: str) -> None:
    lease = clone(await cluster.client.get(Lease, name, "kube-node-lease"))
    lease.spec.renew_time.CopyFrom(to_timestamp(cluster.clock.now()))
    await cluster.client.update(lease)


def taints(cluster: Cluster, name: str) -> set[tuple[str, str]]:
    return {(each.key, each.effect) for each in cluster.get(Node, name, "").spec.taints}


def status(cluster: Cluster, name: str) -> dict[str, str]:
    return {each.type: each.status for each in cluster.get(Node, name, "").status.conditions}


async def pass_time(cluster: Cluster, seconds: float, alive: tuple[str, ...]) -> None:
    """Let time pass while some nodes go on renewing their leases."""
    assert isinstance(cluster.clock, FlowingClock)
    for _ in range(round(seconds / 10)):
        for name in alive:
            await renew(cluster, name)
        await cluster.clock.settle()
        cluster.clock.advance(10)


async def test_each_node_gets_a_pod_network_of_its_own(cluster: Cluster) -> None:
    names = [f"node-{number}" for number in range(12)]
    for name in names:
        await cluster.client.create(Node(metadata=ObjectMeta(name=name)))
    await cluster.until(
        lambda: all(each.spec.pod_cidr for each in cluster.all(Node, "")) and len(cluster.all(Node, "")) == 12
    )
    networks = [each.spec.pod_cidr for each in cluster.all(Node, "")]
    assert len(set(networks)) == 12
    assert all(network.startswith("10.244.") and network.endswith("/24") for network in networks)
    assert [list(each.spec.pod_cidrs) for each in cluster.all(Node, "")] == [[each] for each in networks]
    freed = cluster.get(Node, "node-3", "").spec.pod_cidr
    await cluster.client.delete(Node, "node-3")
    await cluster.until(lambda: cluster.informer(Node).get("", "node-3") is None)
    await cluster.client.create(Node(metadata=ObjectMeta(name="later")))
    await cluster.until(
        lambda: bool(cluster.get(Node, "later", "").spec.pod_cidr) if cluster.informer(Node).get("", "later") else False
    )
    assert cluster.get(Node, "later", "").spec.pod_cidr == freed


async def test_a_lost_node_is_told_tainted_and_left(timed: Cluster) -> None:
    for name in ("n1", "n2"):
        await register(timed, name)
    timed.kubelet.nodes = ("n1", "n2")
    timed.kubelet.ends = lambda pod: pod.spec.node_name != "n2"
    await start(timed, deployment(replicas=4))
    patient = pod("patient", node="n2")
    patient.spec.tolerations.append(Toleration(operator="Exists"))
    await timed.client.create(patient)
    await timed.until(lambda: len(timed.all(Pod)) == 5 and all(map(ready, timed.all(Pod))))
    on_n2 = {each.metadata.name for each in timed.all(Pod) if each.spec.node_name == "n2"}
    assert len(on_n2) == 3
    await pass_time(timed, 30, ("n1",))
    assert taints(timed, "n2") == set()
    await pass_time(timed, 20, ("n1",))
    await timed.until(lambda: set(status(timed, "n2").values()) == {"Unknown"}, "n2 is unknown")
    unreachable = "node.kubernetes.io/unreachable"
    await timed.until(lambda: taints(timed, "n2") == {(unreachable, "NoSchedule"), (unreachable, "NoExecute")})
    await timed.until(lambda: not any(ready(each) for each in timed.all(Pod) if each.spec.node_name == "n2"))
    await timed.until(lambda: any(each.reason == "NodeNotReady" for each in timed.all(Event)))
    assert (status(timed, "n1")["Ready"], taints(timed, "n1")) == ("True", set())
    assert not any(each.metadata.HasField("deletion_timestamp") for each in timed.all(Pod))
    timed.kubelet.nodes = ("n1",)
    await pass_time(timed, 310, ("n1",))
    await timed.until(
        lambda: (
            {each.metadata.name for each in timed.all(Pod) if each.metadata.HasField("deletion_timestamp")}
            == on_n2 - {"patient"}
        ),
        "those that tolerate it for 300 s only have to go",
    )
    await timed.until(
        lambda: sum(ready(each) and each.spec.node_name == "n1" for each in timed.all(Pod)) == 4, "others take over"
    )


async def test_a_node_that_comes_back_is_clean_again(timed: Cluster) -> None:
    await register(timed, "n1")
    await register(timed, "n2")
    await timed.until(lambda: timed.informer(Node).get("", "n1") is not None)
    await pass_time(timed, 50, ("n2",))
    unreachable = "node.kubernetes.io/unreachable"
    await timed.until(lambda: taints(timed, "n1") == {(unreachable, "NoSchedule"), (unreachable, "NoExecute")})
    await pass_time(timed, 50, ())
    await timed.until(
        lambda: taints(timed, "n1") == taints(timed, "n2") == {(unreachable, "NoSchedule")},
        "with no node left to go to",
    )
    await renew(timed, "n1")
    back = clone(await timed.client.get(Node, "n1"))
    for condition in back.status.conditions:
        condition.status = str(condition.type == "Ready")
    await timed.client.update(back, subresource="status")
    await timed.until(lambda: taints(timed, "n1") == set())
    back = clone(await timed.client.get(Node, "n1"))
    back.spec.unschedulable = True
    await timed.client.update(back)
    await timed.until(lambda: taints(timed, "n1") == {("node.kubernetes.io/unschedulable", "NoSchedule")})


async def test_pods_of_a_node_that_was_removed_are_removed(timed: Cluster) -> None:
    await register(timed, "n1")
    timed.kubelet.nodes = ("n1",)
    await timed.client.create(pod("alone"))
    await timed.until(lambda: any(map(ready, timed.all(Pod))))
    timed.kubelet.ends = lambda pod: False
    await timed.client.delete(Node, "n1")
    await timed.until(lambda: timed.informer(Node).get("", "n1") is None)
    await pass_time(timed, 30, ())
    assert timed.all(Pod)
    await pass_time(timed, 20, ())
    await timed.until(lambda: not timed.all(Pod))


async def test_available_only_after_min_ready_seconds(timed: Cluster) -> None:
    await register(timed, "n1")
    timed.kubelet.nodes = ("n1",)
    made = deployment(replicas=2)
    made.spec.min_ready_seconds = 60
    await timed.client.create(made)

    def told(name: str) -> int:
        found = timed.informer(Deployment).get("default", "web")
        return int(getattr(found.status, name)) if found is not None else -1

    await timed.until(lambda: told("ready_replicas") == 2)
    assert told("available_replicas") == 0
    await pass_time(timed, 70, ("n1",))
    await timed.until(lambda: is_rolled_out(timed, "web", 2, "v1"))
