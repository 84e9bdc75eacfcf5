"""Lists over real gRPC: selectors, pages at one revision, old revisions."""

from __future__ import annotations

import asyncio
import base64

import pytest

from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, Namespace, Node, ObjectMeta, Pod
from orchestrator.client import Client, Create, Listing
from tests.integration.server.objects import NAMESPACE, config_map, node, pod


def names(listing: Listing[Pod] | Listing[ConfigMap] | Listing[Node]) -> list[str]:
    return [item.metadata.name for item in listing.items]


async def test_by_namespace_or_everywhere(client: Client) -> None:
    await client.create(Namespace(metadata=ObjectMeta(name="team")))
    await client.create(pod("a"))
    made = await client.create(pod("b", namespace="team"))
    assert names(await client.list(Pod, namespace=NAMESPACE)) == ["a"]
    everywhere = await client.list(Pod)
    assert names(everywhere) == ["a", "b"]
    assert everywhere.items[1] == made
    assert int(everywhere.resource_version) >= int(made.metadata.resource_version)
    assert names(await client.list(Pod, namespace="nowhere")) == []


async def test_one_kinds_prefix_is_not_anothers(client: Client) -> None:
    await client.create(node("n1"))
    await client.create(node("n10"))
    assert names(await client.list(Node)) == ["n1", "n10"]
    with pytest.raises(errors.BadRequest, match="nodes have no namespace"):
        await client.list(Node, namespace="default")


@pytest.mark.parametrize(
    ("labels", "fields", "found"),
    [
        ("app=web", "", ["a", "b"]),
        ("app in (web,db),tier!=back", "", ["a"]),
        ("!tier", "", ["d"]),
        ("", "spec.nodeName=n1", ["a", "c"]),
        ("app=db", "spec.nodeName=n1", ["c"]),
        ("", "metadata.name=b", ["b"]),
        ("", "status.phase!=Pending", []),
        ("", "metadata.name=b,spec.nodeName=n1", []),
    ],
)
async def test_selectors(client: Client, labels: str, fields: str, found: list[str]) -> None:
    await client.create(pod("a", labels={"app": "web", "tier": "front"}, node="n1"))
    await client.create(pod("b", labels={"app": "web", "tier": "back"}))
    await client.create(pod("c", labels={"app": "db", "tier": "back"}, node="n1"))
    await client.create(pod("d"))
    assert names(await client.list(Pod, label_selector=labels, field_selector=fields)) == found
    paged: list[str] = []
    token = ""
    while True:
        page = await client.list(Pod, label_selector=labels, field_selector=fields, limit=1, continue_token=token)
        assert len(page.items) <= 1
        paged += names(page)
        token = page.continue_token
        if not token:
            break
    assert paged == found


async def test_pages_are_one_revision_while_others_write(client: Client) -> None:
    await client.batch([Create(config_map(f"m{i:02}", v="old")) for i in range(25)])
    first = await client.list(ConfigMap, namespace=NAMESPACE, limit=10)
    assert (len(first.items), first.remaining) == (10, 15)
    await client.create(config_map("m005"))
    await client.update(config_map("m20", v="new"))
    await client.delete(ConfigMap, "m21", namespace=NAMESPACE)
    second = await client.list(ConfigMap, namespace=NAMESPACE, limit=10, continue_token=first.continue_token)
    third = await client.list(ConfigMap, namespace=NAMESPACE, limit=10, continue_token=second.continue_token)
    assert (second.remaining, third.remaining, third.continue_token) == (5, None, "")
    assert {page.resource_version for page in (second, third)} == {first.resource_version}
    everything = [*first.items, *second.items, *third.items]
    assert [item.metadata.name for item in everything] == [f"m{i:02}" for i in range(25)]
    assert {item.data["v"] for item in everything} == {"old"}
    past = await client.list(ConfigMap, namespace=NAMESPACE, resource_version=first.resource_version)
    assert past.items == everything


async def test_a_list_at_any_revision(client: Client) -> None:
    made = await client.create(config_map())
    assert names(await client.list(ConfigMap, resource_version="0")) == ["settings"]
    before = str(int(made.metadata.resource_version) - 1)
    assert names(await client.list(ConfigMap, resource_version=before)) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"continue_token": "nonsense"}, "continue key is not valid"),
        ({"continue_token": base64.urlsafe_b64encode(b'{"a": 1}').decode()}, "continue key is not valid"),
        ({"limit": -1}, "invalid limit -1"),
        ({"label_selector": "a=(b"}, "unable to parse requirement"),
        ({"field_selector": "spec.image=x"}, "field label not supported: spec.image"),
        ({"resource_version": "latest"}, 'invalid resource version "latest"'),
    ],
)
async def test_bad_lists(client: Client, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        await client.list(Pod, **arguments)  # type: ignore[arg-type]
    assert message in caught.value.message


async def test_a_revision_that_never_was(client: Client) -> None:
    with pytest.raises(errors.Timeout, match="Too large resource version"):
        await client.list(Pod, resource_version="99999")


async def test_lists_of_many_let_others_through(client: Client) -> None:
    await client.batch([Create(pod(f"p{i:04}", labels={"n": str(i % 2)})) for i in range(1200)])
    listing, other = await asyncio.gather(client.list(Pod, label_selector="n=1"), client.get(Namespace, "default"))
    assert len(listing.items) == 600
    assert other.metadata.name == "default"
