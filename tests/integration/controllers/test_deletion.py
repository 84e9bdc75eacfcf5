"""What goes with what: the three ways to delete an owner, namespaces, and what comes too late."""

from __future__ import annotations

import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject
from orchestrator.api.v1 import (
    ConfigMap,
    Deployment,
    EndpointSlice,
    Namespace,
    ObjectMeta,
    OwnerReference,
    Pod,
    ReplicaSet,
    Service,
    ServiceAccount,
)
from tests.integration.controllers.cluster import Cluster
from tests.integration.controllers.test_rollouts import is_rolled_out, set_image, start
from tests.integration.server.objects import config_map, deployment, pod, service


async def delete(cluster: Cluster, policy: str | None) -> None:
    await cluster.client.delete(Deployment, "web", namespace="default", propagation_policy=policy)


def nothing_left(cluster: Cluster) -> bool:
    left: list[KubeObject] = [*cluster.all(Deployment), *cluster.all(ReplicaSet), *cluster.all(Pod)]
    return not left


async def test_in_the_background_the_owner_goes_first(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=3))
    await delete(cluster, "Background")
    await cluster.until(lambda: nothing_left(cluster))


async def test_in_the_foreground_the_owner_goes_last(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=2))
    cluster.kubelet.ends = lambda pod: False
    ends: list[str] = []

    def note(old: KubeObject | None, new: KubeObject | None) -> None:
        if new is None:
            ends.append(type(old).__name__)

    cluster.informer(Deployment).subscribe(note)
    cluster.informer(ReplicaSet).subscribe(note)
    cluster.informer(Pod).subscribe(note)
    await delete(cluster, "Foreground")
    await cluster.until(
        lambda: [bool(pod.metadata.HasField("deletion_timestamp")) for pod in cluster.all(Pod)] == [True, True]
    )
    assert cluster.get(Deployment, "web").metadata.finalizers == ["foregroundDeletion"]
    assert not ends
    cluster.kubelet.ends = lambda pod: True
    cluster.kubelet.wake()
    await cluster.until(lambda: nothing_left(cluster))
    assert ends == ["Pod", "Pod", "ReplicaSet", "Deployment"]


async def test_orphans_stay_and_are_adopted_by_the_next(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=2))
    pods = {each.metadata.uid for each in cluster.all(Pod)}
    await delete(cluster, "Orphan")
    await cluster.until(lambda: not cluster.all(Deployment))
    (left,) = cluster.all(ReplicaSet)
    assert not left.metadata.owner_references
    again = await start(cluster, deployment(replicas=2))
    (adopted,) = cluster.all(ReplicaSet)
    assert [each.uid for each in adopted.metadata.owner_references] == [again.metadata.uid]
    assert adopted.metadata.uid == left.metadata.uid
    assert {each.metadata.uid for each in cluster.all(Pod)} == pods


async def test_a_deployment_deleted_in_the_middle_of_an_update_takes_everything_along(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=3))
    cluster.kubelet.starts = lambda pod: False
    await set_image(cluster, "web", "v2")
    await cluster.until(lambda: len(cluster.all(ReplicaSet)) == 2)
    await delete(cluster, None)
    await cluster.until(lambda: nothing_left(cluster))


async def test_what_has_another_owner_stays(cluster: Cluster) -> None:
    owners = [await cluster.client.create(config_map(name)) for name in ("one", "two")]
    made = config_map("owned")
    made.metadata.owner_references.extend(
        OwnerReference(api_version="v1", kind="ConfigMap", name=each.metadata.name, uid=each.metadata.uid)
        for each in owners
    )
    await cluster.seen(await cluster.client.create(made))

    def owners_left() -> list[str]:
        return [each.name for each in cluster.get(ConfigMap, "owned").metadata.owner_references]

    assert owners_left() == ["one", "two"]
    await cluster.client.delete(ConfigMap, "one", namespace="default")
    await cluster.until(lambda: owners_left() == ["two"])
    await cluster.client.delete(ConfigMap, "two", namespace="default")
    await cluster.until(lambda: cluster.informer(ConfigMap).get("default", "owned") is None)


async def test_a_namespace_is_emptied_and_goes(cluster: Cluster) -> None:
    await cluster.client.create(Namespace(metadata=ObjectMeta(name="team")))
    await cluster.until(lambda: bool(cluster.all(ServiceAccount, "team")), "its default account")
    for made in (deployment(replicas=2), service("web"), config_map()):
        made.metadata.namespace = "team"
        await cluster.client.create(made)
    await cluster.until(lambda: len([each for each in cluster.all(Pod, "team") if each.status.pod_ip]) == 2)
    cluster.kubelet.ends = lambda pod: False
    await cluster.client.delete(Namespace, "team")
    await cluster.until(
        lambda: any(
            each.type == "NamespaceContentRemaining" and each.message.endswith(": pods has 2 resource instances")
            for each in cluster.get(Namespace, "team", "").status.conditions
        ),
        "the namespace says what it waits for",
    )
    with pytest.raises(errors.Forbidden, match="being terminated"):
        await cluster.client.create(pod(namespace="team"))
    cluster.kubelet.ends = lambda pod: True
    cluster.kubelet.wake()
    await cluster.until(lambda: cluster.informer(Namespace).get("", "team") is None)
    for kind in (Deployment, ReplicaSet, Pod, Service, EndpointSlice, ServiceAccount, ConfigMap):
        assert not (await cluster.client.list(kind, namespace="team")).items


async def test_replica_sets_adopt_and_let_go_of_pods(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=2))
    first, _ = cluster.all(Pod)
    await cluster.client.patch(
        Pod, first.metadata.name, {"metadata": {"labels": {"app": "debug"}}}, namespace="default"
    )
    await cluster.until(lambda: not cluster.get(Pod, first.metadata.name).metadata.owner_references, "let go")
    await cluster.until(lambda: len(cluster.all(Pod)) == 3)
    await cluster.client.patch(Pod, first.metadata.name, {"metadata": {"labels": {"app": "web"}}}, namespace="default")
    await cluster.until(
        lambda: len(cluster.all(Pod)) == 2 and is_rolled_out(cluster, "web", 2, "v1"), "adopted, one goes"
    )
