"""Create, get and update over real gRPC: identity, versions, generation, the status subresource, conflicts."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import clone, wrap
from orchestrator.api.v1 import (
    ConfigMap,
    ContainerStatus,
    CreateRequest,
    Deployment,
    Node,
    ObjectKey,
    ObjectMeta,
    PatchRequest,
    Pod,
    Scale,
    ScaleSpec,
    UpdateRequest,
)
from orchestrator.client import Client, PatchType
from tests.integration.server.objects import NAMESPACE, config_map, deployment, node, pod


async def test_what_is_created_is_read(client: Client) -> None:
    made = await client.create(pod())
    assert made == await client.get(Pod, "web", NAMESPACE)
    assert made.metadata.uid
    assert int(made.metadata.resource_version) > 1
    assert made.metadata.generation == 1
    assert made.metadata.HasField("creation_timestamp")
    assert made.status.phase == "Pending"
    assert made.status.qos_class == "BestEffort"


async def test_the_systems_fields_are_not_the_clients_to_set(client: Client) -> None:
    forged = pod()
    forged.metadata.uid = "mine"
    forged.metadata.generation = 7
    forged.metadata.creation_timestamp.FromJsonString("2001-01-01T00:00:00Z")
    forged.metadata.deletion_timestamp.FromJsonString("2001-01-01T00:00:00Z")
    forged.status.phase = "Running"
    made = await client.create(forged)
    assert made.metadata.uid != "mine"
    assert made.metadata.generation == 1
    assert made.metadata.creation_timestamp.ToDatetime().year > 2001
    assert not made.metadata.HasField("deletion_timestamp")
    assert made.status.phase == "Pending"


async def test_a_node_registers_with_its_status(client: Client) -> None:
    made = await client.create(node(address="192.0.2.1"))
    assert made.status.addresses[0].address == "192.0.2.1"


async def test_a_name_is_taken_once(client: Client) -> None:
    await client.create(pod())
    with pytest.raises(errors.AlreadyExists, match='pods "web" already exists'):
        await client.create(pod())


async def test_of_many_creates_of_one_name_one_wins(client: Client) -> None:
    results = await asyncio.gather(*(client.create(config_map()) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, ConfigMap) for result in results) == 1
    assert sum(isinstance(result, errors.AlreadyExists) for result in results) == 19


async def test_generated_names(client: Client) -> None:
    made = await asyncio.gather(
        *(
            client.create(Pod(metadata=ObjectMeta(generate_name="web-", namespace=NAMESPACE), spec=pod().spec))
            for _ in range(20)
        )
    )
    names = {each.metadata.name for each in made}
    assert len(names) == 20
    for name in names:
        assert name.startswith("web-")
        assert len(name) == len("web-") + 5
        assert set(name.removeprefix("web-")) <= set("bcdfghjklmnpqrstvwxz2456789")


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        (pod("Web_1"), errors.Invalid, 'Pod "Web_1" is invalid: metadata.name: Invalid value: "Web_1"'),
        (
            Pod(metadata=ObjectMeta(namespace=NAMESPACE), spec=pod().spec),
            errors.Invalid,
            "metadata.name: Required value",
        ),
        (pod(namespace="nowhere"), errors.NotFound, 'namespaces "nowhere" not found'),
        (pod(namespace=""), errors.BadRequest, "an empty namespace may not be set during creation"),
        (Node(metadata=ObjectMeta(name="n1", namespace="default")), errors.BadRequest, "nodes have no namespace"),
        (Scale(metadata=ObjectMeta(name="x")), errors.BadRequest, "is not stored"),
        (
            Pod(metadata=ObjectMeta(name="web", namespace=NAMESPACE, resource_version="4"), spec=pod().spec),
            errors.BadRequest,
            "resourceVersion should not be set on objects to be created",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_creates(client: Client, obj: Pod | Node | Scale, error: type[errors.ApiError], message: str) -> None:
    with pytest.raises(error) as caught:
        await client.create(obj)
    assert message in caught.value.message


async def test_an_update_of_a_body_or_under_another_name(client: Client) -> None:
    with pytest.raises(errors.BadRequest, match="is not stored"):
        await client.update(Scale(metadata=ObjectMeta(name="web", namespace=NAMESPACE)))
    key = ObjectKey(resource="configmaps", namespace=NAMESPACE, name="other")
    request = UpdateRequest(object=wrap(config_map()), key=key)
    with pytest.raises(errors.BadRequest, match=r"\(default/settings\) does not match .* \(default/other\)"):
        await client._call(client._resources.Update(request))
    wrong = UpdateRequest(object=wrap(pod("other")), key=key)
    with pytest.raises(errors.BadRequest, match="expected an object of kind ConfigMap, got Pod"):
        await client._call(client._resources.Update(wrong))


async def test_an_empty_request_is_refused(client: Client) -> None:
    with pytest.raises(errors.BadRequest, match="carries no object"):
        await client._call(client._resources.Create(CreateRequest()))


async def test_not_found(client: Client) -> None:
    with pytest.raises(errors.NotFound, match=r'deployments\.apps "web" not found') as caught:
        await client.get(Deployment, "web", NAMESPACE)
    assert (caught.value.details.kind, caught.value.details.group, caught.value.details.name) == (
        "deployments",
        "apps",
        "web",
    )


async def test_a_dry_run_changes_nothing(client: Client) -> None:
    made = await client.create(config_map(), dry_run=True)
    assert made.metadata.uid
    assert not made.metadata.resource_version
    with pytest.raises(errors.NotFound):
        await client.get(ConfigMap, "settings", NAMESPACE)
    await client.create(config_map(color="red"))
    with pytest.raises(errors.AlreadyExists):
        await client.create(config_map(), dry_run=True)
    changed = await client.update(config_map(color="blue"), dry_run=True)
    assert changed.data["color"] == "blue"
    assert (await client.get(ConfigMap, "settings", NAMESPACE)).data["color"] == "red"
    await client.delete(ConfigMap, "settings", namespace=NAMESPACE, dry_run=True)
    await client.get(ConfigMap, "settings", NAMESPACE)


async def test_an_update_gets_a_new_version(client: Client) -> None:
    made = await client.create(config_map(color="red"))
    changed = clone(made)
    changed.data["color"] = "blue"
    updated = await client.update(changed)
    assert int(updated.metadata.resource_version) > int(made.metadata.resource_version)
    assert updated.metadata.uid == made.metadata.uid
    assert await client.get(ConfigMap, "settings", NAMESPACE) == updated


async def test_an_update_that_changes_nothing_is_none(client: Client) -> None:
    made = await client.create(pod())
    assert await client.update(made) == made
    assert await client.update(pod()) == made


async def test_an_update_of_an_old_version_is_a_conflict(client: Client) -> None:
    made = await client.create(config_map(color="red"))
    await client.update(config_map(color="blue"))
    stale = clone(made)
    stale.data["color"] = "green"
    with pytest.raises(errors.Conflict) as caught:
        await client.update(stale)
    assert caught.value.message == (
        'Operation cannot be fulfilled on configmaps "settings": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert (await client.get(ConfigMap, "settings", NAMESPACE)).data["color"] == "blue"


async def test_an_update_of_another_life_is_a_conflict(client: Client) -> None:
    first = await client.create(config_map())
    await client.delete(ConfigMap, "settings", namespace=NAMESPACE)
    await client.create(config_map())
    first.metadata.resource_version = ""
    with pytest.raises(errors.Conflict, match="Precondition failed: UID in precondition"):
        await client.update(first)


async def test_updates_without_a_version_all_get_through(client: Client) -> None:
    await client.create(config_map())
    await asyncio.gather(*(client.update(config_map(**{f"k{i}": "v"})) for i in range(30)))
    last = await client.get(ConfigMap, "settings", NAMESPACE)
    assert len(last.data) == 1


async def test_an_update_of_what_is_not_there(client: Client) -> None:
    with pytest.raises(errors.NotFound):
        await client.update(config_map())


async def test_generation_counts_changes_of_the_spec(client: Client) -> None:
    made = await client.create(deployment())
    made.metadata.labels["a"] = "b"
    labelled = await client.update(made)
    assert labelled.metadata.generation == 1
    labelled.spec.replicas = 5
    scaled = await client.update(labelled)
    assert scaled.metadata.generation == 2
    scaled.status.replicas = 5
    reported = await client.update(scaled, subresource="status")
    assert reported.metadata.generation == 2


async def test_spec_and_status_are_apart(client: Client) -> None:
    made = await client.create(deployment())
    both = clone(made)
    both.spec.replicas = 9
    both.status.replicas = 4
    both.metadata.labels["from"] = "status"
    reported = await client.update(both, subresource="status")
    assert (reported.spec.replicas, reported.status.replicas) == (3, 4)
    assert "from" not in reported.metadata.labels
    both.metadata.resource_version = ""
    both.status.replicas = 8
    updated = await client.update(both)
    assert (updated.spec.replicas, updated.status.replicas) == (9, 4)
    assert updated.metadata.labels["from"] == "status"


async def test_a_status_is_guarded_by_the_version_too(client: Client) -> None:
    made = await client.create(pod())
    await client.patch(Pod, "web", {"metadata": {"labels": {"a": "b"}}}, namespace=NAMESPACE)
    made.status.container_statuses.append(ContainerStatus(name="main", image="x", image_id="y"))
    with pytest.raises(errors.Conflict):
        await client.update(made, subresource="status")


async def test_a_status_is_judged(client: Client) -> None:
    made = await client.create(node(address="192.0.2.1"))
    made.status.capacity["cpu"] = "plenty"
    with pytest.raises(errors.Invalid, match=r"status\.capacity\[cpu\]: Invalid value"):
        await client.update(made, subresource="status")


async def test_kinds_without_a_status_have_no_subresource(client: Client) -> None:
    made = await client.create(config_map())
    with pytest.raises(errors.MethodNotAllowed):
        await client.update(made, subresource="status")
    with pytest.raises(errors.MethodNotAllowed):
        await client.update(await client.create(pod()), subresource="finalize")


async def test_immutable_fields(client: Client) -> None:
    made = await client.create(deployment())
    made.spec.selector.match_labels["more"] = "labels"
    made.spec.template.metadata.labels["more"] = "labels"
    with pytest.raises(errors.Invalid, match=r"spec\.selector: Invalid value: .*field is immutable"):
        await client.update(made)


async def test_scale(client: Client) -> None:
    made = await client.create(deployment())
    scale = await client.get_scale(Deployment, "web", NAMESPACE)
    assert (scale.spec.replicas, scale.status.selector) == (3, "app=web")
    assert scale.metadata.resource_version == made.metadata.resource_version
    scale.spec.replicas = 7
    assert (await client.update_scale(Deployment, scale)).spec.replicas == 7
    scaled = await client.get(Deployment, "web", NAMESPACE)
    assert (scaled.spec.replicas, scaled.metadata.generation) == (7, 2)
    with pytest.raises(errors.Conflict):
        await client.update_scale(Deployment, scale)
    with pytest.raises(errors.Invalid, match=r"spec\.replicas: Invalid value: -1: must be greater than or equal to 0"):
        await client.update_scale(
            Deployment, Scale(metadata=ObjectMeta(name="web", namespace=NAMESPACE), spec=ScaleSpec(replicas=-1))
        )
    with pytest.raises(errors.MethodNotAllowed):
        await client.get_scale(ConfigMap, "web", NAMESPACE)


async def test_binding(client: Client) -> None:
    made = await client.create(pod())
    await client.bind(made, "n1")
    bound = await client.get(Pod, "web", NAMESPACE)
    assert bound.spec.node_name == "n1"
    assert [(c.type, c.status) for c in bound.status.conditions] == [("PodScheduled", "True")]
    with pytest.raises(errors.Conflict, match='pod web is already assigned to node "n1"'):
        await client.bind(made, "n2")
    await client.delete(Pod, "web", namespace=NAMESPACE, grace_period_seconds=0)
    again = await client.create(pod())
    with pytest.raises(errors.Conflict, match="Precondition failed: UID"):
        await client.bind(made, "n1")
    await client.bind(again, "n2")


async def test_of_two_bindings_one_wins(client: Client) -> None:
    made = await client.create(pod())
    results = await asyncio.gather(*(client.bind(made, f"n{i}") for i in range(5)), return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, errors.Conflict) for result in results) == 4


async def test_binding_a_pod_that_is_not_there(client: Client) -> None:
    with pytest.raises(errors.NotFound, match='pods "web" not found'):
        await client.bind(pod(), "n1")


@pytest.mark.parametrize(
    ("patch_type", "patch"),
    [
        (PatchType.MERGE, {"data": {"a": "2", "b": None}}),
        (PatchType.STRATEGIC, {"data": {"a": "2", "b": None}}),
        (PatchType.JSON, [{"op": "replace", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/b"}]),
    ],
)
async def test_patches(
    client: Client, patch_type: PatchType, patch: dict[str, object] | list[dict[str, object]]
) -> None:
    await client.create(config_map(a="1", b="1", c="1"))
    changed = await client.patch(ConfigMap, "settings", patch, namespace=NAMESPACE, type=patch_type)
    assert dict(changed.data) == {"a": "2", "c": "1"}


async def test_a_strategic_patch_merges_lists_by_their_key(client: Client) -> None:
    await client.create(deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.test/web:v2"}]}}}}
    changed = await client.patch(Deployment, "web", patch, namespace=NAMESPACE, type=PatchType.STRATEGIC)
    (container,) = changed.spec.template.spec.containers
    assert (container.image, container.image_pull_policy) == ("registry.test/web:v2", "IfNotPresent")
    assert changed.metadata.generation == 2


async def test_concurrent_patches_all_count(client: Client) -> None:
    await client.create(config_map())
    await asyncio.gather(
        *(client.patch(ConfigMap, "settings", {"data": {f"k{i}": "v"}}, namespace=NAMESPACE) for i in range(30))
    )
    assert len((await client.get(ConfigMap, "settings", NAMESPACE)).data) == 30


async def test_a_patch_with_a_version_is_bound_to_it(client: Client) -> None:
    made = await client.create(config_map())
    await client.patch(ConfigMap, "settings", {"data": {"a": "1"}}, namespace=NAMESPACE)
    stale = {"metadata": {"resourceVersion": made.metadata.resource_version}, "data": {"a": "2"}}
    with pytest.raises(errors.Conflict):
        await client.patch(ConfigMap, "settings", stale, namespace=NAMESPACE)


async def test_patches_of_subresources(client: Client) -> None:
    await client.create(deployment())
    patch = {"spec": {"replicas": 8}, "status": {"replicas": 2}}
    changed = await client.patch(Deployment, "web", patch, namespace=NAMESPACE, subresource="status")
    assert (changed.spec.replicas, changed.status.replicas) == (3, 2)
    changed = await client.patch(Deployment, "web", patch, namespace=NAMESPACE)
    assert (changed.spec.replicas, changed.status.replicas) == (8, 2)


@pytest.mark.parametrize(
    ("patch_type", "patch", "error", "message"),
    [
        (PatchType.MERGE, [{}], errors.BadRequest, "must be a JSON object"),
        (PatchType.JSON, {}, errors.BadRequest, "must be a list of operations"),
        (PatchType.MERGE, {"kind": "Secret"}, errors.BadRequest, "kind can't be changed by a patch"),
        (PatchType.MERGE, {"metadata": {"name": "other"}}, errors.BadRequest, "does not match the name of the request"),
        (PatchType.MERGE, {"data": 5}, errors.ApiError, "data"),
    ],
)
async def test_bad_patches(
    client: Client,
    patch_type: PatchType,
    patch: dict[str, object] | list[dict[str, object]],
    error: type[errors.ApiError],
    message: str,
) -> None:
    await client.create(config_map())
    with pytest.raises(error) as caught:
        await client.patch(ConfigMap, "settings", patch, namespace=NAMESPACE, type=patch_type)
    assert message in caught.value.message


@pytest.mark.parametrize("patch", [b"{", b"\xff", b"[" * 100_000, b'{"data":' * 900 + b"{}" + b"}" * 900])
async def test_patches_that_are_no_json(client: Client, patch: bytes) -> None:
    await client.create(config_map())
    key = ObjectKey(resource="configmaps", namespace=NAMESPACE, name="settings")
    with pytest.raises(errors.BadRequest):
        await client._call(client._resources.Patch(PatchRequest(key=key, patch=patch)))


async def test_warnings_name_what_has_no_effect(client: Client) -> None:
    warned: list[str] = []
    client._on_warning = warned.append
    wanted = deployment()
    wanted.spec.template.spec.runtime_class_name = "fast"
    await client.create(wanted)
    assert [warning for warning in warned if "runtimeClassName" in warning] == warned != []


async def test_the_bytes_of_the_wrapper_are_not_trusted(client: Client) -> None:
    """An object that says it is one kind in the wrapper can't be stored as another."""
    request = CreateRequest(object=wrap(pod()))
    request.subresource = "status"
    with pytest.raises(errors.MethodNotAllowed, match="creating a Pod as status is not supported"):
        await client._call(client._resources.Create(request))
