"""The Kubernetes REST API over HTTP/1.1 and TLS: from a request to a verb, and from its result to an answer.

Who calls, the certificate of the connection says. What a path means is read by `paths`, what a body says by `bodies`;
the verbs are those behind the gRPC door, and `answers` gives their results the shape that was asked for. Nothing here
decides about objects.

What is bounded: the size of a body, the time in which a request must have come, the requests of one caller at a time,
and, for a watch, what it may be behind. An error before the answer begins is a Status; after that the connection is
cut, or, in a watch, the Status is its last event.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from orchestrator.api import errors
from orchestrator.api.kinds import wrap
from orchestrator.api.v1 import (
    CreateRequest,
    GetRequest,
    ListRequest,
    ObjectKey,
    PatchRequest,
    PatchType,
    UpdateRequest,
    WatchRequest,
)
from orchestrator.logs import fields
from orchestrator.pki import Identity
from orchestrator.server.caller import Caller, authenticate
from orchestrator.server.collection_deletion import CollectionDeletion
from orchestrator.server.encoding import Stored
from orchestrator.server.listing import Collections, Page, revision_of, selection_of
from orchestrator.server.managing import UNKNOWN
from orchestrator.server.registry import Answer, Registry
from orchestrator.server.rest import answers, discovery, openapi, openapi_protobuf
from orchestrator.server.rest.about import About
from orchestrator.server.rest.answers import ListHead, Shape, Shapes
from orchestrator.server.rest.bodies import APPLY_TYPES, patch_type, read_delete, read_object
from orchestrator.server.rest.json_bytes import dump
from orchestrator.server.rest.negotiation import JSON, YAML, NotAcceptable, Wanted, accepted
from orchestrator.server.rest.paths import PathNotFound, Target, flag, is_dry_run, number, parse_path
from orchestrator.server.rest.pod_streams import RestStreams
from orchestrator.server.rest.tables import INCLUDES, Include

log = logging.getLogger("rest")

MAX_BODY_BYTES: Final = 3 << 20
BODY_SECONDS: Final = 60.0
COMPRESSED_FROM: Final = 128 << 10
"""Bytes from which an answer is compressed for a client that takes it so."""
PIECE_BYTES: Final = 256 << 10
"""So much of a list is made before it is sent and others get a turn."""
MAX_MANAGER: Final = 128
IMPERSONATE: Final = "Impersonate-User"
"""The header of a request in somebody else's name. It must not be answered as if it were in the caller's own."""
SHORTEST_WATCH, LONGEST_WATCH = 1800.0, 3600.0
"""Seconds; a watch without a limit of its own ends somewhere between, so that not all end at once."""

_OBJECT_SHAPES: Final = frozenset({"Table", "PartialObjectMetadata"})
_LIST_SHAPES: Final = frozenset({"Table", "PartialObjectMetadataList", "PartialObjectMetadata"})
_DISCOVERY_SHAPES: Final = frozenset({"APIGroupDiscoveryList"})
_ANSWERED_BY_STATUS: Final = frozenset({"binding", "eviction"})
_RETURNED: Final = frozenset(
    {"Pod", "Service", "ServiceAccount", "PodTemplate", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota"}
)
"""Kinds whose delete answers with the object even when it is gone at once."""

Answerer = Callable[[web.BaseRequest, Caller, Target], Awaitable[web.StreamResponse]]


class RestDoor:
    """Answers requests. One instance a server."""

    def __init__(
        self,
        registry: Registry,
        collections: Collections,
        streams: RestStreams,
        about: About,
        *,
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._registry = registry
        self._about = about
        self._collections = collections
        self._deletion = CollectionDeletion(registry, collections)
        self._shapes = Shapes(now)
        self._rng = rng
        self._verbs: Mapping[str, Answerer] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        self._streams: Mapping[str, Answerer] = {"log": streams.log, "exec": streams.exec}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request. Whatever goes wrong becomes a Status."""
        try:
            return await self._answer(request)
        except errors.ApiError as error:
            return _failed(error)
        except web.HTTPRequestEntityTooLarge:
            limit = f"Request entity too large: limit is {MAX_BODY_BYTES}"
            return _failed(errors.RequestEntityTooLarge(limit))
        except ConnectionError:
            log.debug("the client has gone", extra=fields(method=request.method, path=request.path))
            return web.Response()
        except Exception as error:  # the outermost edge of a request
            log.exception("request failed", extra=fields(method=request.method, path=request.path))
            return _failed(errors.InternalError.of(error))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if (told := self._about.answer(path, request.query)) is not None:
            _only_reading(request)
            return web.Response(text=told.text, status=told.status, content_type=told.content_type)
        caller = Caller(identity_of_connection(request), request.remote or "")
        if IMPERSONATE in request.headers:
            raise errors.Forbidden("requests in the name of somebody else (impersonation) are not supported")
        head = path.strip("/").split("/")
        if head[0] == "openapi":
            return await self._describe(request, head[1:])
        if head[0] not in {"api", "apis"}:
            raise PathNotFound
        if len(head) <= (2 if head[0] == "api" else 3):
            return self._discover(request, head)
        target = parse_path(request.method, path, request.query)
        answer = self._streams.get(target.subresource) or self._verbs.get(target.verb)
        if answer is None:
            what = target.subresource if target.verb == "connect" else target.verb
            raise errors.MethodNotAllowed.of(target.kind.resource, what)
        return await answer(request, caller, target)

    def _discover(self, request: web.BaseRequest, parts: Sequence[str]) -> web.StreamResponse:
        _only_reading(request)
        core = parts[0] == "api"
        if len(parts) == 1:
            wanted = accepted(request.headers.get("Accept", ""), shapes=_DISCOVERY_SHAPES)
            if wanted.shape:
                return _told(discovery.aggregated(core, wanted.version), wanted)
            return _told(discovery.versions() if core else discovery.groups(), wanted)
        wanted = accepted(request.headers.get("Accept", ""))
        if core:
            found = discovery.resources("", parts[1])
        elif len(parts) == 2:
            found = discovery.group(parts[1])
        else:
            found = discovery.resources(parts[1], parts[2])
        if found is None:
            raise PathNotFound
        return _told(found, wanted)

    async def _describe(self, request: web.BaseRequest, parts: Sequence[str]) -> web.StreamResponse:
        """OpenAPI. The documents take a second to make, once, and are made beside the event loop."""
        _only_reading(request)
        match parts:
            case ["v2"] if openapi_protobuf.ASKED in request.headers.get("Accept", ""):
                body = await asyncio.to_thread(openapi.swagger_definitions)
                return await _sent(request, body, Wanted(openapi_protobuf.MEDIA_TYPE))
            case ["v2"]:
                body = await asyncio.to_thread(openapi.swagger)
            case ["v3"]:
                body = dump(await asyncio.to_thread(openapi.index))
            case ["v3", *path] if openapi.has("/".join(path)):
                body = await asyncio.to_thread(openapi.document, "/".join(path))
            case _:
                raise PathNotFound
        accepted(request.headers.get("Accept", ""))
        return await _sent(request, body, Wanted())

    # Single objects.

    async def _get(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        stored = await self._registry.get(caller, GetRequest(key=_key(target), subresource=target.subresource))
        return await _one(request, shape, stored, wanted)

    async def _create(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        sent = read_object(target, await _body(request), _media_type(request), request.query)
        answer = await self._registry.create(
            caller,
            CreateRequest(
                object=wrap(sent.obj),
                dry_run=_dry_run(request),
                subresource=target.subresource,
                field_manager=_field_manager(request),
            ),
        )
        warnings = [*sent.warnings, *answer.warnings]
        if target.subresource in _ANSWERED_BY_STATUS:
            return await _sent(request, answers.done(201), Wanted(wanted.media_type), status=201, warnings=warnings)
        return await _one(request, shape, answer.stored, wanted, status=201, warnings=warnings)

    async def _update(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        sent = read_object(target, await _body(request), _media_type(request), request.query)
        answer = await self._registry.update(
            caller,
            UpdateRequest(
                object=wrap(sent.obj),
                key=_key(target),
                dry_run=_dry_run(request),
                subresource=target.subresource,
                field_manager=_field_manager(request),
            ),
        )
        return await _one(request, shape, answer.stored, wanted, warnings=[*sent.warnings, *answer.warnings])

    async def _patch(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        applied = request.content_type in APPLY_TYPES
        kind_of_patch = PatchType.APPLY if applied else patch_type(request.content_type)
        answer: Answer = await self._registry.patch(
            caller,
            PatchRequest(
                key=_key(target),
                type=kind_of_patch,
                patch=await _body(request),
                subresource=target.subresource,
                dry_run=_dry_run(request),
                field_validation=request.query.get("fieldValidation", ""),
                field_manager=request.query.get("fieldManager", "") if applied else _field_manager(request),
                force=flag(request.query, "force"),
            ),
        )
        status = 201 if answer.created else 200
        return await _one(request, shape, answer.stored, wanted, status=status, warnings=answer.warnings)

    async def _delete(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        deletion = read_delete(await _body(request), _media_type(request), request.query)
        deletion.key.CopyFrom(_key(target))
        stored = await self._registry.delete(caller, deletion)
        if stored.removed and target.kind.kind not in _RETURNED:
            return await _sent(request, answers.deleted(stored), Wanted(wanted.media_type))
        return await _one(request, shape, stored, wanted)

    # Collections.

    async def _list(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _LIST_SHAPES)
        asked = _list_request(target, request.query)
        page = await self._collections.read(caller, asked)
        if not asked.limit and page.next is not None:
            if wanted.media_type == YAML:
                raise NotAcceptable("a list this large is only given as application/json")
            return await self._long_list(request, shape, page, wanted)
        remaining = page.remaining if page.next is not None and page.selection.everything else None
        head = ListHead(page.revision, page.next.token() if page.next else "", remaining)
        pieces = [shape.begin(target.kind, head), *answers.joined(shape, page.items), shape.end]
        return await _sent(request, b"".join(pieces), wanted)

    async def _delete_collection(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _LIST_SHAPES)
        options = read_delete(await _body(request), _media_type(request), request.query)
        page = await self._deletion.delete(caller, _list_request(target, request.query), options)
        pieces = [shape.begin(target.kind, ListHead(page.revision)), *answers.joined(shape, page.items), shape.end]
        return await _sent(request, b"".join(pieces), wanted)

    async def _long_list(
        self, request: web.BaseRequest, shape: Shape, first: Page, wanted: Wanted
    ) -> web.StreamResponse:
        """All of a collection that is more than a page, made and sent piece by piece, at one revision."""
        response = web.StreamResponse(
            headers={"Content-Type": wanted.content_type, "Cache-Control": "no-cache, private"}
        )
        squeeze = _compressor(request)
        if squeeze is not None:
            response.headers["Content-Encoding"] = "gzip"
        await response.prepare(request)
        async with aclosing(self._pieces(shape, first)) as pieces:
            async for piece in pieces:
                if squeeze is not None:
                    piece = await asyncio.to_thread(squeeze.compress, piece)
                await response.write(piece)
        if squeeze is not None:
            await response.write(squeeze.flush())
        await response.write_eof()
        return response

    async def _pieces(self, shape: Shape, first: Page) -> AsyncGenerator[bytes, None]:
        page = first
        gathered = [shape.begin(page.selection.kind, ListHead(page.revision))]
        size, begun = 0, False
        while True:
            for stored in page.items:
                item = shape.item(stored)
                gathered.append(b"," + item if begun else item)
                begun = True
                size += len(item)
                if size >= PIECE_BYTES:
                    yield b"".join(gathered)
                    gathered, size = [], 0
            if page.next is None:
                break
            page = await self._collections.page(page.selection, page.next, 0)
        gathered.append(shape.end)
        yield b"".join(gathered)

    async def _watch(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _LIST_SHAPES)
        asked = _watch_request(target, request.query)
        selection_of(asked)
        revision_of(asked.resource_version)
        limit = number(request.query, "timeoutSeconds")
        response = web.StreamResponse(
            headers={"Content-Type": wanted.content_type, "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        seconds = limit or self._rng.uniform(SHORTEST_WATCH, LONGEST_WATCH)
        try:
            async with asyncio.timeout(seconds) as deadline:
                async with aclosing(self._collections.watch(caller, asked, shape)) as events:
                    async for event in events:
                        await response.write(event)
        except TimeoutError:
            if not deadline.expired():
                raise
        except errors.ServiceUnavailable:
            log.debug("a watch was ended", extra=fields(path=request.path))
        except errors.ApiError as error:
            await response.write(answers.failed_watch(error))
        await response.write_eof()
        return response

    def _shape(self, request: web.BaseRequest, target: Target, shapes: frozenset[str]) -> tuple[Wanted, Shape]:
        wanted = accepted(request.headers.get("Accept", ""), shapes=shapes)
        return wanted, self._shapes.wanted(wanted, _include(request.query), target.kind)


def identity_of_connection(request: web.BaseRequest) -> Identity:
    """Who is at the other end, by the certificate that the handshake has verified. Raises Unauthorized."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    certificate = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) or tls is not None else None
    if not certificate:
        raise errors.Unauthorized("Unauthorized: the connection shows no client certificate")
    return _identity(certificate)


@lru_cache(maxsize=1024)
def _identity(der: bytes) -> Identity:
    return authenticate(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))


async def _body(request: web.BaseRequest) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise errors.Timeout(f"the request's body did not come within {BODY_SECONDS:.0f} s") from error


def _media_type(request: web.BaseRequest) -> str:
    """What the body is; JSON, if the client does not say."""
    return request.content_type if "Content-Type" in request.headers else JSON


def _key(target: Target) -> ObjectKey:
    return ObjectKey(resource=target.kind.storage.resource, namespace=target.namespace, name=target.name)


def _dry_run(request: web.BaseRequest) -> bool:
    return is_dry_run(request.query.get("dryRun", ""))


def _field_manager(request: web.BaseRequest) -> str:
    """Who changes: as the client says, or else its program's name."""
    name = request.query.get("fieldManager") or request.headers.get("User-Agent", "").partition("/")[0] or UNKNOWN
    if len(name) > MAX_MANAGER or not name.isprintable():
        raise errors.BadRequest(f"invalid fieldManager: must be at most {MAX_MANAGER} printable characters")
    return name


def _include(query: Mapping[str, str]) -> Include:
    given = query.get("includeObject", "")
    if given not in INCLUDES:
        raise errors.BadRequest(f'invalid includeObject "{given}": supported values: "None", "Metadata", "Object"')
    return INCLUDES[given]


def _list_request(target: Target, query: Mapping[str, str]) -> ListRequest:
    match = query.get("resourceVersionMatch", "")
    version = query.get("resourceVersion", "")
    limit = number(query, "limit") or 0
    token = query.get("continue", "")
    if match and match not in {"Exact", "NotOlderThan"}:
        raise errors.BadRequest(f'invalid resourceVersionMatch "{match}": supported values: "Exact", "NotOlderThan"')
    if match and not version:
        raise errors.BadRequest("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match and token:
        raise errors.BadRequest("resourceVersionMatch is forbidden when continue is provided")
    if match == "Exact" and version == "0":
        raise errors.BadRequest('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
    exact = match == "Exact" or (not match and limit > 0)
    revision_of(version)
    request = ListRequest(
        resource=target.kind.storage.resource,
        namespace=target.namespace,
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=limit,
        resource_version=version if exact and not token else "",
    )
    setattr(request, "continue", token)
    return request


def _watch_request(target: Target, query: Mapping[str, str]) -> WatchRequest:
    version = query.get("resourceVersion", "")
    initial = query.get("sendInitialEvents")
    if initial is None and query.get("resourceVersionMatch"):
        raise errors.BadRequest("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        raise errors.BadRequest("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    selector = query.get("fieldSelector", "")
    if target.name:
        named = f"metadata.name={target.name}"
        selector = f"{selector},{named}" if selector else named
    return WatchRequest(
        resource=target.kind.storage.resource,
        namespace=target.namespace,
        label_selector=query.get("labelSelector", ""),
        field_selector=selector,
        resource_version="" if flag(query, "sendInitialEvents") else version,
        allow_bookmarks=flag(query, "allowWatchBookmarks"),
    )


# Answers.


async def _one(
    request: web.BaseRequest,
    shape: Shape,
    stored: Stored,
    wanted: Wanted,
    *,
    status: int = 200,
    warnings: Iterable[str] = (),
) -> web.StreamResponse:
    return await _sent(request, shape.one(stored), wanted, status=status, warnings=warnings)


async def _sent(
    request: web.BaseRequest, body: bytes, wanted: Wanted, *, status: int = 200, warnings: Iterable[str] = ()
) -> web.StreamResponse:
    """A whole answer, compressed if it is large and the client takes it so."""
    if wanted.media_type != JSON:
        body = await asyncio.to_thread(answers.in_media_type, body, wanted)
    squeeze = _compressor(request) if len(body) >= COMPRESSED_FROM else None
    response = _whole(body, wanted, status=status)
    if squeeze is not None:
        response.body = await asyncio.to_thread(lambda: squeeze.compress(body) + squeeze.flush())
        response.headers["Content-Encoding"] = "gzip"
    for name, value in answers.warning_headers(warnings):
        response.headers.add(name, value)
    return response


def _whole(body: bytes, wanted: Wanted, *, status: int = 200) -> web.Response:
    headers = {"Content-Type": wanted.content_type, "Cache-Control": "no-cache, private"}
    return web.Response(body=body, status=status, headers=headers)


def _told(document: Mapping[str, object], wanted: Wanted) -> web.Response:
    return _whole(answers.in_media_type(dump(document), wanted), wanted)


def _only_reading(request: web.BaseRequest) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")


def _failed(error: errors.ApiError) -> web.Response:
    headers = {"Content-Type": JSON, "Cache-Control": "no-cache, private"}
    if error.retry_after:
        headers["Retry-After"] = str(error.retry_after)
    return web.Response(body=dump(answers.failure(error)), status=error.http, headers=headers)


def _compressor(request: web.BaseRequest) -> Any | None:
    """A gzip stream, if the client takes one."""
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return None
    return zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
