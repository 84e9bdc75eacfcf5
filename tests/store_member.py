"""One member of a store as a process of its own, for tests and benchmarks: `python -m tests.store_member CONFIG.json`.

It opens the store, talks to the other members, and opens a door for key values and for the cluster's administration,
all with mutual TLS. When callers can come in it prints one line of JSON: the door's port and the peers'. SIGTERM ends
it as an operator would; when the store fails for good it says why on stderr and ends with 1.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from orchestrator.clock import Clock, SystemClock
from orchestrator.store import ReplicatedStore, Settings, open_store
from orchestrator.store.admin_door import admin_handler
from orchestrator.store.door import DOOR_OPTIONS
from orchestrator.store.files import Files
from orchestrator.store.grpc_wire import Credentials, GrpcWire
from orchestrator.store.key_value_door import key_value_handler
from orchestrator.store.membership import Members, Timing

DRAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Config:
    """What a member is told. Certificates are PEM files; all three serve both doors."""

    directory: Path
    name: str
    authority: Path
    certificate: Path
    key: Path
    door: str = "127.0.0.1:0"
    """Where the doors listen."""
    listen: str = "127.0.0.1:0"
    """Where the other members call."""
    initial: Mapping[str, str] = field(default_factory=dict)
    """The first members' names and addresses, this one's included; empty: it is alone."""
    join: bool = False
    """Wait to be added to a cluster."""
    cluster: str = "test"
    """The id of a cluster of initial members."""
    timing: Timing = field(default_factory=Timing)
    settings: Settings = field(default_factory=Settings)
    verbose: bool = False

    @classmethod
    def read(cls, path: Path) -> Config:
        given = json.loads(path.read_text())
        for name in ("directory", "authority", "certificate", "key"):
            given[name] = Path(given[name])
        given["timing"] = Timing(**given.get("timing", {}))
        given["settings"] = Settings(member=given["name"], **given.get("settings", {}))
        return cls(**given)

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.authority.read_bytes(), self.certificate.read_bytes(), self.key.read_bytes())


async def serve(config: Config, *, clock: Clock | None = None, files: Files | None = None) -> str | None:
    """Run until SIGTERM (None) or until the store has failed for good (why)."""
    clock = clock or SystemClock()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    wire = GrpcWire(config.name, listen=config.listen, credentials=config.credentials, clock=clock)
    await wire.open()
    host = config.listen.rpartition(":")[0]
    members = Members(
        config.name,
        config.initial,
        address=f"{host}:{wire.port}",
        join=config.join,
        cluster=config.cluster if config.initial else "",
        timing=config.timing,
    )
    store = await open_store(
        config.directory,
        clock=clock,
        settings=config.settings,
        files=files,
        members=members,
        wire=wire,
    )
    server, port = await _open_door(store, config)
    print(json.dumps({"door": port, "peers": wire.port}), flush=True)
    # What start-up has made stays; collecting it again and again would only cost time.
    gc.collect()
    gc.freeze()
    failing = asyncio.create_task(store.wait_failed())
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait([failing, stopping], return_when=asyncio.FIRST_COMPLETED)
        return failing.result() if failing.done() else None
    finally:
        failing.cancel()
        stopping.cancel()
        if not store.status().failure:
            await store.close()
        await server.stop(DRAIN_SECONDS)


async def _open_door(store: ReplicatedStore, config: Config) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(options=DOOR_OPTIONS)
    server.add_generic_rpc_handlers(
        (key_value_handler(store, authorize=_anybody), admin_handler(store, authorize=_anybody))
    )
    credentials = config.credentials
    tls = grpc.ssl_server_credentials(
        [(credentials.key, credentials.certificate)], credentials.authority, require_client_auth=True
    )
    port = server.add_secure_port(config.door, tls)
    await server.start()
    return server, port


async def _anybody(_: object) -> None:
    """Whoever has a certificate of the authority may do everything."""


def main() -> int:
    config = Config.read(Path(sys.argv[1]))
    logging.basicConfig(
        level=logging.INFO if config.verbose else logging.WARNING, stream=sys.stderr, format="%(asctime)s %(message)s"
    )
    why = uvloop.run(serve(config))
    if why is not None:
        print(why, file=sys.stderr)
    return 0 if why is None else 1


if __name__ == "__main__":
    sys.exit(main())
