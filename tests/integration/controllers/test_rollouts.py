"""Deployments on a real server: rollouts, rollbacks, scaling, pausing, and their bounds at every single change."""

from __future__ import annotations

from orchestrator.api.conventions import REVISION
from orchestrator.api.v1 import Deployment, Event, Pod, ReplicaSet
from orchestrator.client import PatchType
from tests.integration.controllers.cluster import Cluster
from tests.integration.server.objects import deployment


class Bounds:
    """Looks at the pods after every change of one, and keeps the worst that was seen."""

    def __init__(self, cluster: Cluster) -> None:
        self._pods = cluster.informer(Pod)
        self.fewest_available = 10**9
        self.most = 0
        self.images: list[frozenset[str]] = []
        self._end = self._pods.subscribe(lambda old, new: self._look())
        self._look()

    def _look(self) -> None:
        active = [pod for pod in self._pods.list("default") if not pod.metadata.HasField("deletion_timestamp")]
        self.fewest_available = min(self.fewest_available, sum(map(ready, active)))
        self.most = max(self.most, len(active))
        self.images.append(frozenset(image(pod) for pod in self._pods.list("default")))

    def close(self) -> None:
        self._end()


def ready(pod: Pod) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)


def image(pod: Pod) -> str:
    return pod.spec.containers[0].image.rpartition(":")[2]


def images(cluster: Cluster) -> list[str]:
    return [image(pod) for pod in cluster.all(Pod) if ready(pod)]


def is_rolled_out(cluster: Cluster, name: str, replicas: int, tag: str) -> bool:
    found = cluster.informer(Deployment).get("default", name)
    if found is None or found.status.observed_generation < found.metadata.generation:
        return False
    status = found.status
    counts = {status.replicas, status.updated_replicas, status.available_replicas, found.spec.replicas}
    return counts == {replicas} and images(cluster) == [tag] * replicas and not status.unavailable_replicas


async def start(cluster: Cluster, made: Deployment) -> Deployment:
    created = await cluster.client.create(made)
    await cluster.until(
        lambda: is_rolled_out(cluster, made.metadata.name, made.spec.replicas, "v1"), "the first rollout"
    )
    return created


async def set_image(cluster: Cluster, name: str, tag: str) -> None:
    containers = [{"name": "main", "image": f"registry.test/web:{tag}"}]
    await cluster.client.patch(
        Deployment,
        name,
        {"spec": {"template": {"spec": {"containers": containers}}}},
        namespace="default",
        type=PatchType.STRATEGIC,
    )


def progressing(cluster: Cluster, name: str = "web") -> tuple[str, str]:
    conditions = cluster.get(Deployment, name).status.conditions
    return next(((each.status, each.reason) for each in conditions if each.type == "Progressing"), ("", ""))


def with_strategy(made: Deployment, surge: int | str, unavailable: int | str) -> Deployment:
    rolling = made.spec.strategy.rolling_update
    for value, wanted in ((rolling.max_surge, surge), (rolling.max_unavailable, unavailable)):
        if isinstance(wanted, str):
            value.string_value = wanted
        else:
            value.number_value = wanted
    return made


async def test_a_deployment_makes_a_replica_set_and_its_pods(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=3))
    (replica_set,) = cluster.all(ReplicaSet)
    made_hash = replica_set.metadata.labels["pod-template-hash"]
    assert replica_set.metadata.name == f"web-{made_hash}"
    assert replica_set.spec.selector.match_labels["pod-template-hash"] == made_hash
    assert replica_set.metadata.annotations[REVISION] == "1"
    for pod in cluster.all(Pod):
        assert pod.metadata.name.startswith(f"{replica_set.metadata.name}-")
        assert pod.metadata.labels["pod-template-hash"] == made_hash
        (owner,) = pod.metadata.owner_references
        assert (owner.kind, owner.uid, owner.controller) == ("ReplicaSet", replica_set.metadata.uid, True)
    await cluster.until(lambda: progressing(cluster) == ("True", "NewReplicaSetAvailable"))
    told = cluster.get(Deployment, "web")
    assert told.metadata.annotations[REVISION] == "1"
    assert {each.type: each.reason for each in told.status.conditions} == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }
    await cluster.until(
        lambda: (
            {
                (each.involved_object.kind, each.reason, each.message)
                for each in cluster.all(Event)
                if each.reason == "ScalingReplicaSet"
            }
            == {("Deployment", "ScalingReplicaSet", f"Scaled up replica set {replica_set.metadata.name} from 0 to 3")}
        )
    )
    await cluster.until(lambda: sum(each.reason == "SuccessfulCreate" for each in cluster.all(Event)) == 3)


async def test_a_rolling_update_stays_in_its_bounds_at_every_change(cluster: Cluster) -> None:
    await start(cluster, with_strategy(deployment(replicas=4), 1, 1))
    bounds = Bounds(cluster)
    await set_image(cluster, "web", "v2")
    await cluster.until(lambda: is_rolled_out(cluster, "web", 4, "v2"), "the update")
    assert bounds.fewest_available >= 3
    assert bounds.most <= 5
    old, new = sorted(cluster.all(ReplicaSet), key=lambda each: each.metadata.annotations[REVISION])
    assert (old.spec.replicas, new.spec.replicas) == (0, 4)
    assert cluster.get(Deployment, "web").metadata.annotations[REVISION] == "2"


async def test_an_update_without_surge_and_one_without_loss(cluster: Cluster) -> None:
    await start(cluster, with_strategy(deployment("narrow", replicas=3), 0, 1))
    bounds = Bounds(cluster)
    await set_image(cluster, "narrow", "v2")
    await cluster.until(lambda: is_rolled_out(cluster, "narrow", 3, "v2"))
    assert (bounds.fewest_available, bounds.most) == (2, 3)
    bounds.close()
    rolling = {"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}}
    await cluster.patch(Deployment, "narrow", {"spec": {"strategy": rolling}})
    bounds = Bounds(cluster)
    await set_image(cluster, "narrow", "v3")
    await cluster.until(lambda: is_rolled_out(cluster, "narrow", 3, "v3"))
    assert bounds.fewest_available == 3
    assert bounds.most <= 5


async def test_pods_that_never_become_ready_hold_the_update(cluster: Cluster) -> None:
    await start(cluster, with_strategy(deployment(replicas=3), 1, 0))
    cluster.kubelet.starts = lambda pod: image(pod) != "broken"
    await set_image(cluster, "web", "broken")
    await cluster.until(
        lambda: sum(image(pod) == "broken" and bool(pod.spec.node_name) for pod in cluster.all(Pod)) == 1
    )
    bounds = Bounds(cluster)
    assert images(cluster) == ["v1"] * 3
    await set_image(cluster, "web", "v3")
    await cluster.until(lambda: is_rolled_out(cluster, "web", 3, "v3"), "the update that repairs")
    assert bounds.fewest_available == 3
    assert bounds.most <= 4


async def test_a_rollback_brings_the_old_replica_set_back(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=2))
    (first,) = cluster.all(ReplicaSet)
    await set_image(cluster, "web", "v2")
    await cluster.until(lambda: is_rolled_out(cluster, "web", 2, "v2"))
    await set_image(cluster, "web", "v1")
    await cluster.until(lambda: is_rolled_out(cluster, "web", 2, "v1"), "the rollback")
    assert len(cluster.all(ReplicaSet)) == 2
    back = cluster.get(ReplicaSet, first.metadata.name)
    assert back.metadata.uid == first.metadata.uid
    assert back.metadata.annotations[REVISION] == "3"
    assert back.metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"
    await cluster.until(lambda: cluster.get(Deployment, "web").metadata.annotations[REVISION] == "3")


async def test_scaling_up_down_and_to_nothing(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=2))
    for replicas in (6, 1, 0, 3):
        await cluster.patch(Deployment, "web", {"spec": {"replicas": replicas}})
        await cluster.until(lambda n=replicas: is_rolled_out(cluster, "web", n, "v1"), f"{replicas} replicas")  # type: ignore[misc]
    assert len(cluster.all(ReplicaSet)) == 1


async def test_a_paused_deployment_scales_but_does_not_move_on(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=2))
    await cluster.patch(Deployment, "web", {"spec": {"paused": True}})
    await cluster.until(lambda: progressing(cluster) == ("Unknown", "DeploymentPaused"))
    await set_image(cluster, "web", "v2")
    await cluster.patch(Deployment, "web", {"spec": {"replicas": 0}})
    await cluster.until(lambda: not cluster.all(Pod))
    await cluster.patch(Deployment, "web", {"spec": {"replicas": 4}})
    await cluster.until(lambda: images(cluster) == ["v1"] * 4, "scaling while paused, from nothing too")
    assert len(cluster.all(ReplicaSet)) == 1
    await cluster.patch(Deployment, "web", {"spec": {"paused": False}})
    await cluster.until(lambda: is_rolled_out(cluster, "web", 4, "v2"), "the update after resuming")
    await cluster.until(lambda: progressing(cluster) == ("True", "NewReplicaSetAvailable"))


async def test_recreate_never_mixes_versions(cluster: Cluster) -> None:
    made = deployment(replicas=3)
    made.spec.strategy.type = "Recreate"
    await start(cluster, made)
    bounds = Bounds(cluster)
    await set_image(cluster, "web", "v2")
    await cluster.until(lambda: is_rolled_out(cluster, "web", 3, "v2"))
    assert frozenset({"v1", "v2"}) not in bounds.images
    assert bounds.fewest_available == 0
    await cluster.patch(Deployment, "web", {"spec": {"replicas": 5}})
    await cluster.until(lambda: is_rolled_out(cluster, "web", 5, "v2"))


async def test_history_is_kept_as_far_as_asked_for(cluster: Cluster) -> None:
    made = deployment(replicas=1)
    made.spec.revision_history_limit = 1
    await start(cluster, made)
    for tag in ("v2", "v3", "v4"):
        await set_image(cluster, "web", tag)
        await cluster.until(lambda tag=tag: is_rolled_out(cluster, "web", 1, tag), tag)  # type: ignore[misc]
    await cluster.until(
        lambda: (
            [each.metadata.annotations[REVISION] for each in cluster.all(ReplicaSet) if not each.spec.replicas] == ["3"]
        ),
        "only the last old revision is kept",
    )


async def test_a_pod_that_is_lost_is_replaced(cluster: Cluster) -> None:
    await start(cluster, deployment(replicas=2))
    first, second = cluster.all(Pod)
    await cluster.client.delete(Pod, first.metadata.name, namespace="default")
    finished = cluster.get(Pod, second.metadata.name)
    changed = type(finished).FromString(finished.SerializeToString())
    changed.status.phase = "Failed"
    await cluster.client.update(changed, subresource="status")
    gone = {first.metadata.name, second.metadata.name}
    await cluster.until(
        lambda: sum(ready(pod) and pod.metadata.name not in gone for pod in cluster.all(Pod)) == 2, "two new ones"
    )


async def test_a_taken_name_is_gone_around(cluster: Cluster) -> None:
    foreign = ReplicaSet()
    made = deployment(replicas=1)
    created = await start(cluster, made)
    (own,) = cluster.all(ReplicaSet)
    await cluster.client.delete(Deployment, "web", namespace="default")
    await cluster.until(lambda: not cluster.all(ReplicaSet) and not cluster.all(Pod))
    foreign.metadata.name, foreign.metadata.namespace = own.metadata.name, "default"
    foreign.spec.selector.match_labels["app"] = "other"
    foreign.spec.template.CopyFrom(made.spec.template)
    foreign.spec.template.metadata.labels["app"] = "other"
    foreign.spec.replicas = 0
    await cluster.seen(await cluster.client.create(foreign))
    again = await cluster.client.create(made)
    assert again.metadata.uid != created.metadata.uid
    await cluster.until(lambda: is_rolled_out(cluster, "web", 1, "v1"))
    await cluster.until(lambda: cluster.get(Deployment, "web").status.collision_count == 1)
    assert len(cluster.all(ReplicaSet)) == 2
