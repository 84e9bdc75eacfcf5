"""The connection to an API server: how it is made, how a dead peer is noticed, how failures are put into words.

A gRPC channel connects by itself and again after every break. Where the kubeconfig names several servers it connects to
all of them and uses those that answer and say that they serve: one that is dead, or cut off from the others, costs the
calls and streams it had, and the next ones go elsewhere. Pings find a server that vanished without a word (a
machine that lost its power sends no reset): after keepalive time and timeout every call and stream on the connection
fails. A failure that a server has reported carries a Status and becomes the error it was there; a failure on the way
becomes `ServiceUnavailable` with the address and what to look at.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from orchestrator.api import errors
from orchestrator.api.schema import service
from orchestrator.api.status import from_rpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.kubeconfig import Connection

KEEPALIVE_SECONDS = 10
KEEPALIVE_TIMEOUT_SECONDS = 5
MAX_REQUEST_BYTES = 4 << 20
MAX_REPLY_BYTES = 64 << 20
EVERY_SERVER = "kubernetes.default.svc"
"""A name in the certificate of every API server of a cluster, whatever its address."""
SERVICE = service("Resources").full_name

_STATUS_DETAILS = "grpc-status-details-bin"
_WRAPPING = re.compile(r"^[A-Z]+: (ipv[46]:\S+: )?")
_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
    # While a ping of its own (to measure bandwidth) is unanswered, gRPC sends no other, and gives that one a minute.
    ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
    # A watch may be silent for long: without this, pings would stop after two.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    # Two clients of one process never share a connection, and closing one closes its own.
    ("grpc.use_local_subchannel_pool", 1),
]
# Of several servers: in turn those that say they serve.
_WELL = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": SERVICE}},
)


def open_channel(connection: Connection) -> grpc.aio.Channel:
    """A channel with mutual TLS. It connects at the first call, so this neither waits nor fails."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=connection.ca,
        private_key=connection.key,
        certificate_chain=connection.certificate,
    )
    if "," not in connection.address:
        return grpc.aio.secure_channel(connection.address, credentials, options=_OPTIONS)
    scheme = "ipv6" if connection.address.startswith("[") else "ipv4"
    options = [
        *_OPTIONS,
        ("grpc.service_config", _WELL),
        ("grpc.ssl_target_name_override", EVERY_SERVER),
    ]
    return grpc.aio.secure_channel(f"{scheme}:{connection.address}", credentials, options=options)


async def wait_connected(channel: grpc.aio.Channel) -> None:
    """Return when the channel has a connection, however long that takes. gRPC retries with backoff and jitter."""
    try:
        while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            await channel.wait_for_state_change(state)
    except grpc.aio.UsageError as error:
        raise errors.ServiceUnavailable("the connection was closed on this side") from error


def api_error(error: grpc.aio.AioRpcError, address: str) -> errors.ApiError:
    """The error a failed call stands for."""
    code, message = error.code(), error.details() or ""
    details = _status_details(error)
    if details is None:
        # No server put this into words: it happened on the way or in this process.
        match code:
            case grpc.StatusCode.UNAVAILABLE:
                return errors.ServiceUnavailable(unreachable(address, message))
            case grpc.StatusCode.CANCELLED:
                return errors.ServiceUnavailable(f"the API server at {address} ended the call: {message}")
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return errors.Timeout(
                    f"the API server at {address} did not answer in time; the request may have taken effect"
                )
            case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in message:
                return errors.RequestEntityTooLarge(f"the message is too large: {message}")
    return from_rpc(code.value[0], message, details)


def unreachable(address: str, cause: str) -> str:
    """What to tell a person when no server answers: where it was looked for, why it failed, what to do."""
    lowered = cause.lower()
    if "all backends failing" in lowered:
        # Of several servers. One that is there may be cut off from the others, and say that it does not serve.
        return (
            f"none of the API servers at {address} serves ({_innermost(cause)}): "
            "`navctl store status` shows how each of them does"
        )
    if "certificate" in lowered or "ssl" in lowered or "tls" in lowered or "handshake" in lowered:
        hint = "check that the certificates in your kubeconfig belong to this cluster"
    elif "refused" in lowered or "no such file" in lowered:
        hint = 'nothing listens there: start the cluster with "navctl up", or check the address in your kubeconfig'
    elif "name resolution" in lowered or "dns" in lowered or "resolv" in lowered:
        hint = "the name is not known: check the address in your kubeconfig"
    elif "socket closed" in lowered or "reset by peer" in lowered:
        # With TLS 1.3 a server refuses a certificate after the client's side of the handshake is complete.
        hint = "the server ended the connection: it stops, or does not accept the certificate in your kubeconfig"
    else:
        hint = "check that the server runs and the address in your kubeconfig is right"
    return f"the API server at {address} can't be reached ({_innermost(cause)}): {hint}"


def closed_here(error: asyncio.CancelledError) -> bool:
    """Whether a call was cancelled because its channel was closed, and not because its task is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0


def _status_details(error: grpc.aio.AioRpcError) -> bytes | None:
    trailer = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    for key, value in trailer:
        if key == _STATUS_DETAILS:
            return value if isinstance(value, bytes) else value.encode("latin-1")
    return None


def _innermost(cause: str) -> str:
    """gRPC wraps causes ("failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:5: Failed ...")."""
    text = _WRAPPING.sub("", cause.split("last error: ")[-1]).strip().rstrip(".")
    return text or "no connection"
