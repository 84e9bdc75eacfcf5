"""The API server as a service: what it is made of, in which order it starts, and how it stops.

On its first start it makes the cluster's certificates, a kubeconfig for each role and the default namespaces. It may be
one of several servers of a cluster: each has a member of the store in it, all answer alike, and what is to be made once
is made by whoever comes first. It is ready when it serves. On the way out it says so (health NOT_SERVING), ends the
watches so that they are resumed, lets running calls finish, and closes the store last.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from prometheus_client import REGISTRY

from orchestrator import kubeconfig
from orchestrator.clock import Clock, SystemClock
from orchestrator.fatal import Fatal
from orchestrator.logs import fields
from orchestrator.paths import Paths
from orchestrator.pki import ensure_pki
from orchestrator.server import grpc_door, streams
from orchestrator.server.allocation import Allocator
from orchestrator.server.allocation_follower import AllocationFollower
from orchestrator.server.bootstrap import ensure_namespaces, heal_allocations
from orchestrator.server.condition import Condition, trouble
from orchestrator.server.directory import ServerDirectory, advertised
from orchestrator.server.event_leases import EventLeases
from orchestrator.server.listing import Collections
from orchestrator.server.membership import StoreMember, open_member
from orchestrator.server.registry import Registry
from orchestrator.server.store_metrics import StoreCollector
from orchestrator.server.turnstile import Turnstile
from orchestrator.server.watching import WatchHub
from orchestrator.store import ClusterStore, Store
from orchestrator.store.admin_door import admin_handler
from orchestrator.store.key_value_door import key_value_handler
from orchestrator.store.memory import spared_from_collection
from orchestrator.store.open import open_store

log = logging.getLogger("server")

DRAIN_SECONDS = 5.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_EVERYWHERE = {"0.0.0.0", "[::]", "::", ""}


class ApiServer:
    """Serves the API on `listen` until `run` is cancelled.

    While it runs, `address` is where clients on this machine reach it and `store` is what it serves from. Without a
    `store` to be a member of, it has one of its own that nobody can join. If `rest_listen` is given, the Kubernetes API
    is served there over HTTP too; `rest_port` is its port.
    """

    name = "server"

    def __init__(
        self,
        paths: Paths,
        *,
        listen: str = "0.0.0.0:7443",
        node_name: str,
        addresses: Sequence[str] = (),
        rest_listen: str = "",
        store: StoreMember | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.paths = paths
        self.address = ""
        self.store: ClusterStore | None = None
        self.rest_port = 0
        self._listen = listen
        self._rest_listen = rest_listen
        self._node_name = node_name
        self._addresses = tuple(addresses)
        self._member = store
        self._clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()

    async def run(self, ready: Callable[[], None]) -> None:
        """Start, call `ready`, serve until cancelled. Raises PkiError, StoreError, OSError (a port is taken)."""
        ensure_pki(self.paths, node_name=self._node_name, addresses=self._addresses)
        if self._member is None:
            store = await open_store(self.paths.store, clock=self._clock)
        else:
            store = await open_member(self.paths, self._member, self._clock)
        try:
            await store.wait_ready()
            self.store = store
            with spared_from_collection():
                await self._serve(store, ready)
        finally:
            self.store = None
            await store.close()

    def problem(self) -> str:
        """What keeps it from serving now although it runs; empty: nothing."""
        return trouble(self.store.status()) if self.store is not None else ""

    async def _serve(self, store: ClusterStore, ready: Callable[[], None]) -> None:
        allocator = Allocator(self._rng)
        event_leases = EventLeases(store, self._clock)
        registry = Registry(store, allocator, event_leases, self._clock, self._rng)
        await heal_allocations(store)
        allocations = AllocationFollower(store, allocator, self._clock)
        await allocations.load()
        await ensure_namespaces(registry)
        hub = WatchHub(store, self._clock)
        connections = streams.NodeConnections(self._client_credentials())
        server = grpc.aio.server(
            options=grpc_door.OPTIONS, interceptors=(Turnstile(),), maximum_concurrent_rpcs=grpc_door.MAX_CALLS
        )
        collections = Collections(store, hub)
        pod_streams = streams.PodStreams(store, connections)
        server.add_generic_rpc_handlers(
            (
                grpc_door.resources_handler(registry, collections),
                pod_streams.handler(),
                key_value_handler(store, authorize=grpc_door.masters_only, read_only=True),
                admin_handler(store, authorize=grpc_door.masters_only),
            )
        )
        services = (grpc_door.SERVICE, streams.SERVICE)
        health_service = await _add_standard_services(server, services)

        async def turned(problem: str) -> None:
            if problem:
                hub.suspend(f"{problem}: resume the watch elsewhere")
            else:
                hub.resume()
            for name in services:
                await health_service.set(name, _NOT_SERVING if problem else _SERVING)

        self._bind(server)
        numbers = StoreCollector(store)
        REGISTRY.register(numbers)
        try:
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
                if self._rest_listen:
                    # Only who serves it pays for it.
                    from orchestrator.server.rest.service import serving

                    rest = serving(
                        self._rest_listen,
                        self.paths,
                        registry,
                        collections,
                        pod_streams,
                        self.problem,
                        self._clock,
                        self._rng,
                    )
                    self.rest_port = await stack.enter_async_context(rest)
                directory = self._directory(store)
                if directory is None:
                    self._write_kubeconfigs(self.address)
                else:
                    await directory.announce()
                await server.start()
                log.info("serving", extra=fields(address=self.address, revision=store.status().revision))
                tasks.create_task(hub.run())
                tasks.create_task(allocations.run())
                tasks.create_task(Condition(store, self._clock, turned).run())
                tasks.create_task(event_leases.adopt())
                tasks.create_task(_stop_when_failed(store))
                if directory is not None:
                    tasks.create_task(directory.run())
                ready()
        finally:
            REGISTRY.unregister(numbers)
            await health_service.enter_graceful_shutdown()
            hub.close()
            await connections.close()
            await server.stop(DRAIN_SECONDS)

    def _directory(self, store: ClusterStore) -> ServerDirectory | None:
        """The other servers, where there may be some."""
        if self._member is None:
            return None
        return ServerDirectory(
            store,
            self._clock,
            name=self._member.name,
            address=advertised(self._addresses, self.address),
            local=self.address,
            found=self._write_kubeconfigs,
        )

    def _write_kubeconfigs(self, addresses: str) -> None:
        kubeconfig.write_all(self.paths, addresses, rest_port=self.rest_port or kubeconfig.REST_PORT)

    def _bind(self, server: grpc.aio.Server) -> None:
        pki = self.paths.pki
        credentials = grpc.ssl_server_credentials(
            [((pki / "server.key").read_bytes(), (pki / "server.crt").read_bytes())],
            root_certificates=(pki / "ca.crt").read_bytes(),
            require_client_auth=True,
        )
        try:
            port = server.add_secure_port(self._listen, credentials)
        except RuntimeError as error:
            raise OSError(f"can't listen on {self._listen}: {error}") from error
        host = self._listen.rpartition(":")[0]
        self.address = f"{'127.0.0.1' if host in _EVERYWHERE else host}:{port}"

    def _client_credentials(self) -> grpc.ChannelCredentials:
        pki = self.paths.pki
        return grpc.ssl_channel_credentials(
            root_certificates=(pki / "ca.crt").read_bytes(),
            private_key=(pki / "server.key").read_bytes(),
            certificate_chain=(pki / "server.crt").read_bytes(),
        )


async def _add_standard_services(server: grpc.aio.Server, services: Sequence[str]) -> HealthServicer:
    """Health and reflection, as every gRPC tool expects them. Returns the health, which is SERVING."""
    condition = HealthServicer()
    for name in services:
        await condition.set(name, _SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(condition, server)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return condition


async def _stop_when_failed(store: Store) -> None:
    """End the process once its store has failed for good: after a failed fsync nothing it holds is to be trusted."""
    reason = await store.wait_failed()
    raise Fatal(f"the store has failed: {reason}")
