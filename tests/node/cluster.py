"""A real API server and a node agent on the lab's containerd, in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from agents.node.agent import NodeAgent
from orchestrator.api import errors
from orchestrator.api.v1 import ContainerStatus, Pod
from orchestrator.client import ChangeType, Client
from orchestrator.clock import SystemClock
from orchestrator.paths import Paths
from tests.integration.running import RunningServer
from tests.node.conftest import BUSYBOX_IMAGE, RuntimeLab

PATIENCE = 30.0
NODE = "n1"
ADDRESS = "192.0.2.10"


class Cluster:
    """A server and one node."""

    def __init__(self, server: RunningServer, client: Client, lab: RuntimeLab) -> None:
        self.server = server
        self.client = client
        self.lab = lab
        self._agent: asyncio.Task[None] | None = None
        self._node_client: Client | None = None

    async def start_agent(self) -> None:
        self._node_client = self.server.connect("node")
        agent = NodeAgent(
            Paths(self.lab.paths.root),
            NODE,
            self._node_client,
            SystemClock(),
            address="192.0.2.10",
            port=0,
            runtime_socket=self.lab.socket,
        )
        ready = asyncio.Event()
        self._agent = asyncio.create_task(agent.run(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((self._agent, waiting), return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
        waiting.cancel()
        if self._agent.done():
            self._agent.result()
        assert ready.is_set()

    async def kill_agent(self) -> None:
        """Ends it as a crash would, as far as containers are concerned: nothing is told goodbye."""
        if self._agent is not None:
            self._agent.cancel()
            await asyncio.gather(self._agent, return_exceptions=True)
            self._agent = None
        if self._node_client is not None:
            await self._node_client.close()
            self._node_client = None

    async def run(self, pod: Pod) -> Pod:
        return await self.client.create(pod)

    async def until(self, name: str, found: Callable[[Pod], bool]) -> Pod:
        """The pod once it is so."""
        try:
            async with asyncio.timeout(PATIENCE):
                changes = self.client.watch(Pod, namespace="default", field_selector=f"metadata.name={name}")
                async with aclosing(changes):
                    async for change in changes:
                        if change.type in (ChangeType.ADDED, ChangeType.MODIFIED) and found(change.object):
                            return change.object
        except TimeoutError:
            last = await self.client.get(Pod, name, "default")
            raise AssertionError(f"pod {name} is {last.status}") from None
        raise AssertionError("the watch has ended")

    async def until_gone(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE):
            changes = self.client.watch(Pod, namespace="default", field_selector=f"metadata.name={name}")
            async with aclosing(changes):
                async for change in changes:
                    if change.type is ChangeType.DELETED:
                        return

    async def until_only(self, *names: str) -> None:
        """Returns when the API has just these pods."""
        present: set[str] = set()
        async with asyncio.timeout(PATIENCE), aclosing(self.client.watch(Pod, namespace="default")) as changes:
            async for change in changes:
                if change.type is ChangeType.DELETED:
                    present.discard(change.object.metadata.name)
                elif change.type is not ChangeType.BOOKMARK:
                    present.add(change.object.metadata.name)
                if present == set(names):
                    return

    async def remove(self, name: str, grace: int | None = None) -> None:
        gone = asyncio.create_task(self.until_gone(name))
        await asyncio.sleep(0)
        await self.client.delete(Pod, name, namespace="default", grace_period_seconds=grace)
        try:
            await self.client.get(Pod, name, "default")
        except errors.NotFound:
            gone.cancel()
            return
        await gone

    async def eventually(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """For what nothing tells of."""
        async with asyncio.timeout(PATIENCE):
            while not await holds():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running_cluster(lab: RuntimeLab, directory: Path) -> AsyncIterator[Cluster]:
    """A server with its files in `directory`, and an agent that works in the lab's."""
    server = RunningServer(Paths(directory))
    await server.start()
    lab.paths.pki.mkdir(parents=True, exist_ok=True)
    for name in ("node.crt", "node.key", "ca.crt"):
        (lab.paths.pki / name).write_bytes((server.paths.pki / name).read_bytes())
    async with server.connect() as client:
        cluster = Cluster(server, client, lab)
        await cluster.start_agent()
        yield cluster
        await cluster.kill_agent()
    await server.stop()


def make_pod(name: str, command: list[str], *, restart_policy: str = "Always") -> Pod:
    pod = Pod()
    pod.metadata.name = name
    pod.metadata.namespace = "default"
    pod.spec.node_name = NODE
    pod.spec.restart_policy = restart_policy
    pod.spec.termination_grace_period_seconds = 1
    pod.spec.containers.add(name="main", image=BUSYBOX_IMAGE, command=command)
    return pod


def main(pod: Pod) -> ContainerStatus:
    """The status of its first container; an empty one before there is any."""
    return pod.status.container_statuses[0] if pod.status.container_statuses else ContainerStatus()


def is_running(pod: Pod) -> bool:
    return pod.status.phase == "Running"


def is_ready(pod: Pod) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)
