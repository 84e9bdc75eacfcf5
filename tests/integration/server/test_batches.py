"""Batches over real gRPC: independent outcomes in order."""

from __future__ import annotations

import pytest

from orchestrator.api import errors
from orchestrator.api.kinds import wrap
from orchestrator.api.v1 import BatchReply, BatchRequest, ConfigMap, CreateRequest, Operation, Pod
from orchestrator.client import Bind, Client, Create, Delete, Patch, Update
from tests.integration.server.objects import NAMESPACE, config_map, pod


async def test_each_operation_has_its_own_outcome(client: Client) -> None:
    await client.create(config_map("there"))
    leaving = await client.create(config_map("leaving"))
    waiting = await client.create(pod("waiting"))
    stale = config_map("there", a="1")
    stale.metadata.resource_version = "1"
    results = await client.batch(
        [
            Create(config_map("new")),
            Create(config_map("there")),
            Update(stale),
            Patch(ConfigMap, "absent", {"data": {}}, NAMESPACE),
            Bind(waiting, "n1"),
            Delete(ConfigMap, "leaving", NAMESPACE, uid=leaving.metadata.uid),
            Create(pod("Bad_Name")),
        ]
    )
    assert [type(each) for each in results] == [
        ConfigMap,
        errors.AlreadyExists,
        errors.Conflict,
        errors.NotFound,
        Pod,
        ConfigMap,
        errors.Invalid,
    ]
    bound = results[4]
    assert isinstance(bound, Pod)
    assert bound == await client.get(Pod, "waiting", NAMESPACE)
    assert bound.spec.node_name == "n1"


async def test_many_creates(client: Client) -> None:
    results = await client.batch([Create(config_map(f"m{i}")) for i in range(500)])
    assert all(isinstance(each, ConfigMap) for each in results)
    assert len({each.metadata.resource_version for each in results if isinstance(each, ConfigMap)}) == 500
    assert len((await client.list(ConfigMap)).items) == 500


async def test_an_empty_operation(client: Client) -> None:
    reply: BatchReply = await client._call(client._resources.Batch(BatchRequest(operations=[Operation()])))
    assert reply.results[0].error.reason == "BadRequest"


async def test_too_many_operations(client: Client) -> None:
    operation = Operation(create=CreateRequest(object=wrap(config_map())))
    with pytest.raises(errors.RequestEntityTooLarge, match="at most 1000 operations"):
        await client._call(client._resources.Batch(BatchRequest(operations=[operation] * 1001)))
