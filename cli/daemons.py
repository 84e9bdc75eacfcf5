"""How each daemon is put together from the settings of a machine: the one place that knows all of them.

A daemon's modules are imported when it is built: a process pays for what it hosts, and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import kubeconfig
from orchestrator.client import Client
from orchestrator.clock import Clock
from orchestrator.paths import Paths
from orchestrator.pki import ensure_pki
from orchestrator.runtime import Elected, LeaderElection, Service

SERVER_PORT = 7443
STORE_PORT = 7444
NODE_PORT = 7450
REST_PORT = kubeconfig.REST_PORT
HEALTH_PORTS = {"server": 7446, "scheduler": 7447, "controllers": 7448, "node": 7451, "proxy": 7452, "network": 7453}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the daemons of one machine have to know."""

    paths: Paths
    node_name: str
    node_address: str
    listen: str = f"0.0.0.0:{SERVER_PORT}"
    rest_listen: str = f"0.0.0.0:{REST_PORT}"  # empty: nowhere
    node_port: int = NODE_PORT
    containerd_socket: Path | None = None  # None: our own
    store_listen: str = f"0.0.0.0:{STORE_PORT}"
    store_address: str = ""  # empty: the node's address, with the port of store_listen
    store_members: Mapping[str, str] = field(default_factory=dict)
    store_join: bool = False

    @property
    def runtime_socket(self) -> Path:
        return self.containerd_socket or self.paths.containerd_socket

    @property
    def cni_directory(self) -> Path:
        """Where the runtime looks for its network configuration: the machine's own runtime, at the usual place."""
        return self.paths.cni_conf if self.containerd_socket is None else Path("/etc/cni/net.d")


Connect = Callable[[str], Awaitable[Client]]
Builder = Callable[[Settings, Connect, Clock], Awaitable[Service]]


def make_credentials(settings: Settings) -> None:
    """The cluster's certificates and a kubeconfig for each role, as far as they are missing. Raises PkiError."""
    ensure_pki(settings.paths, node_name=settings.node_name, addresses=[settings.node_address])
    host, _, port = settings.listen.rpartition(":")
    own = f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    rest_port = int(settings.rest_listen.rpartition(":")[2] or REST_PORT)
    kubeconfig.write_all(settings.paths, kubeconfig.with_known_servers(settings.paths, own), rest_port=rest_port)


def services(
    names: Sequence[str], settings: Settings, clock: Clock
) -> Callable[[], AbstractAsyncContextManager[Sequence[Service]]]:
    """An async context that builds the named daemons, and closes their connections afterwards.

    Raises KubeconfigError when the server that makes the credentials has not run yet.
    """

    @asynccontextmanager
    async def opened() -> AsyncIterator[Sequence[Service]]:
        if "server" in names:
            make_credentials(settings)
        async with AsyncExitStack() as stack:

            async def connect(identity: str) -> Client:
                connection = kubeconfig.load(settings.paths.kubeconfig(identity))
                return await stack.enter_async_context(Client.connect(connection))

            yield [await BUILDERS[name](settings, connect, clock) for name in names]

    return opened


async def _server(settings: Settings, connect: Connect, clock: Clock) -> Service:
    from orchestrator.server.membership import StoreMember
    from orchestrator.server.service import ApiServer

    port = settings.store_listen.rpartition(":")[2]
    store = StoreMember(
        settings.node_name,
        listen=settings.store_listen,
        address=settings.store_members.get(settings.node_name)
        or settings.store_address
        or f"{settings.node_address}:{port}",
        initial=settings.store_members,
        join=settings.store_join,
    )
    return ApiServer(
        settings.paths,
        listen=settings.listen,
        rest_listen=settings.rest_listen,
        node_name=settings.node_name,
        addresses=[settings.node_address],
        store=store,
        clock=clock,
    )


async def _scheduler(settings: Settings, connect: Connect, clock: Clock) -> Service:
    from orchestrator.scheduler import Scheduler

    client = await connect("scheduler")
    return _elected("scheduler", "navarch-scheduler", [Scheduler(client, clock)], client, settings, clock)


async def _controllers(settings: Settings, connect: Connect, clock: Clock) -> Service:
    from orchestrator.controllers import controllers

    client = await connect("controllers")
    return _elected("controllers", "navarch-controllers", controllers(client, clock), client, settings, clock)


def _elected(
    name: str, lease: str, members: Sequence[Service], client: Client, settings: Settings, clock: Clock
) -> Service:
    # One process of a kind runs on a node (its health port sees to it), so the node's name tells candidates apart, and
    # one that was killed takes its lease up again at once instead of waiting for it to run out.
    election = LeaderElection(client, lease, settings.node_name, clock)
    return Elected(name, members, election, clock, random.Random())


async def _node(settings: Settings, connect: Connect, clock: Clock) -> Service:
    from agents.node.agent import NodeAgent

    return NodeAgent(
        settings.paths,
        settings.node_name,
        await connect("node"),
        clock,
        address=settings.node_address,
        port=settings.node_port,
        runtime_socket=settings.runtime_socket,
    )


async def _network(settings: Settings, connect: Connect, clock: Clock) -> Service:
    from agents.network.agent import NetworkAgent

    return NetworkAgent(
        settings.paths, settings.node_name, await connect("network"), clock, cni_directory=settings.cni_directory
    )


async def _proxy(settings: Settings, connect: Connect, clock: Clock) -> Service:
    from agents.proxy.proxy import Proxy

    return Proxy(settings.node_name, await connect("proxy"), clock)


# The order is that of the start: what others rely on comes first, and ends last.
BUILDERS: Mapping[str, Builder] = {
    "server": _server,
    "scheduler": _scheduler,
    "controllers": _controllers,
    "network": _network,
    "proxy": _proxy,
    "node": _node,
}
