"""A server that only answers, for what a client can do at most: `python -m tests.bench.echo aio|fast PORT PEM...`.

The PEM files: authority, certificate, key. It takes the store's calls and does nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from orchestrator.rpc import FastServer, server_tls
from orchestrator.store.v1 import store_pb2 as pb

_REPLIES = {
    "Txn": pb.TxnReply(succeeded=True, revision=1 << 20).SerializeToString(),
    "Get": pb.GetReply().SerializeToString(),
}


def _handler(reply: bytes) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def answer(_: bytes, context: object) -> bytes:
        return reply

    return grpc.unary_unary_rpc_method_handler(answer)


async def main(kind: str, port: str, authority: Path, certificate: Path, key: Path) -> None:
    handler = grpc.method_handlers_generic_handler(
        "navarch.store.v1.KeyValues", {name: _handler(reply) for name, reply in _REPLIES.items()}
    )
    pem = (authority.read_bytes(), certificate.read_bytes(), key.read_bytes())
    address = f"127.0.0.1:{port}"
    if kind == "aio":
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handler,))
        server.add_secure_port(
            address, grpc.ssl_server_credentials([(pem[2], pem[1])], pem[0], require_client_auth=True)
        )
        await server.start()
    else:
        await FastServer((handler,)).start(address, server_tls(*pem))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], *map(Path, sys.argv[3:6])))
