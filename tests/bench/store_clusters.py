"""Clusters of member processes for the store's benchmark: ours and etcd's, started and asked alike.

Both have mutual TLS with certificates of one authority on all their sockets, their defaults otherwise, and the same
disk under them. Requests are bytes that were made beforehand, so that a client's work is the same for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.resources
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_tools import protoc  # type: ignore[import-untyped]

from orchestrator.pki import store_host
from orchestrator.store import Put
from orchestrator.store.store_client import ClientCredentials, Endpoint, StoreClient
from orchestrator.store.v1 import store_pb2 as pb
from tests.integration.store.certificates import Authority

HOST = "127.0.0.1"
ETCD = "etcd"
NAMES = ("a", "b", "c")
PREFIX = "/bench/"
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.max_receive_message_length", -1),
)
_PATIENCE = 30.0


class Call(Protocol):
    """A unary call of bytes."""

    async def __call__(self, request: bytes, *, timeout: float | None = None) -> bytes: ...


class WatchStream(Protocol):
    """A watch that stands."""

    async def read(self) -> object: ...

    def cancel(self) -> bool: ...


class Caller(ABC):
    """A client: it puts and gets."""

    @abstractmethod
    async def put(self, key: str, value: bytes) -> None: ...

    @abstractmethod
    async def get(self, key: str) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...


class UnaryCaller(Caller):
    """One gRPC call for each, of bytes that nobody reads."""

    def __init__(self, cluster: Cluster, channel: grpc.aio.Channel) -> None:
        self._cluster, self._channel = cluster, channel
        self._put, self._get = unary(channel, cluster.put_path), unary(channel, cluster.get_path)

    async def put(self, key: str, value: bytes) -> None:
        await self._put(self._cluster.put_request(key, value))

    async def get(self, key: str) -> None:
        await self._get(self._cluster.get_request(key))

    async def close(self) -> None:
        await self._channel.close(None)


class StreamCaller(Caller):
    """The store's client, whose calls share a stream."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def put(self, key: str, value: bytes) -> None:
        await self._client.txn((), (Put(key, value),))

    async def get(self, key: str) -> None:
        await self._client.get(key)

    async def close(self) -> None:
        await self._client.close()


class Cluster(ABC):
    """One, two or three member processes of one store."""

    name: str
    put_path: str
    get_path: str
    """A unary call of each."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.members = NAMES[:size]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.doors = {name: _free_port() for name in self.members}
        self.peers = {name: _free_port() for name in self.members}
        authority = Authority()
        self.credentials = {name: authority.member(name, addresses=[HOST]) for name in self.members}
        for name, credentials in self.credentials.items():
            self._write(f"{name}.pem", credentials.certificate)
            self._write(f"{name}.key", credentials.key)
            self._write("authority.pem", credentials.authority)

    def _write(self, name: str, content: bytes) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)

    # Processes.

    @abstractmethod
    def command(self, member: str) -> Sequence[str]: ...

    def start(self, member: str) -> None:
        with (self.directory / f"{member}.log").open("ab") as output:
            self.processes[member] = subprocess.Popen(self.command(member), stdout=output, stderr=output)

    async def start_all(self) -> None:
        for member in self.members:
            self.start(member)
        for member in self.members:
            await self.answers(member)

    def kill(self, member: str) -> None:
        process = self.processes.pop(member)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def resident(self, member: str) -> float:
        """In MB."""
        for line in Path(f"/proc/{self.processes[member].pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("a process without resident memory")

    # Asking.

    @abstractmethod
    def caller(self, member: str) -> Caller:
        """The store's own client of one member, for many calls at once."""

    def unary_caller(self, member: str) -> Caller:
        """A client that makes each call by itself."""
        return UnaryCaller(self, self.channel(member))

    def channel(self, member: str) -> grpc.aio.Channel:
        credentials = self.credentials[member]
        tls = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", store_host(member)))
        return grpc.aio.secure_channel(f"{HOST}:{self.doors[member]}", tls, options=options)

    async def answers(self, member: str) -> None:
        """Return when the member has answered a linearizable read."""
        give_up = time.monotonic() + _PATIENCE
        async with self.channel(member) as channel:
            get = unary(channel, self.get_path)
            while True:
                try:
                    await get(self.get_request("/nothing"), timeout=1.0)
                    return
                except grpc.aio.AioRpcError as error:
                    if time.monotonic() > give_up or self.processes[member].poll() is not None:
                        log = (self.directory / f"{member}.log").read_text()[-2000:]
                        raise RuntimeError(f"{self.name}: member {member} does not answer: {error}\n{log}") from error
                    await asyncio.sleep(0.02)

    async def leader(self) -> str:
        """Waits until there is one."""
        give_up = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up:
            for member in self.processes:
                async with self.channel(member) as channel:
                    with contextlib.suppress(grpc.aio.AioRpcError):
                        if (leader := await self.leader_by(member, channel)) in self.processes:
                            return leader
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.name} has no leader")

    @abstractmethod
    async def leader_by(self, member: str, channel: grpc.aio.Channel) -> str:
        """The leader this member knows, or itself if that is all it can tell; empty: it knows none."""

    @abstractmethod
    def put_request(self, key: str, value: bytes) -> bytes: ...

    @abstractmethod
    def get_request(self, key: str) -> bytes: ...

    @abstractmethod
    async def watch(self, channel: grpc.aio.Channel) -> WatchStream:
        """A watch of everything under the prefix from now on; returns when it stands."""

    @abstractmethod
    def events(self, reply: bytes) -> int:
        """How many events are in it."""


class OurCluster(Cluster):
    name = "store"
    put_path = "/navarch.store.v1.KeyValues/Txn"
    get_path = "/navarch.store.v1.KeyValues/Get"

    def command(self, member: str) -> Sequence[str]:
        several = {name: f"{HOST}:{port}" for name, port in self.peers.items()} if len(self.members) > 1 else {}
        config = {
            "directory": str(self.directory / member),
            "name": member,
            "authority": str(self.directory / "authority.pem"),
            "certificate": str(self.directory / f"{member}.pem"),
            "key": str(self.directory / f"{member}.key"),
            "door": f"{HOST}:{self.doors[member]}",
            "listen": f"{HOST}:{self.peers[member]}",
            "initial": several,
        }
        path = self.directory / f"{member}.json"
        path.write_text(json.dumps(config))
        return (sys.executable, "-m", "tests.store_member", str(path))

    def caller(self, member: str) -> Caller:
        own = self.credentials[member]
        credentials = ClientCredentials(own.authority, own.certificate, own.key)
        endpoint = Endpoint(f"{HOST}:{self.doors[member]}", store_host(member))
        return StreamCaller(StoreClient([endpoint], credentials))

    async def leader_by(self, member: str, channel: grpc.aio.Channel) -> str:
        status = unary(channel, "/navarch.store.v1.ClusterAdmin/Status")
        return pb.StatusReply.FromString(await status(b"", timeout=1.0)).leader

    def put_request(self, key: str, value: bytes) -> bytes:
        return pb.TxnRequest(changes=[pb.Change(key=key, value=value)]).SerializeToString()

    def get_request(self, key: str) -> bytes:
        return pb.GetRequest(key=key).SerializeToString()

    async def watch(self, channel: grpc.aio.Channel) -> WatchStream:
        now = await unary(channel, "/navarch.store.v1.KeyValues/Range")(pb.RangeRequest(limit=1).SerializeToString())
        request = pb.WatchRequest(prefix=PREFIX, after=pb.RangeReply.FromString(now).revision)
        call = channel.unary_stream("/navarch.store.v1.KeyValues/Watch")(request.SerializeToString())  # type: ignore[call-arg]
        await call.initial_metadata()
        return call

    def events(self, reply: bytes) -> int:
        return len(pb.WatchReply.FromString(reply).events)


class EchoCluster(OurCluster):
    """Takes the store's calls and does nothing."""

    name = "echo"

    def command(self, member: str) -> Sequence[str]:
        files = (str(self.directory / name) for name in ("authority.pem", f"{member}.pem", f"{member}.key"))
        return (sys.executable, "-m", "tests.bench.echo", str(self.doors[member]), *files)


class EtcdCluster(Cluster):
    name = ETCD
    put_path = "/etcdserverpb.KV/Put"
    get_path = "/etcdserverpb.KV/Range"

    def __init__(self, directory: Path, size: int) -> None:
        super().__init__(directory, size)
        self._messages = _load_messages()

    def command(self, member: str) -> Sequence[str]:
        data = self.directory / member
        data.mkdir(mode=0o700, exist_ok=True)
        authority, certificate, key = (
            str(self.directory / name) for name in ("authority.pem", f"{member}.pem", f"{member}.key")
        )
        door, peer = f"https://{HOST}:{self.doors[member]}", f"https://{HOST}:{self.peers[member]}"
        initial = ",".join(f"{name}=https://{HOST}:{port}" for name, port in self.peers.items())
        return (
            *(ETCD, "--name", member, "--data-dir", str(data), "--logger", "zap"),
            *("--listen-client-urls", door, "--advertise-client-urls", door),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", initial),
            *("--cert-file", certificate, "--key-file", key, "--trusted-ca-file", authority, "--client-cert-auth"),
            *("--peer-cert-file", certificate, "--peer-key-file", key),
            *("--peer-trusted-ca-file", authority, "--peer-client-cert-auth"),
        )

    def caller(self, member: str) -> Caller:
        return self.unary_caller(member)

    async def leader_by(self, member: str, channel: grpc.aio.Channel) -> str:
        raw = await unary(channel, "/etcdserverpb.Maintenance/Status")(b"", timeout=1.0)
        status = self._parsed("StatusResponse", raw)
        leads = status.leader == status.header.member_id  # type: ignore[attr-defined]  # made at run time
        return member if leads else ""

    def put_request(self, key: str, value: bytes) -> bytes:
        return self._made("PutRequest", key=key.encode(), value=value)

    def get_request(self, key: str) -> bytes:
        return self._made("RangeRequest", key=key.encode())

    async def watch(self, channel: grpc.aio.Channel) -> WatchStream:
        call = channel.stream_stream("/etcdserverpb.Watch/Watch")()  # type: ignore[call-arg]
        behind = PREFIX[:-1] + chr(ord(PREFIX[-1]) + 1)
        await call.write(
            self._made("WatchRequest", create_request={"key": PREFIX.encode(), "range_end": behind.encode()})
        )
        created = await call.read()
        assert self._parsed("WatchResponse", cast("bytes", created)).created  # type: ignore[attr-defined]
        return call

    def events(self, reply: bytes) -> int:
        return len(self._parsed("WatchResponse", reply).events)  # type: ignore[attr-defined]

    def _made(self, kind: str, **fields: object) -> bytes:
        return self._messages[kind](**fields).SerializeToString()

    def _parsed(self, kind: str, raw: bytes) -> Message:
        return self._messages[kind].FromString(raw)


def unary(channel: grpc.aio.Channel, path: str) -> Call:
    """A call that neither makes nor reads messages."""
    return cast("Call", channel.unary_unary(path))  # type: ignore[call-arg]


def etcd_is_missing() -> str | None:
    """What to do about it; None: it is there."""
    if shutil.which(ETCD):
        return None
    return "etcd is not installed, beside which this is measured: install Debian's etcd-server, or run `make bench`"


def _load_messages() -> dict[str, type[Message]]:
    with tempfile.NamedTemporaryFile() as compiled:
        source = importlib.resources.files("tests.bench") / "proto"
        code = protoc.main(["protoc", f"-I{source}", f"--descriptor_set_out={compiled.name}", "etcd.proto"])
        if code:
            raise RuntimeError(f"protoc ended with {code}")
        files = descriptor_pb2.FileDescriptorSet.FromString(Path(compiled.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    found = pool.FindFileByName("etcd.proto").message_types_by_name
    return {name: message_factory.GetMessageClass(message) for name, message in found.items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
