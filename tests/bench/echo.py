"""A server that only answers, for what a client can do at most: `python -m tests.bench.echo PORT PEM...`.

The PEM files: authority, certificate, key. It has the store's door, and behind it nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import uvloop

from orchestrator.store import Compare, Delete, KeyValue, Put, Store, TxnResult
from orchestrator.store.door import DOOR_OPTIONS
from orchestrator.store.key_value_door import key_value_handler


class Nothing:
    """As much of a store as is asked for."""

    async def get(self, key: str, *, revision: int = 0, serializable: bool = False) -> KeyValue | None:
        return None

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> TxnResult:
        return TxnResult(True, 1 << 20, ())


async def main(port: str, authority: Path, certificate: Path, key: Path) -> None:
    async def anybody(_: object) -> None:
        """Everybody is let in."""

    server = grpc.aio.server(options=DOOR_OPTIONS)
    server.add_generic_rpc_handlers((key_value_handler(cast("Store", Nothing()), authorize=anybody),))
    pair = [(key.read_bytes(), certificate.read_bytes())]
    tls = grpc.ssl_server_credentials(pair, authority.read_bytes(), require_client_auth=True)
    server.add_secure_port(f"127.0.0.1:{port}", tls)
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], *map(Path, sys.argv[2:5])))
