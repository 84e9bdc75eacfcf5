"""Logs and exec, as the API server asks for them: the node's PodStreams service.

It listens on the machine's addresses with mutual TLS and answers the API server alone, which has already decided who
may do this. Logs come from the runtime's files, which are kept from growing without bound here too; commands run as
further processes of a container. When a client goes away its command is ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NoReturn, TypeAlias

import grpc

from agents.cri.client import CriClient
from agents.cri.errors import CriError
from agents.cri.processes import Process, Processes, Stream
from agents.node.containers import ContainerFinder, Endings, PodLookup
from agents.node.inotify import Inotify
from agents.node.log_format import nanoseconds_of
from agents.node.log_rotation import LogRotation
from agents.node.logs import LogOptions, follow_log, read_log
from orchestrator.api import errors
from orchestrator.api.errors import ApiError
from orchestrator.api.status import to_rpc
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import ExecReply, ExecRequest, ExecStart, LogsChunk, LogsRequest
from orchestrator.api.v1.streams_pb2_grpc import PodStreamsServicer, add_PodStreamsServicer_to_server
from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.paths import Paths
from orchestrator.pki import identity_of

log = logging.getLogger(__name__)

_CALLER = "kube-apiserver"
_DETAILS = "grpc-status-details-bin"
_STOP_GRACE = 1.0
_LONGEST_AGO = 10**9  # seconds: longer than there are logs

ExecContext: TypeAlias = grpc.aio.ServicerContext[ExecRequest, ExecReply]
LogsContext: TypeAlias = grpc.aio.ServicerContext[LogsRequest, LogsChunk]


class Streams(PodStreamsServicer):
    """A service of the node agent. `pods` looks up the API's pod by namespace and name."""

    name = "streams"

    def __init__(
        self, paths: Paths, runtime: CriClient, pods: PodLookup, clock: Clock, *, listen: str = "0.0.0.0:7450"
    ) -> None:
        self._paths = paths
        self._clock = clock
        self._listen = listen
        self._finder = ContainerFinder(paths, runtime, pods)
        self._endings = Endings(runtime, clock)
        self._rotation = LogRotation(paths.pod_logs, runtime, clock)
        self._processes = Processes(runtime.channel, paths.run / "exec")
        self._inotify: Inotify | None = None
        # The port it listens on, once it does.
        self.port = 0

    async def run(self, ready: Callable[[], None]) -> None:
        """Serves until cancelled."""
        await asyncio.to_thread(self._processes.sweep)
        inotify = Inotify()
        self._inotify = inotify
        # The API server pings every 20 s, also while a followed log is silent: without this it would be cut off for it.
        server = grpc.aio.server(options=[("grpc.http2.min_ping_interval_without_data_ms", 10_000)])
        add_PodStreamsServicer_to_server(self, server)
        try:
            self.port = server.add_secure_port(self._listen, await asyncio.to_thread(_credentials, self._paths))
            await server.start()
            log.info("serving logs and exec", extra=fields(listen=self._listen, port=self.port))
            ready()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._endings.run())
                group.create_task(self._rotation.run())
        finally:
            await server.stop(_STOP_GRACE)
            inotify.close()

    async def Logs(  # noqa: N802 - the schema's name
        self, request: LogsRequest, context: LogsContext
    ) -> AsyncIterator[LogsChunk]:
        async with _answered(context):
            _check_caller(context)
            found = await self._finder.log_file(
                request.namespace, request.pod, request.container, previous=request.previous
            )
            options = self._options(request)
            if not request.follow or not found.running or self._inotify is None:
                async for piece in read_log(found.file, options):
                    yield LogsChunk(data=piece)
                return
            ended = asyncio.ensure_future(self._endings.of(found.container_id))
            try:
                async for piece in follow_log(found.file, options, self._inotify, ended):
                    yield LogsChunk(data=piece)
            finally:
                ended.cancel()
                await asyncio.gather(ended, return_exceptions=True)

    async def Exec(  # noqa: N802
        self, request_iterator: AsyncIterator[ExecRequest], context: ExecContext
    ) -> AsyncIterator[ExecReply]:
        async with _answered(context):
            _check_caller(context)
            first = await anext(aiter(request_iterator), None)
            if first is None or not first.HasField("start"):
                raise errors.BadRequest("the first message of an exec must be `start`")
            start = first.start
            if not start.command:
                raise errors.BadRequest("you must specify at least one command for the container")
            container_id = await self._finder.running(start.namespace, start.pod, start.container)
            async with self._processes.start(
                container_id,
                start.command,
                tty=start.tty,
                stdin=start.stdin,
                stdout=start.stdout,
                stderr=start.stderr,
            ) as process:
                feeding = asyncio.ensure_future(_feed(process, request_iterator, start))
                try:
                    async for piece in process.output():
                        if piece.stream is Stream.STDOUT:
                            yield ExecReply(stdout=piece.data)
                        else:
                            yield ExecReply(stderr=piece.data)
                finally:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)
                yield ExecReply(exit_code=process.exit_code)

    def _options(self, request: LogsRequest) -> LogOptions:
        since = 0
        if request.HasField("since_seconds"):
            if not 0 < request.since_seconds <= _LONGEST_AGO:
                raise errors.BadRequest(f"invalid sinceSeconds {request.since_seconds}: must be greater than 0")
            since = nanoseconds_of(self._clock.now() - timedelta(seconds=request.since_seconds))
        elif request.HasField("since_time"):
            since = nanoseconds_of(to_datetime(request.since_time))
        for name in ("tail_lines", "limit_bytes"):
            if getattr(request, name) < 0:
                raise errors.BadRequest(f"invalid {name} {getattr(request, name)}: must not be negative")
        return LogOptions(
            timestamps=request.timestamps,
            since=since,
            tail_lines=request.tail_lines if request.HasField("tail_lines") else None,
            limit_bytes=request.limit_bytes if request.HasField("limit_bytes") else None,
        )


async def _feed(process: Process, requests: AsyncIterator[ExecRequest], start: ExecStart) -> None:
    """Passes the client's side on to the process. A client that stops sending has closed the input."""
    async for request in requests:
        match request.WhichOneof("message"):
            case "stdin":
                await process.write(request.stdin)
            case "resize" if start.tty:
                await process.resize(request.resize.width, request.resize.height)
            case "close_stdin":
                await process.close_stdin()
    await process.close_stdin()


@asynccontextmanager
async def _answered(context: ExecContext | LogsContext) -> AsyncIterator[None]:
    """Turns errors into the API's statuses."""
    try:
        yield
    except ApiError as error:
        await _abort(context, error)
    except CriError as error:
        await _abort(context, errors.InternalError.of(error.message))
    except OSError as error:
        await _abort(context, errors.InternalError.of(f"{error.strerror}: {error.filename}"))
    except grpc.aio.AbortError:
        raise
    except grpc.aio.InternalError as error:
        # What is written to a server that has gone fails so; nobody is left to be told.
        log.debug("the API server has gone", extra=fields(error=error))
    except Exception as error:  # the outermost edge of a request
        log.exception("request failed")
        await _abort(context, errors.InternalError.of(error))


async def _abort(context: ExecContext | LogsContext, error: ApiError) -> NoReturn:
    status = to_rpc(error)
    trailer = ((_DETAILS, status.SerializeToString()),)
    await context.abort(_CODES[error.grpc], status.message, trailer)


_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _check_caller(context: ExecContext | LogsContext) -> None:
    """TLS has verified the certificate; the name in it says whose it is. Raises Forbidden."""
    certificate = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
    name = identity_of(certificate).name if certificate else ""
    if name != _CALLER:
        raise errors.Forbidden(f'only the API server may read streams of this node, not "{name}"')


def _credentials(paths: Paths) -> grpc.ServerCredentials:
    key = (paths.pki / "node.key").read_bytes()
    certificate = (paths.pki / "node.crt").read_bytes()
    return grpc.ssl_server_credentials(
        [(key, certificate)],
        root_certificates=(paths.pki / "ca.crt").read_bytes(),
        require_client_auth=True,
    )
