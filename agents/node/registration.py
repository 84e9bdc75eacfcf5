"""Keeps this machine's Node object true, and proves with a Lease that the machine is alive.

The status is compared with what the API has whenever that changes, every ten seconds, and, as long as the runtime or
its network is not ready, several times a second: a node serves the moment it can. Only news are written, and a sign
of life in the status every five minutes. A runtime that is only being restarted costs the node nothing: its fault is
told when it has lasted longer than that takes, because with the node's readiness goes that of its pods, which run and
serve on. The Lease is renewed every ten seconds by a task of its own, so that nothing that is slow on this machine can
make it look dead.

An object that somebody deleted is made again. While the API is away, this waits and tries; nothing else depends on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import random
from collections.abc import Callable, Mapping

from agents.cri.client import CriClient
from agents.cri.errors import CriError
from agents.node.machine import Machine, Usage
from agents.node.node_status import (
    Identity,
    Runtime,
    allocatable,
    differs,
    is_ready,
    missing_labels,
    new_node,
    node_status,
)
from orchestrator.api import errors
from orchestrator.api.conventions import LEASE_NAMESPACE
from orchestrator.api.kinds import clone
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Lease, LeaseSpec, Node, NodeStatus, ObjectMeta, OwnerReference
from orchestrator.client import Client, Informer
from orchestrator.client.backoff import Backoff
from orchestrator.clock import Clock, within
from orchestrator.logs import fields
from orchestrator.paths import Paths

log = logging.getLogger("node.registration")

LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
LOOK_SECONDS = 10.0
# Nothing tells that the runtime or its network has become ready: until then it is asked often.
NOT_READY_LOOK_SECONDS = 0.2
REPORT_SECONDS = 300.0
# How long a ready node may have a runtime that isn't. Shorter than the lease, which a new agent takes up after it.
PATIENCE_SECONDS = 30.0


class Registration:
    """`allocatable` (quantities by resource) and `memory` (bytes) can be read at once; `run` does the rest."""

    def __init__(
        self,
        paths: Paths,
        node_name: str,
        client: Client,
        clock: Clock,
        runtime: CriClient,
        *,
        address: str,
        port: int,
        rng: random.Random | None = None,
    ) -> None:
        self._paths = paths
        self._client = client
        self._clock = clock
        self._cri = runtime
        self._rng = rng or random.Random()
        self._identity = Identity(node_name, address, port, agent_version())
        self._machine = Machine.read()
        self.memory = self._machine.memory
        self.allocatable: Mapping[str, str] = allocatable(self._machine, Usage.read(paths.node).disk.size)
        field_selector = f"metadata.name={node_name}"
        self.nodes = Informer(client, Node, field_selector=field_selector, clock=clock, rng=self._rng)
        self._changed = asyncio.Event()
        self._reported_at = float("-inf")
        self._runtime_well_at = clock.monotonic()
        self._fault = "never looked"

    async def run(self, registered: Callable[[], None]) -> None:
        """Calls `registered` once the Node object is there; returns when cancelled."""
        unsubscribe = self.nodes.subscribe(lambda old, new: self._changed.set())
        there = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.nodes.run(), name="watch own node")
                tasks.create_task(self._keep_lease(there), name="renew node lease")
                await self.nodes.synced()
                backoff = Backoff(self._rng, limit=LOOK_SECONDS)
                while True:
                    self._changed.clear()
                    try:
                        told, delay = await self._look()
                        backoff.reset()
                        if told and not there.is_set():
                            there.set()
                            registered()
                    except errors.ApiError as error:
                        log.info("node not reported", extra=fields(error=error.message))
                        delay = backoff.next()
                    with contextlib.suppress(TimeoutError):
                        await within(self._clock, delay, self._changed.wait())
        finally:
            unsubscribe()

    async def _look(self) -> tuple[bool, float]:
        """Bring the Node object up to date. Returns whether it is, and after how many seconds to look again."""
        runtime = await self._runtime()
        node = self.nodes.get("", self._identity.name)
        if not runtime.not_ready:
            self._runtime_well_at = self._clock.monotonic()
        elif (
            node is not None
            and is_ready(node.status)
            and self._clock.monotonic() - self._runtime_well_at < PATIENCE_SECONDS
        ):
            return False, NOT_READY_LOOK_SECONDS
        usage = Usage.read(self._paths.node)
        status = node_status(
            NodeStatus() if node is None else node.status,
            self._identity,
            self._machine,
            usage,
            runtime,
            self._clock.now(),
        )
        if node is None:
            await self._create(new_node(self._identity, self._machine, status))
        else:
            await self._update(node, status)
        if runtime.not_ready != self._fault:
            self._fault = runtime.not_ready
            log.info("node ready" if not self._fault else "node not ready", extra=fields(reason=self._fault))
        return True, NOT_READY_LOOK_SECONDS if self._fault else LOOK_SECONDS

    async def _create(self, node: Node) -> None:
        try:
            created = await self._client.create(node)
        except errors.AlreadyExists:
            await self.nodes.refresh()
            self._changed.set()
            return
        log.info("node registered", extra=fields(node=node.metadata.name, address=self._identity.address))
        await self._written(created)

    async def _update(self, node: Node, status: NodeStatus) -> None:
        missing = missing_labels(node, self._identity, self._machine)
        due = self._clock.monotonic() - self._reported_at >= REPORT_SECONDS
        try:
            if missing:
                labelled = {"metadata": {"labels": dict(missing), "uid": node.metadata.uid}}
                await self._client.patch(Node, node.metadata.name, labelled)
                # What comes of it wakes us again, and then the status follows.
                return
            if due or differs(node.status, status):
                wanted = clone(node)
                wanted.status.CopyFrom(status)
                await self._written(await self._client.update(wanted, subresource="status"))
        except (errors.Conflict, errors.NotFound):
            # Changed or deleted meanwhile: with a fresh view it is decided again.
            await self.nodes.refresh()
            self._changed.set()

    async def _written(self, node: Node) -> None:
        self._reported_at = self._clock.monotonic()
        await self.nodes.reached(int(node.metadata.resource_version))

    async def _runtime(self) -> Runtime:
        try:
            version = await self._cri.version()
            status = await self._cri.status()
            images = await self._cri.list_images()
        except CriError as error:
            return Runtime(fault=error.message)
        name = f"{version.runtime_name}://{version.runtime_version.removeprefix('v')}"
        return Runtime(name, status.status.conditions, images)

    async def _keep_lease(self, there: asyncio.Event) -> None:
        await there.wait()
        lease: Lease | None = None
        backoff = Backoff(self._rng, first=0.2, limit=RENEW_SECONDS)
        while True:
            try:
                lease = await within(self._clock, RENEW_SECONDS, self._renewed(lease))
                backoff.reset()
                delay = RENEW_SECONDS
            except (errors.ApiError, TimeoutError) as error:
                log.info("node lease not renewed", extra=fields(error=error))
                lease = None
                delay = backoff.next()
            await self._clock.sleep(delay)

    async def _renewed(self, lease: Lease | None) -> Lease:
        """`lease` is what the last renewal returned; None: look what there is."""
        name = self._identity.name
        if lease is None:
            try:
                lease = await self._client.get(Lease, name, LEASE_NAMESPACE)
            except errors.NotFound:
                return await self._client.create(self._new_lease())
        renewed = clone(lease)
        renewed.spec.holder_identity = name
        renewed.spec.lease_duration_seconds = LEASE_SECONDS
        renewed.spec.renew_time.CopyFrom(to_timestamp(self._clock.now()))
        return await self._client.update(renewed)

    def _new_lease(self) -> Lease:
        name = self._identity.name
        lease = Lease(
            metadata=ObjectMeta(name=name, namespace=LEASE_NAMESPACE),
            spec=LeaseSpec(
                holder_identity=name,
                lease_duration_seconds=LEASE_SECONDS,
                renew_time=to_timestamp(self._clock.now()),
            ),
        )
        node = self.nodes.get("", name)
        if node is not None:
            # With the node goes its lease.
            owner = OwnerReference(api_version="v1", kind="Node", name=name, uid=node.metadata.uid)
            lease.metadata.owner_references.append(owner)
        return lease


def agent_version() -> str:
    """As it stands in the node's status."""
    try:
        return f"v{importlib.metadata.version('navarch')}"
    except importlib.metadata.PackageNotFoundError:
        # Run from its source.
        return "v0.0.0-source"
