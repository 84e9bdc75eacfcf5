"""A server that vanishes without a word: no reset, no end of stream, only silence. Pings find out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator.api.v1 import ConfigMap, ObjectMeta
from orchestrator.client import Client, Informer, channel
from tests.integration.running import RunningServer


class Relay:
    """Passes bytes between clients and a server. `silence` stops passing them on connections that are open."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._gates: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        return len(self._gates)

    def silence(self) -> None:
        for gate in self._gates:
            gate.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gate = asyncio.Event()
        gate.set()
        self._gates.append(gate)
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass(source, sink, gate))
            self._tasks.add(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    await gate.wait()
                    sink.write(data)
                    await sink.drain()
        finally:
            sink.close()


@asynccontextmanager
async def relayed(api: RunningServer) -> AsyncIterator[tuple[Relay, Client]]:
    relay = Relay(api.address)
    address = await relay.start()
    async with Client.connect(dataclasses.replace(api.connection(), address=address)) as client:
        yield relay, client
    await relay.stop()


async def test_an_informer_leaves_a_dead_connection(api: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pings = ("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
    hurried = dict(channel._OPTIONS) | dict.fromkeys(pings, 400)
    monkeypatch.setattr(channel, "_OPTIONS", list(hurried.items()))
    async with relayed(api) as (relay, client), api.connect() as other, asyncio.timeout(20):
        informer = Informer(client, ConfigMap, namespace="default")
        task = asyncio.create_task(informer.run())
        await informer.synced()
        relay.silence()
        written = await other.create(ConfigMap(metadata=ObjectMeta(namespace="default", name="a")))
        await informer.reached(int(written.metadata.resource_version))
        assert informer.get("default", "a") == written
        assert relay.connections > 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
