"""Delete over real gRPC: grace periods, finalizers, propagation, preconditions, namespaces."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, Namespace, ObjectMeta, Pod
from orchestrator.client import Client
from tests.integration.server.objects import NAMESPACE, config_map, pod


async def gone(client: Client, kind: type[Pod] | type[ConfigMap] | type[Namespace], name: str, namespace: str) -> bool:
    try:
        await client.get(kind, name, namespace)
    except errors.NotFound:
        return True
    return False


async def test_the_reply_is_the_last_state_at_the_revision_of_the_deletion(client: Client) -> None:
    made = await client.create(config_map(a="1"))
    last = await client.delete(ConfigMap, "settings", namespace=NAMESPACE)
    assert dict(last.data) == {"a": "1"}
    assert int(last.metadata.resource_version) == int(made.metadata.resource_version) + 1
    assert await gone(client, ConfigMap, "settings", NAMESPACE)
    with pytest.raises(errors.NotFound, match='configmaps "settings" not found'):
        await client.delete(ConfigMap, "settings", namespace=NAMESPACE)


async def test_a_bound_pod_gets_its_grace_period(client: Client) -> None:
    await client.create(pod(node="n1"))
    marked = await client.delete(Pod, "web", namespace=NAMESPACE)
    assert marked.metadata.HasField("deletion_timestamp")
    assert marked.metadata.deletion_grace_period_seconds == 30
    assert marked.metadata.generation == 2
    again = await client.delete(Pod, "web", namespace=NAMESPACE)
    assert again == marked, "a second delete changes nothing"
    shorter = await client.delete(Pod, "web", namespace=NAMESPACE, grace_period_seconds=5)
    assert shorter.metadata.deletion_grace_period_seconds == 5
    assert shorter.metadata.deletion_timestamp.seconds == marked.metadata.deletion_timestamp.seconds - 25
    longer = await client.delete(Pod, "web", namespace=NAMESPACE, grace_period_seconds=60)
    assert longer.metadata.deletion_grace_period_seconds == 5, "a grace period is never prolonged"
    await client.delete(Pod, "web", namespace=NAMESPACE, grace_period_seconds=0)
    assert await gone(client, Pod, "web", NAMESPACE)


async def test_a_pod_that_is_nowhere_or_done_goes_at_once(client: Client) -> None:
    await client.create(pod("unbound"))
    await client.delete(Pod, "unbound", namespace=NAMESPACE)
    assert await gone(client, Pod, "unbound", NAMESPACE)
    finished = await client.create(pod("finished", node="n1"))
    finished.status.phase = "Succeeded"
    await client.update(finished, subresource="status")
    await client.delete(Pod, "finished", namespace=NAMESPACE)
    assert await gone(client, Pod, "finished", NAMESPACE)


async def test_a_finalizer_holds_an_object_until_it_is_cleared(client: Client) -> None:
    held = config_map()
    held.metadata.finalizers.append("example.com/wait")
    await client.create(held)
    marked = await client.delete(ConfigMap, "settings", namespace=NAMESPACE)
    assert marked.metadata.HasField("deletion_timestamp")
    added = config_map()
    added.metadata.finalizers.extend(["example.com/wait", "example.com/more"])
    with pytest.raises(errors.Invalid, match="no new finalizers can be added if the object is being deleted"):
        await client.update(added)
    del marked.metadata.finalizers[:]
    last = await client.update(marked)
    assert int(last.metadata.resource_version) > int(marked.metadata.resource_version)
    assert await gone(client, ConfigMap, "settings", NAMESPACE)


async def test_a_finalizer_outlives_the_grace_period(client: Client) -> None:
    held = pod(node="n1")
    held.metadata.finalizers.append("example.com/wait")
    await client.create(held)
    await client.delete(Pod, "web", namespace=NAMESPACE)
    ended = await client.delete(Pod, "web", namespace=NAMESPACE, grace_period_seconds=0)
    assert ended.metadata.deletion_grace_period_seconds == 0
    ended.metadata.finalizers.pop()
    await client.update(ended)
    assert await gone(client, Pod, "web", NAMESPACE)


async def test_clearing_finalizers_does_not_cut_the_grace_period(client: Client) -> None:
    held = pod(node="n1")
    held.metadata.finalizers.append("example.com/wait")
    await client.create(held)
    marked = await client.delete(Pod, "web", namespace=NAMESPACE)
    marked.metadata.finalizers.pop()
    await client.update(marked)
    assert not await gone(client, Pod, "web", NAMESPACE)


@pytest.mark.parametrize(("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])])
async def test_propagation_leaves_the_rest_to_the_collector(client: Client, policy: str, finalizers: list[str]) -> None:
    await client.create(config_map())
    marked = await client.delete(ConfigMap, "settings", namespace=NAMESPACE, propagation_policy=policy)
    assert list(marked.metadata.finalizers) == finalizers
    assert marked.metadata.HasField("deletion_timestamp")
    last = await client.delete(ConfigMap, "settings", namespace=NAMESPACE, propagation_policy="Background")
    assert not last.metadata.HasField("deletion_timestamp") or await gone(client, ConfigMap, "settings", NAMESPACE)
    assert await gone(client, ConfigMap, "settings", NAMESPACE)


async def test_preconditions(client: Client) -> None:
    made = await client.create(config_map())
    with pytest.raises(errors.Conflict, match="Precondition failed: UID in precondition: other, UID in object meta"):
        await client.delete(ConfigMap, "settings", namespace=NAMESPACE, uid="other")
    with pytest.raises(errors.Conflict, match="Precondition failed: ResourceVersion in precondition: 1"):
        await client.delete(ConfigMap, "settings", namespace=NAMESPACE, resource_version="1")
    meta = made.metadata
    await client.delete(
        ConfigMap, "settings", namespace=NAMESPACE, uid=meta.uid, resource_version=meta.resource_version
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"propagation_policy": "Sideways"}, "must be Foreground, Background or Orphan"),
        ({"grace_period_seconds": -1}, "must be greater than or equal to 0"),
    ],
)
async def test_bad_options(client: Client, options: dict[str, str | int], message: str) -> None:
    await client.create(config_map())
    with pytest.raises(errors.BadRequest, match=message):
        await client.delete(ConfigMap, "settings", namespace=NAMESPACE, **options)  # type: ignore[arg-type]


async def test_the_life_of_a_namespace(client: Client) -> None:
    made = await client.create(Namespace(metadata=ObjectMeta(name="team")))
    assert list(made.spec.finalizers) == ["kubernetes"]
    assert made.status.phase == "Active"
    assert made.metadata.labels["kubernetes.io/metadata.name"] == "team"
    await client.create(config_map(namespace="team"))

    ending = await client.delete(Namespace, "team")
    assert ending.status.phase == "Terminating"
    assert ending.metadata.HasField("deletion_timestamp")
    with pytest.raises(errors.Forbidden) as refused:
        await client.create(pod(namespace="team"))
    assert "unable to create new content in namespace team because it is being terminated" in refused.value.message
    assert refused.value.details.causes[0].reason == "NamespaceTerminating"
    # What is there can still be changed and removed.
    await client.update(config_map(namespace="team", a="1"))
    await client.delete(ConfigMap, "settings", namespace="team")

    del ending.spec.finalizers[:]
    ordinary = await client.update(ending)
    assert list(ordinary.spec.finalizers) == ["kubernetes"], "only the subresource clears them"
    del ordinary.spec.finalizers[:]
    await client.update(ordinary, subresource="finalize")
    assert await gone(client, Namespace, "team", "")
    with pytest.raises(errors.NotFound, match='namespaces "team" not found'):
        await client.create(pod(namespace="team"))


async def test_nothing_slips_into_a_namespace_that_ends(client: Client) -> None:
    await client.create(Namespace(metadata=ObjectMeta(name="team")))

    async def create(number: int) -> int:
        try:
            made = await client.create(config_map(f"m{number}", namespace="team"))
        except errors.Forbidden:
            return 0
        return int(made.metadata.resource_version)

    creates = [asyncio.create_task(create(number)) for number in range(40)]
    await asyncio.wait(creates, return_when=asyncio.FIRST_COMPLETED)
    ending = await client.delete(Namespace, "team")
    created = [revision for revision in await asyncio.gather(*creates) if revision]
    assert created
    assert max(created) < int(ending.metadata.resource_version)
    assert await create(99) == 0


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_the_clusters_own_namespaces_stay(client: Client, name: str) -> None:
    with pytest.raises(errors.Forbidden, match="this namespace may not be deleted"):
        await client.delete(Namespace, name)
