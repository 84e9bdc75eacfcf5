"""Several real API servers of one cluster in the test's own event loop: each with its root, all of one authority."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator import kubeconfig
from orchestrator.client import Client
from orchestrator.kubeconfig import Connection
from orchestrator.paths import Paths
from orchestrator.pki import ensure_pki
from orchestrator.server.membership import StoreMember
from orchestrator.store import Timing
from tests.integration.running import RunningServer

NAMES = ("n1", "n2", "n3")
TIMING = Timing(heartbeat=0.1, election=0.8, patience=10.0)


class Fleet:
    """`servers` by name. The first makes the authority; the others are given it, as a person would."""

    def __init__(self, directory: Path, names: Sequence[str] = NAMES) -> None:
        self.directory = directory
        self.peers = dict(zip(names, (f"127.0.0.1:{port}" for port in free_ports(len(names))), strict=True))
        self.servers = {
            name: RunningServer(
                self.paths(name),
                node_name=name,
                member=StoreMember(
                    name, listen=self.peers[name], address=self.peers[name], initial=self.peers, timing=TIMING
                ),
            )
            for name in names
        }
        for name in names:
            self.give_authority(name)

    def paths(self, name: str) -> Paths:
        return Paths(self.directory / name)

    def give_authority(self, name: str) -> None:
        """What `scp ca.crt ca.key` does."""
        first, here = self.paths(NAMES[0]), self.paths(name)
        if not (first.pki / "ca.crt").exists():
            ensure_pki(first, node_name=NAMES[0], addresses=[])
        here.pki.mkdir(parents=True, exist_ok=True)
        if here != first:
            for file in ("ca.crt", "ca.key"):
                shutil.copy(first.pki / file, here.pki / file)

    def joining(self, name: str) -> RunningServer:
        """One more, which waits to be added."""
        (port,) = free_ports(1)
        self.peers[name] = f"127.0.0.1:{port}"
        self.give_authority(name)
        member = StoreMember(name, listen=self.peers[name], address=self.peers[name], join=True, timing=TIMING)
        self.servers[name] = RunningServer(self.paths(name), node_name=name, member=member)
        return self.servers[name]

    async def start(self) -> None:
        await asyncio.gather(*(server.start() for server in self.servers.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(server.stop() for server in self.servers.values()))

    async def leader(self) -> str:
        """The name of the server whose store leads, as soon as one does."""
        while True:
            for name, server in self.servers.items():
                if server.running and server.store.status().is_leader:
                    return name
            await asyncio.sleep(0.02)

    def connection(self, identity: str = "admin") -> Connection:
        """To all servers at once."""
        one = kubeconfig.load(self.paths(NAMES[0]).kubeconfig(identity))
        return replace(one, address=",".join(server.address for server in self.servers.values()))

    def connect(self, identity: str = "admin") -> Client:
        return Client.connect(self.connection(identity))


def free_ports(count: int) -> list[int]:
    """Ports that nothing listened on a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


async def until(reached: Callable[[], bool]) -> None:
    """Look again and again; for what no event tells."""
    while True:
        if reached():
            return
        await asyncio.sleep(0.01)
