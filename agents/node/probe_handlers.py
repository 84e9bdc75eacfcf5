"""One attempt of a probe or of a lifecycle hook: a command in the container, a request, a connection.

Each returns an `Outcome` with words for people, or, for what can't be judged at all (the runtime is away), raises
`ProbeSkippedError`: that is no failure of the container. Time limits are the caller's: an attempt is cancelled when
its time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import grpc
from google.protobuf.struct_pb2 import Value
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agents.cri.client import CriClient
from agents.cri.errors import CriError, CriNotFoundError, CriTimeoutError, CriUnavailableError
from orchestrator.api.v1 import Container, GRPCAction, HTTPGetAction, Probe, TCPSocketAction

# Of an answer's text, that much goes into an event.
_SHOWN = 1024
# The longest status line and headers that are read.
_HEAD_LIMIT = 64 << 10
_AGENT = "kube-probe/navarch"
# What a path and query may hold as it is: all of RFC 3986 but the fragment's sign, and escapes already made.
_KEPT = "/?:@!$&'()*+,;=-._~%"


class ProbeSkippedError(Exception):
    """The attempt says nothing about the container."""


@dataclass(frozen=True, slots=True)
class Outcome:
    succeeded: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed: a running container, and the address of its pod."""

    container: Container
    container_id: str
    pod_ip: str


async def attempt(cri: CriClient, target: Target, probe: Probe) -> Outcome:
    """Makes a probe once, within its timeout."""
    seconds = max(probe.timeout_seconds, 1)
    if probe.HasField("exec"):
        return await run_command(cri, target.container_id, probe.exec.command, seconds)
    try:
        async with asyncio.timeout(seconds):
            match _action(probe):
                case "http_get":
                    return await http_get(target, probe.http_get)
                case "tcp_socket":
                    return await tcp_socket(target, probe.tcp_socket)
                case "grpc":
                    return await grpc_health(target, probe.grpc)
    except TimeoutError:
        return Outcome(False, f"no answer within {seconds} s (timeoutSeconds)")
    # A probe without an action can't get past validation; there is nothing it could fail.
    return Outcome(True)


async def run_command(cri: CriClient, container_id: str, command: Sequence[str], seconds: int) -> Outcome:
    """Runs a command to its end; exit code 0 is success. Its output is the message of a failure."""
    try:
        answer = await cri.exec_sync(container_id, command, seconds)
    except CriTimeoutError:
        return Outcome(False, f"command timed out: {' '.join(command)} timed out after {seconds}s")
    except (CriNotFoundError, CriUnavailableError) as error:
        raise ProbeSkippedError(error.message) from error
    except CriError as error:
        # The command can't be started, most often because it does not exist: that counts.
        return Outcome(False, error.message)
    output = (answer.stdout + answer.stderr)[:_SHOWN].decode(errors="replace")
    return Outcome(answer.exit_code == 0, output)


async def http_get(target: Target, action: HTTPGetAction) -> Outcome:
    """Asks over HTTP/1.1; a status from 200 to 399 is success."""
    port = port_number(target.container, action.port)
    host = action.host or target.pod_ip
    scheme = (action.scheme or "HTTP").lower()
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    url = f"{scheme}://{_bracketed(host)}:{port}{path}"
    if port is None:
        return Outcome(False, f"couldn't find port: {_named(action.port)}")
    try:
        status = await _status_of(host, port, scheme == "https", _request(action, host, port, path))
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return Outcome(False, f'Get "{url}": {_words(error)}')
    if status is None:
        return Outcome(False, f'Get "{url}": malformed HTTP response')
    if 200 <= status < 400:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")


async def tcp_socket(target: Target, action: TCPSocketAction) -> Outcome:
    """Opens a connection and closes it."""
    port = port_number(target.container, action.port)
    if port is None:
        return Outcome(False, f"couldn't find port: {_named(action.port)}")
    host = action.host or target.pod_ip
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return Outcome(False, f"dial tcp {_bracketed(host)}:{port}: {_words(error)}")
    await _closed(writer)
    return Outcome(True)


async def grpc_health(target: Target, action: GRPCAction) -> Outcome:
    """Asks the service grpc.health.v1.Health; SERVING is success."""
    address = f"{_bracketed(target.pod_ip)}:{action.port}"
    channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    try:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=action.service))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return Outcome(False, f"error: this server does not implement the grpc health protocol: {error.details()}")
        return Outcome(False, f'error: health rpc probe of "{address}" failed: {error.details()}')
    finally:
        await channel.close(None)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return Outcome(True)
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Outcome(False, f'service unhealthy (responded with "{name}")')


def port_number(container: Container, port: Value) -> int | None:
    """The port that a probe means by a number or by the name of one of the container's ports."""
    if port.WhichOneof("kind") == "number_value":
        return int(port.number_value)
    for each in container.ports:
        if each.name == port.string_value:
            return each.container_port
    return int(port.string_value) if port.string_value.isdecimal() else None


def _action(probe: Probe) -> str:
    return next((name for name in ("http_get", "tcp_socket", "grpc") if probe.HasField(name)), "")


def _named(port: Value) -> str:
    return f'"{port.string_value}"'


def _request(action: HTTPGetAction, host: str, port: int, path: str) -> bytes:
    headers: list[tuple[str, str]] = [(header.name, header.value) for header in action.http_headers]
    given = {name.lower() for name, _ in headers}
    defaults = (("Host", f"{_bracketed(host)}:{port}"), ("User-Agent", _AGENT), ("Accept", "*/*"))
    headers += [(name, value) for name, value in defaults if name.lower() not in given]
    headers.append(("Connection", "close"))
    # A line break would begin another header, or another request.
    lines = [f"GET {quote(path, safe=_KEPT)} HTTP/1.1", *(_one_line(f"{name}: {value}") for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", errors="replace")


def _one_line(header: str) -> str:
    return header.replace("\r", "").replace("\n", "")


async def _status_of(host: str, port: int, secure: bool, request: bytes) -> int | None:
    """The status of the answer; None when it isn't HTTP."""
    context = None
    if secure:
        # Kubernetes' rule: a probe asks whether the container answers, not who it is.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_HEAD_LIMIT)
    try:
        writer.write(request)
        await writer.drain()
        while True:
            status = _parse_status(await reader.readuntil(b"\n"))
            if status is None or status >= 200:
                return status
            # An interim answer: the real one follows its headers.
            while (await reader.readuntil(b"\n")).strip():
                pass
    finally:
        await _closed(writer)


def _parse_status(line: bytes) -> int | None:
    match line.split(maxsplit=2):
        case [version, status, *_] if version.startswith(b"HTTP/") and status.isdigit() and len(status) == 3:
            return int(status)
    return None


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


def _words(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "connect: connection refused"
        case ConnectionResetError():
            return "read: connection reset by peer"
        case asyncio.IncompleteReadError():
            return "EOF"
        case OSError():
            return error.strerror or str(error)
    return str(error)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
