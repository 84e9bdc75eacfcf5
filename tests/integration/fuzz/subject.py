"""The server under fuzz: both its doors, what it holds, and everything that it should not have said.

A record of level ERROR and an exception that reached the event loop are faults, whoever asked for what. What the store
holds is known by its revision, and now and then by its contents.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import grpc.aio

from orchestrator import kubeconfig
from orchestrator.paths import Paths
from orchestrator.server.service import ApiServer
from tests.integration.fuzz.raw_http import HttpReply, RawConnection

PATIENCE = 10.0
"""Seconds in which any single request must have been answered, on a machine that has other things to do."""


Stream: TypeAlias = grpc.aio.UnaryStreamCall[bytes, bytes] | grpc.aio.StreamStreamCall[bytes, bytes]


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.name}: {record.getMessage()}"
        if record.exc_info is not None and record.exc_info[1] is not None:
            text += f": {logging.Formatter().formatException(record.exc_info)[-1500:]}"
        self.seen.append(text)


class Subject:
    """One running server."""

    def __init__(self, server: ApiServer, paths: Paths, complaints: list[str]) -> None:
        self.server = server
        self.paths = paths
        self._complaints = complaints
        self._connection: RawConnection | None = None
        ours = kubeconfig.load(paths.kubeconfig("admin"))
        credentials = grpc.ssl_channel_credentials(ours.ca, ours.key, ours.certificate)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_metadata_size", 1 << 20)]
        self.channel = grpc.aio.secure_channel(ours.address, credentials, options=options)
        self.context = tls(paths, "admin")

    @property
    def port(self) -> int:
        return self.server.rest_port

    @property
    def revision(self) -> int:
        assert self.server.store is not None
        return self.server.store.status().revision

    async def contents(self) -> str:
        """A digest of all that is stored."""
        assert self.server.store is not None
        digest = hashlib.sha256()
        for each in (await self.server.store.range("/")).items:
            digest.update(each.key.encode() + b"\0" + each.value + b"\0" + str(each.mod_revision).encode())
        return digest.hexdigest()

    def complaints(self) -> list[str]:
        """What has been logged as an error, or has reached the event loop, since the last time."""
        found = list(self._complaints)
        self._complaints.clear()
        return found

    async def connect(self, identity: str = "admin") -> RawConnection:
        """A connection of its own to the REST door."""
        context = self.context if identity == "admin" else tls(self.paths, identity)
        return await RawConnection.open(self.port, context)

    async def rest(
        self, raw: bytes, *, head_only: bool = False, alone: bool = False, patience: float = PATIENCE
    ) -> HttpReply | None:
        """The answer to these bytes; None when the connection was closed without one.

        The connection is kept for the next, unless the bytes are to be `alone`.
        """
        async with asyncio.timeout(patience):
            if self._connection is None:
                self._connection = await self.connect()
            connection, self._connection = self._connection, None
            kept = False
            try:
                reply = await connection.exchange(raw, head_only=head_only)
                kept = reply is not None and not reply.last and not alone
            finally:
                if kept:
                    self._connection = connection
                else:
                    connection.abort()
            return reply

    async def call(self, method: str, raw: bytes, *, timeout: float = PATIENCE) -> bytes | grpc.aio.AioRpcError:
        """The reply of one call, the first event of a watch, or the error."""
        path = f"/navarch.v1.{method}"
        try:
            match method:
                case "Resources/Watch" | "PodStreams/Logs":
                    stream: Stream = self.channel.unary_stream(path, bytes, bytes)(raw, timeout=timeout)
                case "PodStreams/Exec":
                    stream = self.channel.stream_stream(path, bytes, bytes)(iter([raw]), timeout=timeout)
                case _:
                    reply: bytes = await self.channel.unary_unary(path, bytes, bytes)(raw, timeout=timeout)
                    return reply
            try:
                first = await asyncio.wait_for(stream.read(), 0.05)
            except TimeoutError:
                return b""
            finally:
                stream.cancel()
            return first if isinstance(first, bytes) else b""
        except grpc.aio.AioRpcError as error:
            return error

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        await self.channel.close(None)


def tls(paths: Paths, identity: str = "") -> ssl.SSLContext:
    """A client's TLS, with the certificate of one of the cluster's identities or with none."""
    context = ssl.create_default_context(cafile=paths.pki / "ca.crt")
    if identity:
        context.load_cert_chain(paths.pki / f"{identity}.crt", paths.pki / f"{identity}.key")
    return context


def resident_bytes() -> int:
    """The memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def serving(root: Path, seed: int = 0) -> AsyncIterator[Subject]:
    """A server with both doors, and its random choices those of the seed."""
    paths = Paths(root)
    server = ApiServer(
        paths, listen="127.0.0.1:0", rest_listen="127.0.0.1:0", node_name="n1", rng=random.Random(f"server/{seed}")
    )
    handler = _Errors()
    loop = asyncio.get_running_loop()

    def unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        handler.seen.append(f"event loop: {context.get('message')}: {context.get('exception')!r}")

    loop.set_exception_handler(unhandled)
    logging.getLogger().addHandler(handler)
    ready = asyncio.Event()
    running = asyncio.create_task(server.run(ready.set))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        subject = Subject(server, paths, handler.seen)
        try:
            yield subject
        finally:
            await subject.close()
    finally:
        waiting.cancel()
        running.cancel()
        await asyncio.wait((running,))
        logging.getLogger().removeHandler(handler)
        loop.set_exception_handler(None)
