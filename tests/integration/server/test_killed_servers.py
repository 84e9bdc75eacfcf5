"""Three API servers as processes, and kill -9: no acknowledged write is lost, clients go elsewhere, health tells."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.store_session import store_client
from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, Namespace
from orchestrator.client import Client, Informer
from orchestrator.kubeconfig import Connection
from orchestrator.pki import ensure_pki
from tests.integration.fleet import NAMES, Fleet, free_ports
from tests.integration.server.objects import config_map
from tests.integration.server.test_three_servers import name_of, write, written

REPOSITORY = Path(__file__).parents[3]
PATIENCE = 60.0


class Processes:
    """`navarch server` three times, as on three machines."""

    def __init__(self, directory: Path) -> None:
        self.fleet = Fleet(directory)
        for name in NAMES:
            ensure_pki(self.fleet.paths(name), node_name=name, addresses=["127.0.0.1"])
        self.ports = dict(zip(NAMES, free_ports(3), strict=True))
        self.health = dict(zip(NAMES, free_ports(3), strict=True))
        self.running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str) -> None:
        paths = self.fleet.paths(name)
        paths.log.mkdir(parents=True, exist_ok=True)
        members = ",".join(f"{each}={address}" for each, address in self.fleet.peers.items())
        with (paths.log / "server.log").open("ab") as log:
            self.running[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "cli.navarch", "server", f"--root={paths.root}", f"--node-name={name}"),
                *("--node-address=127.0.0.1", f"--listen=127.0.0.1:{self.ports[name]}", "--rest-listen="),
                *(f"--store-listen={self.fleet.peers[name]}", f"--store-members={members}"),
                f"--health-address=127.0.0.1:{self.health[name]}",
                cwd=REPOSITORY,
                stderr=log,
            )

    async def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            await process.wait()

    def connection(self) -> Connection:
        pki = self.fleet.paths(NAMES[0]).pki
        authority, certificate, key = ((pki / file).read_bytes() for file in ("ca.crt", "admin.crt", "admin.key"))
        address = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())
        return Connection(address, authority, certificate, key, "default")

    async def leader(self) -> str:
        async with store_client(self.connection()) as client:
            return (await client.status()).leader

    async def turned(self, name: str, code: int) -> str:
        """Wait until /readyz answers with that code; what it says."""
        while True:
            found, text = await self.asked(name, "/readyz?verbose")
            if found == code:
                return text
            await asyncio.sleep(0.1)

    async def asked(self, name: str, path: str) -> tuple[int, str]:
        """What the health endpoint says."""

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.health[name]}{path}", timeout=5) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(ask)


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    processes = Processes(tmp_path)
    try:
        for name in NAMES:
            await processes.start(name)
        async with asyncio.timeout(PATIENCE), Client.connect(processes.connection()) as client:
            await client.connected()
        yield processes
    finally:
        await processes.stop()


async def test_killed_under_load(processes: Processes) -> None:
    acknowledged: dict[str, str] = {}
    stop = asyncio.Event()
    async with Client.connect(processes.connection()) as client, Client.connect(processes.connection()) as watching:
        informer = Informer(watching, ConfigMap, namespace="default", rng=random.Random(1))
        following = asyncio.create_task(informer.run())
        writers = [asyncio.create_task(write(client, f"w{n}", acknowledged, stop)) for n in range(4)]
        await written(acknowledged, 40)
        for victim in ("leader", "follower", "leader"):
            leader = await processes.leader()
            name = leader if victim == "leader" else next(each for each in processes.running if each != leader)
            await processes.kill(name)
            await written(acknowledged, 40)
            await processes.start(name)
            await written(acknowledged, 10)
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*writers)
            last = await client.create(config_map("last", n="0"))
            await informer.reached(int(last.metadata.resource_version))
        listed = (await client.list(ConfigMap, namespace="default")).items
        stored = {each.metadata.name: int(each.data["n"]) for each in listed}
        assert not {name: number for name, number in acknowledged.items() if stored.get(name, -1) < int(number)}
        assert sorted(informer.list(), key=name_of) == sorted(listed, key=name_of)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_one_left_of_three_says_that_it_cannot_serve(processes: Processes) -> None:
    async with asyncio.timeout(PATIENCE):
        for name in NAMES:
            await processes.turned(name, 200)
    code, numbers = await processes.asked("n1", "/metrics")
    assert code == 200
    assert 'navarch_store_has_leader{member="n1"} 1.0' in numbers
    assert 'navarch_store_fsync_seconds_count{member="n1"}' in numbers
    await processes.kill("n2")
    await processes.kill("n3")
    async with Client.connect(processes.connection(), timeout=5) as client, asyncio.timeout(PATIENCE):
        assert "the store has no leader" in await processes.turned("n1", 503)
        assert (await processes.asked("n1", "/healthz"))[0] == 200
        assert 'navarch_store_has_leader{member="n1"} 0.0' in (await processes.asked("n1", "/metrics"))[1]
        said = ""
        while "none of the API servers" not in said:
            with pytest.raises((errors.ServiceUnavailable, errors.Timeout)) as refused:
                await client.list(Namespace)
            said = str(refused.value)
        await processes.start("n2")
        await processes.turned("n1", 200)
        await client.connected()
        assert len((await client.list(Namespace)).items) == 4
