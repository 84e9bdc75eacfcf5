"""The node agent: everything that runs on a node for the cluster's sake, as one service.

It registers the node and keeps its lease (`registration.py`), runs the pods that the API gives it (`manager.py` and
below), and serves their logs and commands (`streams.py`). It has no state of its own: it can be killed at any moment
and started again, and no container notices.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.containerd import cgroup_parent, uses_systemd_cgroups
from agents.cri.errors import CriError
from agents.cri.images import ensure_image, pause_image
from agents.node.api_sources import ApiSources
from agents.node.dns import Dns
from agents.node.image_supply import ImageSupply
from agents.node.manager import PodManager
from agents.node.operations import Node
from agents.node.registration import Registration
from agents.node.streams import Streams
from agents.node.volumes import Volumes
from orchestrator.api.v1 import Pod, Service
from orchestrator.client import Client, Informer
from orchestrator.client.backoff import Backoff
from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.paths import Paths
from orchestrator.runtime.events import EventRecorder

log = logging.getLogger("node")

COMPONENT = "navarch-node"


class NodeAgent:
    """A service. `address` is the node's own, `port` that of its streams, `runtime_socket` containerd's."""

    name = "node"

    def __init__(
        self,
        paths: Paths,
        node_name: str,
        client: Client,
        clock: Clock,
        *,
        address: str,
        port: int,
        runtime_socket: Path,
    ) -> None:
        self._paths = paths
        self._node_name = node_name
        self._client = client
        self._clock = clock
        self._address = address
        self._port = port
        self._runtime_socket = runtime_socket
        self._rng = random.Random()
        # For those who look inside: the pods' manager, once it runs.
        self.manager: PodManager | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Until cancelled. Ready: the node is registered, its pods have been adopted, logs are served."""
        async with CriClient(self._runtime_socket) as runtime:
            registration = Registration(
                self._paths,
                self._node_name,
                self._client,
                self._clock,
                runtime,
                address=self._address,
                port=self._port,
            )
            pods = Informer(
                self._client, Pod, field_selector=f"spec.nodeName={self._node_name}", clock=self._clock, rng=self._rng
            )
            services = Informer(self._client, Service, clock=self._clock, rng=self._rng)
            recorder = EventRecorder(self._client, COMPONENT, self._clock, self._rng, host=self._node_name)
            images = ImageSupply(runtime, self._clock)
            streams = Streams(self._paths, runtime, pods.get, self._clock, listen=f"0.0.0.0:{self._port}")
            begun = _Countdown(3, ready)

            def labels() -> Mapping[str, str]:
                own = registration.nodes.get("", self._node_name)
                return own.metadata.labels if own is not None else {}

            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(recorder.run())
                    tasks.create_task(services.run())
                    tasks.create_task(registration.run(begun.one))
                    tasks.create_task(streams.run(begun.one))
                    node = await self._node(runtime, registration, services, images)
                    self.manager = PodManager(node, self._client, pods, recorder, self._rng, labels)
                    await self.manager.run(begun.one)
            finally:
                await images.close()

    async def _node(
        self, runtime: CriClient, registration: Registration, services: Informer[Service], images: ImageSupply
    ) -> Node:
        """What pods need of the node, once the runtime answers."""
        systemd = await self._runtime_ready(runtime)
        sources = ApiSources(self._client, self._clock, services)
        return Node(
            name=self._node_name,
            paths=self._paths,
            runtime=runtime,
            clock=self._clock,
            sources=sources,
            volumes=Volumes(self._paths, sources),
            images=images,
            dns=await asyncio.to_thread(Dns.of_node),
            cgroup_parent=cgroup_parent(systemd=systemd),
            host_ips=(self._address,),
            allocatable=registration.allocatable,
            memory=registration.memory,
            sandbox_slots=asyncio.Semaphore(2 * (os.cpu_count() or 1)),
        )

    async def _runtime_ready(self, runtime: CriClient) -> bool:
        """Waits for the runtime, with the image every sandbox needs; returns whether it leaves cgroups to systemd."""
        backoff = Backoff(self._rng, limit=2.0)
        while True:
            try:
                await ensure_image(runtime, pause_image())
                return await uses_systemd_cgroups(runtime)
            except CriError as error:
                log.info("waiting for the container runtime", extra=fields(error=error.message))
                await self._clock.sleep(backoff.next())


class _Countdown:
    """Calls when it has been told so many times."""

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self._left = count
        self._then = then

    def one(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._then()
