"""A real API server inside the test's own event loop: its own root, a free port, real gRPC with mutual TLS."""

from __future__ import annotations

import asyncio

from orchestrator import kubeconfig
from orchestrator.client import Client
from orchestrator.clock import Clock
from orchestrator.kubeconfig import Connection
from orchestrator.paths import Paths
from orchestrator.server.membership import StoreMember
from orchestrator.server.service import ApiServer
from orchestrator.store import ClusterStore


class RunningServer:
    """Starts and stops a server; a second start has the same files and the same port."""

    def __init__(
        self, paths: Paths, *, node_name: str = "n1", clock: Clock | None = None, member: StoreMember | None = None
    ) -> None:
        self.paths = paths
        self.node_name = node_name
        self.member = member
        self.address = ""
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._server: ApiServer | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def store(self) -> ClusterStore:
        """The store behind the server, for what no client can do to it."""
        assert self._server is not None
        assert self._server.store is not None
        return self._server.store

    async def start(self) -> None:
        """Return when the server is ready; raise what it failed with if it never is."""
        server = ApiServer(
            self.paths,
            listen=self.address or "127.0.0.1:0",
            node_name=self.node_name,
            addresses=[],
            store=self.member,
            clock=self._clock,
        )
        ready = asyncio.Event()
        self._task = asyncio.create_task(server.run(ready.set))
        waiter = asyncio.create_task(ready.wait())
        await asyncio.wait((self._task, waiter), return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if self._task.done():
            self._task.result()
        self.address = server.address
        self._server = server

    async def stop(self) -> None:
        """Stop as a service manager would, and wait until everything is closed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def ended(self) -> None:
        """Wait until the server ends by itself, and raise what it ended with."""
        assert self._task is not None
        await self._task

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def connection(self, name: str = "admin") -> Connection:
        return kubeconfig.load(self.paths.kubeconfig(name))

    def connect(self, name: str = "admin") -> Client:
        """A client under one of the cluster's identities."""
        return Client.connect(self.connection(name))
