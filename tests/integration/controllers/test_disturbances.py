"""What must not confuse the controllers: restarts, namesakes, refusals, owners that share a selector."""

from __future__ import annotations

import asyncio

from orchestrator.api.v1 import Deployment, Event, ObjectMeta, Pod, ReplicaSet
from orchestrator.client import Client
from orchestrator.clock import SystemClock
from tests.integration.controllers.cluster import PATIENCE, Cluster
from tests.integration.controllers.test_nodes import pass_time
from tests.integration.controllers.test_rollouts import Bounds, image, images, is_rolled_out, ready, set_image, start
from tests.integration.running import RunningServer
from tests.integration.server.objects import deployment, pod


async def test_a_server_that_restarts_in_the_middle_of_an_update(cluster: Cluster, api: RunningServer) -> None:
    await start(cluster, deployment(replicas=4))
    cluster.kubelet.starts = lambda pod: image(pod) == "v1"
    await set_image(cluster, "web", "v2")
    await cluster.until(lambda: any(image(pod) == "v2" for pod in cluster.all(Pod)))
    bounds = Bounds(cluster)
    await api.restart()
    async with asyncio.timeout(PATIENCE):
        await cluster.client.connected()
    cluster.kubelet.starts = lambda pod: True
    cluster.kubelet.wake()
    await cluster.until(lambda: is_rolled_out(cluster, "web", 4, "v2"))
    assert bounds.fewest_available >= 3 and bounds.most <= 5


async def test_controllers_that_restart_in_the_middle_of_an_update(client: Client) -> None:
    async with Cluster(client, SystemClock()).running() as first:
        await start(first, deployment(replicas=4))
        first.kubelet.starts = lambda pod: False
        await set_image(first, "web", "v2")
        await first.until(lambda: any(image(pod) == "v2" for pod in first.all(Pod)))
    async with Cluster(client, SystemClock()).running() as second:
        bounds = Bounds(second)
        second.kubelet.wake()
        await second.until(lambda: is_rolled_out(second, "web", 4, "v2"))
        assert bounds.fewest_available >= 3 and bounds.most <= 5
        assert len(second.all(ReplicaSet)) == 2


async def test_two_sets_of_controllers_make_nothing_twice(client: Client) -> None:
    """Leader election should prevent it; if it fails, versions, uids and names see to it that little harm is done."""
    async with Cluster(client, SystemClock()).running() as one, Cluster(client, SystemClock()).running() as other:
        other.kubelet.starts = other.kubelet.ends = lambda pod: False
        await start(one, deployment(replicas=3))
        await set_image(one, "web", "v2")
        await one.until(lambda: is_rolled_out(one, "web", 3, "v2"))
        assert len(one.all(ReplicaSet)) == 2


async def test_deployments_that_share_a_selector_leave_each_other_alone(cluster: Cluster) -> None:
    first, second = deployment("first", replicas=2), deployment("second", replicas=3)
    for made in (first, second):
        made.spec.selector.match_labels["app"] = "shared"
        made.spec.template.metadata.labels["app"] = "shared"
        await cluster.client.create(made)
    await cluster.until(lambda: images(cluster) == ["v1"] * 5)
    await set_image(cluster, "first", "v2")
    await cluster.until(lambda: sorted(images(cluster)) == ["v1"] * 3 + ["v2"] * 2 and len(cluster.all(Pod)) == 5)
    owners = {
        each.metadata.name.split("-")[0]: each.metadata.owner_references[0].name for each in cluster.all(ReplicaSet)
    }
    assert owners == {"first": "first", "second": "second"}
    await cluster.client.delete(Deployment, "first", namespace="default")
    await cluster.until(lambda: images(cluster) == ["v1"] * 3 and len(cluster.all(Pod)) == 3)


async def test_a_replica_set_of_its_own(cluster: Cluster) -> None:
    template = deployment().spec.template
    template.metadata.labels["tier"] = "front"
    made = ReplicaSet(metadata=ObjectMeta(name="alone", namespace="default"))
    made.spec.replicas = 3
    made.spec.selector.match_labels["tier"] = "front"
    made.spec.template.CopyFrom(template)
    await cluster.client.create(pod("older", labels={"tier": "front"}))
    await cluster.client.create(made)
    await cluster.until(lambda: sum(map(ready, cluster.all(Pod))) == 3)
    (adopted,) = cluster.get(Pod, "older").metadata.owner_references
    assert (adopted.kind, adopted.name) == ("ReplicaSet", "alone")
    await cluster.until(lambda: cluster.get(ReplicaSet, "alone").status.available_replicas == 3)
    assert cluster.get(ReplicaSet, "alone").status.fully_labeled_replicas == 2, "the older one lacks a label"
    scale = await cluster.client.get_scale(ReplicaSet, "alone", "default")
    scale.spec.replicas = 1
    await cluster.client.update_scale(ReplicaSet, scale)
    await cluster.until(lambda: len(cluster.all(Pod)) == 1)
    assert not cluster.all(Deployment)


async def test_what_is_refused_is_told_and_tried_with_patience(timed: Cluster) -> None:
    """A Deployment whose ReplicaSet can't have a name: its own and the hash are longer than names may be."""
    made = deployment(replicas=1)
    made.metadata.name = "x" * 250
    made.spec.progress_deadline_seconds = 60
    await timed.client.create(made)
    await timed.until(lambda: any(each.reason == "FailedCreate" for each in timed.all(Event)))
    event = next(each for each in timed.all(Event) if each.reason == "FailedCreate")
    assert (event.type, event.involved_object.kind) == ("Warning", "Deployment")
    assert "must be no more than 253" in event.message

    def progress() -> list[tuple[str, str]]:
        found = timed.get(Deployment, made.metadata.name).status.conditions
        return [(each.status, each.reason) for each in found if each.type == "Progressing"]

    assert progress() == [("True", "NewReplicaSetCreated")]
    await pass_time(timed, 130, ())
    await timed.until(lambda: progress() == [("False", "ProgressDeadlineExceeded")])
    await timed.client.delete(Deployment, made.metadata.name, namespace="default")
    await timed.until(lambda: not timed.all(Deployment))
    assert not timed.all(ReplicaSet)
