"""The Kubernetes REST API over HTTP/1.1 and TLS: from a request to a verb, and from its result to an answer.

Who calls, the certificate of the connection says. What a path means is read by `paths`, what a body says by `bodies`;
the verbs are those behind the gRPC door, and `answers` gives their results the shape that was asked for. Nothing here
decides about objects.

What is bounded: the size of a body, the time in which a request must have come, and what a watch may be behind. An
error before the answer begins is a Status; after that the connection is cut, or, in a watch, the Status is its last
event.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

from aiohttp import web

from orchestrator.api import errors
from orchestrator.api.kinds import wrap
from orchestrator.api.v1 import (
    CreateRequest,
    DeleteRequest,
    GetRequest,
    ObjectKey,
    PatchRequest,
    PatchType,
    UpdateRequest,
)
from orchestrator.logs import fields
from orchestrator.server.caller import Caller
from orchestrator.server.collection_deletion import CollectionDeletion
from orchestrator.server.listing import Collections, Page, revision_of, selection_of
from orchestrator.server.registry import Answer, Registry
from orchestrator.server.rest import answers, discovery, openapi, openapi_protobuf
from orchestrator.server.rest.about import About
from orchestrator.server.rest.answers import ListHead, Shape, Shapes
from orchestrator.server.rest.bodies import APPLY_TYPES, Sent, patch_type, read_delete, read_object, weight
from orchestrator.server.rest.json_bytes import dump
from orchestrator.server.rest.negotiation import JSON, YAML, NotAcceptable, Wanted, accepted
from orchestrator.server.rest.options import (
    field_manager,
    flag,
    include,
    is_dry_run,
    list_request,
    number,
    watch_request,
)
from orchestrator.server.rest.paths import PathNotFound, Target, parse_path
from orchestrator.server.rest.peer import identity_of_connection
from orchestrator.server.rest.pod_streams import RestStreams
from orchestrator.server.rest.receiving import body_of
from orchestrator.server.rest.sending import compressor, failed, one, sent, told
from orchestrator.server.workshop import Workshop

log = logging.getLogger("rest")

PIECE_BYTES: Final = 256 << 10
"""So much of a list is made before it is sent and others get a turn."""
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
        self._workshop = Workshop()
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
            return failed(error)
        except ConnectionError:
            log.debug("the client has gone", extra=fields(method=request.method, path=request.path))
            return web.Response()
        except Exception as error:  # the outermost edge of a request
            log.exception("request failed", extra=fields(method=request.method, path=request.path))
            return failed(errors.InternalError.of(error))

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
                return told(discovery.aggregated(core, wanted.version), wanted)
            return told(discovery.versions() if core else discovery.groups(), wanted)
        wanted = accepted(request.headers.get("Accept", ""))
        if core:
            found = discovery.resources("", parts[1])
        elif len(parts) == 2:
            found = discovery.group(parts[1])
        else:
            found = discovery.resources(parts[1], parts[2])
        if found is None:
            raise PathNotFound
        return told(found, wanted)

    async def _describe(self, request: web.BaseRequest, parts: Sequence[str]) -> web.StreamResponse:
        """OpenAPI. The documents take a second to make, once, and are made beside the event loop."""
        _only_reading(request)
        match parts:
            case ["v2"] if openapi_protobuf.ASKED in request.headers.get("Accept", ""):
                body = await asyncio.to_thread(openapi.swagger_definitions)
                return await sent(request, body, Wanted(openapi_protobuf.MEDIA_TYPE))
            case ["v2"]:
                body = await asyncio.to_thread(openapi.swagger)
            case ["v3"]:
                body = dump(await asyncio.to_thread(openapi.index))
            case ["v3", *path] if openapi.has("/".join(path)):
                body = await asyncio.to_thread(openapi.document, "/".join(path))
            case _:
                raise PathNotFound
        accepted(request.headers.get("Accept", ""))
        return await sent(request, body, Wanted())

    # Single objects.

    async def _get(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        stored = await self._registry.get(caller, GetRequest(key=_key(target), subresource=target.subresource))
        return await one(request, shape, stored, wanted)

    async def _create(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        read = await self._object(request, target)
        answer = await self._registry.create(
            caller,
            CreateRequest(
                object=wrap(read.obj),
                dry_run=_dry_run(request),
                subresource=target.subresource,
                field_manager=_manager(request),
            ),
        )
        warnings = [*read.warnings, *answer.warnings]
        if target.subresource in _ANSWERED_BY_STATUS:
            return await sent(request, answers.done(201), Wanted(wanted.media_type), status=201, warnings=warnings)
        return await one(request, shape, answer.stored, wanted, status=201, warnings=warnings)

    async def _update(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        read = await self._object(request, target)
        answer = await self._registry.update(
            caller,
            UpdateRequest(
                object=wrap(read.obj),
                key=_key(target),
                dry_run=_dry_run(request),
                subresource=target.subresource,
                field_manager=_manager(request),
            ),
        )
        return await one(request, shape, answer.stored, wanted, warnings=[*read.warnings, *answer.warnings])

    async def _patch(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        applied = request.content_type in APPLY_TYPES
        kind_of_patch = PatchType.APPLY if applied else patch_type(request.content_type)
        answer: Answer = await self._registry.patch(
            caller,
            PatchRequest(
                key=_key(target),
                type=kind_of_patch,
                patch=await body_of(request),
                subresource=target.subresource,
                dry_run=_dry_run(request),
                field_validation=request.query.get("fieldValidation", ""),
                field_manager=request.query.get("fieldManager", "") if applied else _manager(request),
                force=flag(request.query, "force"),
            ),
        )
        status = 201 if answer.created else 200
        return await one(request, shape, answer.stored, wanted, status=status, warnings=answer.warnings)

    async def _delete(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _OBJECT_SHAPES)
        deletion = await self._deletion_options(request)
        deletion.key.CopyFrom(_key(target))
        stored = await self._registry.delete(caller, deletion)
        if stored.removed and target.kind.kind not in _RETURNED:
            return await sent(request, answers.deleted(stored), Wanted(wanted.media_type))
        return await one(request, shape, stored, wanted)

    # Collections.

    async def _list(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _LIST_SHAPES)
        asked = list_request(target.kind, target.namespace, request.query)
        page = await self._collections.read(caller, asked)
        if not asked.limit and page.next is not None:
            if wanted.media_type == YAML:
                raise NotAcceptable("a list this large is only given as application/json")
            return await self._long_list(request, shape, page, wanted)
        remaining = page.remaining if page.next is not None and page.selection.everything else None
        head = ListHead(page.revision, page.next.token() if page.next else "", remaining)
        pieces = [shape.begin(target.kind, head), *answers.joined(shape, page.items), shape.end]
        return await sent(request, b"".join(pieces), wanted)

    async def _delete_collection(self, request: web.BaseRequest, caller: Caller, target: Target) -> web.StreamResponse:
        wanted, shape = self._shape(request, target, _LIST_SHAPES)
        options = await self._deletion_options(request)
        page = await self._deletion.delete(caller, list_request(target.kind, target.namespace, request.query), options)
        pieces = [shape.begin(target.kind, ListHead(page.revision)), *answers.joined(shape, page.items), shape.end]
        return await sent(request, b"".join(pieces), wanted)

    async def _long_list(
        self, request: web.BaseRequest, shape: Shape, first: Page, wanted: Wanted
    ) -> web.StreamResponse:
        """All of a collection that is more than a page, made and sent piece by piece, at one revision."""
        response = web.StreamResponse(
            headers={"Content-Type": wanted.content_type, "Cache-Control": "no-cache, private"}
        )
        squeeze = compressor(request)
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
        asked = watch_request(target.kind, target.namespace, target.name, request.query)
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

    async def _object(self, request: web.BaseRequest, target: Target) -> Sent:
        body, media_type = await body_of(request), _media_type(request)
        size = weight(body, media_type)
        return await self._workshop.do(size, lambda: read_object(target, body, media_type, request.query))

    async def _deletion_options(self, request: web.BaseRequest) -> DeleteRequest:
        body, media_type = await body_of(request), _media_type(request)
        return await self._workshop.do(weight(body, media_type), lambda: read_delete(body, media_type, request.query))

    def _shape(self, request: web.BaseRequest, target: Target, shapes: frozenset[str]) -> tuple[Wanted, Shape]:
        wanted = accepted(request.headers.get("Accept", ""), shapes=shapes)
        return wanted, self._shapes.wanted(wanted, include(request.query), target.kind)


def _media_type(request: web.BaseRequest) -> str:
    """What the body is; JSON, if the client does not say."""
    return request.content_type if "Content-Type" in request.headers else JSON


def _key(target: Target) -> ObjectKey:
    return ObjectKey(resource=target.kind.storage.resource, namespace=target.namespace, name=target.name)


def _dry_run(request: web.BaseRequest) -> bool:
    return is_dry_run(request.query.get("dryRun", ""))


def _manager(request: web.BaseRequest) -> str:
    return field_manager(request.query, request.headers.get("User-Agent", ""))


def _only_reading(request: web.BaseRequest) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
