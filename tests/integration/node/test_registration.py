"""A node registers at a real API server: its object, its lease, and what happens when either is tampered with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar, cast

from agents.cri.client import CriClient
from agents.cri.errors import CriUnavailableError
from agents.cri.v1 import runtime_pb2 as cri
from agents.node.registration import Registration
from orchestrator.api.conventions import LEASE_NAMESPACE
from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.v1 import Lease, Node
from orchestrator.client import Client
from orchestrator.clock import FakeClock, SystemClock
from tests.integration.running import RunningServer

K = TypeVar("K", bound=KubeObject)


@dataclass
class ScriptedRuntime:
    network_ready: bool = True
    away: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def version(self) -> cri.VersionResponse:
        self.asked.set()
        if self.away:
            raise CriUnavailableError("connection refused")
        return cri.VersionResponse(runtime_name="containerd", runtime_version="v1.7.2")

    async def status(self) -> cri.StatusResponse:
        network = cri.RuntimeCondition(
            type="NetworkReady", status=self.network_ready, reason="" if self.network_ready else "NetworkPluginNotReady"
        )
        return cri.StatusResponse(status=cri.RuntimeStatus(conditions=[network]))

    async def list_images(self) -> Sequence[cri.Image]:
        return []


@dataclass
class Writes:
    """A client whose answered writes can be waited for: what the server has is there a moment before the answer."""

    client: Client
    answered: dict[type, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    async def create(self, obj: K) -> K:
        return self._noted(await self.client.create(obj))

    async def update(self, obj: K, *, subresource: str = "") -> K:
        return self._noted(await self.client.update(obj, subresource=subresource))

    def _noted(self, obj: K) -> K:
        self.answered[type(obj)].set()
        return obj

    async def next(self, kind: type) -> None:
        async with asyncio.timeout(10):
            await self.answered[kind].wait()
        self.answered[kind].clear()


@asynccontextmanager
async def registering(
    api: RunningServer, runtime: ScriptedRuntime, clock: SystemClock | FakeClock | None = None
) -> AsyncIterator[tuple[asyncio.Event, Writes]]:
    """The event says that the node has registered."""
    there = asyncio.Event()
    async with api.connect("node") as client:
        writes = Writes(client)
        registration = Registration(
            api.paths,
            "n1",
            cast(Client, writes),
            clock or SystemClock(),
            cast(CriClient, runtime),
            address="192.0.2.1",
            port=7450,
        )
        running = asyncio.create_task(registration.run(there.set))
        try:
            yield there, writes
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def registered(
    api: RunningServer, runtime: ScriptedRuntime, clock: SystemClock | FakeClock | None = None
) -> AsyncIterator[Writes]:
    async with registering(api, runtime, clock) as (there, writes):
        async with asyncio.timeout(10):
            await there.wait()
        yield writes


async def seen(client: Client, kind: type[K], condition: Callable[[K], bool], namespace: str = "") -> K:
    """The object "n1" once it fulfils the condition."""
    async with asyncio.timeout(10):
        async for change in client.watch(kind, namespace=namespace, field_selector="metadata.name=n1"):
            if change.type != "DELETED" and change.type != "BOOKMARK" and condition(change.object):
                return change.object
    raise AssertionError("the watch ended")


def readiness(node: Node) -> str:
    found = next((each for each in node.status.conditions if each.type == "Ready"), None)
    return "" if found is None else f"{found.status} {found.reason}"


async def test_a_node_and_its_lease(api: RunningServer, client: Client) -> None:
    async with registered(api, ScriptedRuntime()):
        node = await seen(client, Node, lambda node: readiness(node) == "True KubeletReady")
        assert node.metadata.labels["kubernetes.io/hostname"] == "n1"
        assert node.status.node_info.container_runtime_version == "containerd://1.7.2"
        assert node.status.allocatable["pods"] == "110"
        lease = await seen(client, Lease, lambda lease: True, LEASE_NAMESPACE)
        assert lease.spec.holder_identity == "n1"
        assert lease.spec.lease_duration_seconds == 40
        assert [owner.uid for owner in lease.metadata.owner_references] == [node.metadata.uid]


async def test_ready_as_soon_as_the_network_is(api: RunningServer, client: Client) -> None:
    runtime = ScriptedRuntime(network_ready=False)
    async with registered(api, runtime):
        await seen(client, Node, lambda node: readiness(node) == "False KubeletNotReady")
        runtime.network_ready = True
        await seen(client, Node, lambda node: readiness(node) == "True KubeletReady")


async def test_a_runtime_that_is_away(api: RunningServer, client: Client) -> None:
    runtime = ScriptedRuntime(away=True)
    async with registered(api, runtime):
        node = await seen(client, Node, lambda node: readiness(node) == "False KubeletNotReady")
        assert any("container runtime is down" in each.message for each in node.status.conditions)


async def test_a_runtime_that_is_back_soon_costs_the_node_nothing(api: RunningServer, client: Client) -> None:
    clock = FakeClock()
    runtime = ScriptedRuntime()
    async with registered(api, runtime, clock):
        await seen(client, Node, lambda node: readiness(node) == "True KubeletReady")
    runtime.away = True
    # A new agent doesn't know either whether the runtime is only being restarted.
    async with registering(api, runtime, clock) as (there, _):
        for _ in range(3):
            async with asyncio.timeout(10):
                await clock.sleeping(1)
                runtime.asked.clear()
                clock.advance(9.9)
                await runtime.asked.wait()
            assert readiness(await client.get(Node, "n1")) == "True KubeletReady"
            assert not there.is_set(), "a node that may be broken is not announced"
        await clock.sleeping(1)
        clock.advance(1)
        await seen(client, Node, lambda node: readiness(node) == "False KubeletNotReady")
        async with asyncio.timeout(10):
            await there.wait()


async def test_what_somebody_changed_is_put_right(api: RunningServer, client: Client) -> None:
    async with registered(api, ScriptedRuntime()):
        node = await seen(client, Node, lambda node: True)
        doubted = clone(node)
        for condition in doubted.status.conditions:
            condition.status, condition.reason = "Unknown", "NodeStatusUnknown"
        await client.update(doubted, subresource="status")
        await client.patch(Node, "n1", {"metadata": {"labels": {"kubernetes.io/os": "plan9"}}})
        node = await seen(
            client,
            Node,
            lambda node: readiness(node) == "True KubeletReady" and node.metadata.labels["kubernetes.io/os"] == "linux",
        )
        # What the node does not speak of stays.
        assert node.spec == doubted.spec


async def test_a_deleted_node_registers_again(api: RunningServer, client: Client) -> None:
    async with registered(api, ScriptedRuntime()):
        first = await seen(client, Node, lambda node: True)
        await client.delete(Node, "n1")
        await seen(client, Node, lambda node: node.metadata.uid != first.metadata.uid)


async def test_the_lease_is_renewed_every_ten_seconds_and_the_status_every_five_minutes(
    api: RunningServer, client: Client
) -> None:
    clock = FakeClock()
    async with registered(api, ScriptedRuntime(), clock) as writes:
        await writes.next(Lease)
        lease = await client.get(Lease, "n1", LEASE_NAMESPACE)
        node = await client.get(Node, "n1")
        renewed = lease.spec.renew_time.seconds
        for _ in range(2):
            await clock.settle()
            clock.advance(10)
            await writes.next(Lease)
            lease = await client.get(Lease, "n1", LEASE_NAMESPACE)
            assert lease.spec.renew_time.seconds == renewed + 10
            renewed += 10
        assert (await client.get(Node, "n1")).metadata.resource_version == node.metadata.resource_version
        writes.answered.clear()
        await clock.sleeping(2)
        clock.advance(300)
        await writes.next(Node)
        later = await client.get(Node, "n1")
        assert readiness(later) == "True KubeletReady"
        assert later.metadata.resource_version != node.metadata.resource_version


async def test_an_agent_that_comes_back_takes_its_node_up_again(api: RunningServer, client: Client) -> None:
    async with registered(api, ScriptedRuntime()):
        first = await seen(client, Lease, lambda lease: True, LEASE_NAMESPACE)
        node = await seen(client, Node, lambda node: True)
    async with registered(api, ScriptedRuntime()):
        again = await seen(client, Lease, lambda lease: lease.spec.renew_time != first.spec.renew_time, LEASE_NAMESPACE)
        assert again.metadata.uid == first.metadata.uid
        assert (await client.get(Node, "n1")).metadata.uid == node.metadata.uid
