"""A cluster in which nothing happens writes nothing, and controllers that start again find nothing to do."""

from __future__ import annotations

from orchestrator.api.v1 import Deployment
from tests.integration.controllers.cluster import Cluster
from tests.integration.controllers.test_nodes import pass_time, register
from tests.integration.controllers.test_rollouts import set_image, start
from tests.integration.running import RunningServer
from tests.integration.server.objects import deployment, service


async def converged(cluster: Cluster, api: RunningServer) -> None:
    """Some rounds of updates, and then minutes in which what is still to be told is told."""
    await register(cluster, "n1")
    cluster.kubelet.nodes = ("n1",)
    await cluster.client.create(service("web"))
    await start(cluster, deployment(replicas=5))
    paused = deployment("paused", replicas=1)
    paused.spec.paused = True
    recreated = deployment("recreated", replicas=1)
    recreated.spec.strategy.type = "Recreate"
    for made in (paused, recreated, deployment("none", replicas=0)):
        await cluster.client.create(made)
    await set_image(cluster, "web", "v2")
    await cluster.patch(Deployment, "web", {"spec": {"replicas": 7}})
    await cluster.until(
        lambda: (
            cluster.get(Deployment, "web").status.available_replicas == 7
            and cluster.get(Deployment, "web").status.updated_replicas == 7
        )
    )
    await cluster.until(lambda: cluster.get(Deployment, "recreated").status.available_replicas == 1)
    await pass_time(cluster, 120, ("n1",))


async def test_an_idle_cluster_writes_nothing(timed: Cluster, api: RunningServer) -> None:
    await converged(timed, api)
    before = api.store.status().revision
    minutes = 25  # beyond two periodic looks at everything
    await pass_time(timed, minutes * 60, ("n1",))
    renewals = minutes * 6
    assert api.store.status().revision - before == renewals


async def test_controllers_that_start_again_have_nothing_to_do(timed: Cluster, api: RunningServer) -> None:
    await converged(timed, api)
    before = api.store.status().revision
    async with Cluster(timed.client, timed.clock).running() as again:
        await again.until(lambda: len(again.all(Deployment)) == 4)
        await pass_time(timed, 60, ("n1",))
    assert api.store.status().revision - before == 6
