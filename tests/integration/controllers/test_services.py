"""Endpoint slices follow the pods of a Service."""

from __future__ import annotations

from orchestrator.api.v1 import Deployment, Endpoint, EndpointSlice, Pod, Service
from tests.integration.controllers.cluster import Cluster
from tests.integration.controllers.test_rollouts import is_rolled_out, ready, set_image, start
from tests.integration.server.objects import deployment, service


def ready_addresses(cluster: Cluster) -> list[str]:
    return sorted(
        address
        for piece in cluster.all(EndpointSlice)
        for endpoint in piece.endpoints
        if endpoint.conditions.ready
        for address in endpoint.addresses
    )


def leaving_endpoints(cluster: Cluster) -> list[Endpoint]:
    return [each for piece in cluster.all(EndpointSlice) for each in piece.endpoints if each.conditions.terminating]


def pod_addresses(cluster: Cluster) -> list[str]:
    return sorted(
        pod.status.pod_ip for pod in cluster.all(Pod) if ready(pod) and not pod.metadata.HasField("deletion_timestamp")
    )


async def test_slices_follow_the_pods(cluster: Cluster) -> None:
    made = await cluster.client.create(service("web", port=80))
    await cluster.until(lambda: len(cluster.all(EndpointSlice)) == 1, "an empty slice")
    (empty,) = cluster.all(EndpointSlice)
    assert not empty.endpoints and not empty.ports
    assert [(each.kind, each.uid) for each in empty.metadata.owner_references] == [("Service", made.metadata.uid)]
    await start(cluster, deployment(replicas=3))
    await cluster.until(lambda: len(ready_addresses(cluster)) == 3)
    (piece,) = cluster.all(EndpointSlice)
    assert piece.metadata.uid == empty.metadata.uid
    assert [(port.name, port.protocol, port.port) for port in piece.ports] == [("", "TCP", 80)]
    assert ready_addresses(cluster) == pod_addresses(cluster)
    assert piece.metadata.labels["kubernetes.io/service-name"] == "web"
    victim = cluster.all(Pod)[0]
    cluster.kubelet.ends = lambda pod: False
    await cluster.client.delete(Pod, victim.metadata.name, namespace="default")
    await cluster.until(lambda: len(leaving_endpoints(cluster)) == 1)
    await cluster.until(lambda: len(pod_addresses(cluster)) == 3 and ready_addresses(cluster) == pod_addresses(cluster))
    (leaving,) = leaving_endpoints(cluster)
    assert leaving.conditions.serving and not leaving.conditions.ready
    cluster.kubelet.ends = lambda pod: True
    cluster.kubelet.wake()
    await set_image(cluster, "web", "v2")
    await cluster.until(lambda: is_rolled_out(cluster, "web", 3, "v2"))
    await cluster.until(lambda: ready_addresses(cluster) == pod_addresses(cluster))
    await cluster.patch(Deployment, "web", {"spec": {"replicas": 0}})
    await cluster.until(lambda: not any(each.endpoints for each in cluster.all(EndpointSlice)))
    await cluster.client.delete(Service, "web", namespace="default")
    await cluster.until(lambda: not cluster.all(EndpointSlice), "the slices go with their Service")


async def test_a_pod_that_is_no_longer_ready_takes_no_traffic(cluster: Cluster) -> None:
    await cluster.client.create(service("web", port=80))
    await start(cluster, deployment(replicas=2))
    await cluster.until(lambda: len(ready_addresses(cluster)) == 2)
    first, second = cluster.all(Pod)
    await cluster.kubelet.set_ready(first, ready=False)
    await cluster.until(lambda: ready_addresses(cluster) == [second.status.pod_ip])
    await cluster.patch(Service, "web", {"spec": {"selector": {"app": "other"}}})
    await cluster.until(lambda: not any(each.endpoints for each in cluster.all(EndpointSlice)))
