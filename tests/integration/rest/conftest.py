"""A running server with the REST door, and what tests ask it with."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.paths import Paths
from orchestrator.server.service import ApiServer


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Rest:
    """Asks one server over HTTPS, as the cluster's administrator."""

    def __init__(self, paths: Paths, port: int) -> None:
        self.paths = paths
        self.port = port
        self.url = f"https://127.0.0.1:{port}"
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls("admin")))

    def tls(self, identity: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.paths.pki / "ca.crt")
        if identity:
            context.load_cert_chain(self.paths.pki / f"{identity}.crt", self.paths.pki / f"{identity}.key")
        return context

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request; a body that is no bytes is sent as JSON. Header names have underscores."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        async with self._session.request(method, self.url + path, data=data, headers=given) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.ask("GET", path, **headers)

    @property
    def session(self) -> aiohttp.ClientSession:
        return self._session

    @property
    def kubeconfig(self) -> Path:
        return self.paths.kubeconfig("admin")

    async def close(self) -> None:
        await self._session.close()


@pytest.fixture
async def rest(tmp_path: Path) -> AsyncIterator[Rest]:
    paths = Paths(tmp_path)
    server = ApiServer(paths, listen="127.0.0.1:0", rest_listen="127.0.0.1:0", node_name="n1")
    ready = asyncio.Event()
    running = asyncio.create_task(server.run(ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        running.result()
    asking = Rest(paths, server.rest_port)
    yield asking
    await asking.close()
    running.cancel()
    await asyncio.wait((running,))
