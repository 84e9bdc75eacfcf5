"""One hostile request after the other, and what must hold after each.

* no answer is the server's own fault (5xx, INTERNAL, UNKNOWN), none is missing, and each comes in time;
* nothing is logged as an error, and nothing reaches the event loop;
* what was refused, read or only tried (dry run) has changed nothing (a collection goes object by object until one is
  refused, as in Kubernetes);
* what was accepted is read back the same through both doors, and its JSON, read again, is the same object.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import grpc
import grpc.aio

from orchestrator.api.codec import from_json, to_json
from orchestrator.api.errors import ApiError
from orchestrator.api.kinds import kind_of, unwrap
from orchestrator.api.v1 import CreateRequest, GetRequest, ObjectKey, ObjectReply, PatchRequest, UpdateRequest
from tests.integration.fuzz.raw_http import HttpReply, request
from tests.integration.fuzz.requests import GrpcRequest, RestRequest, grpc_request, rest_request
from tests.integration.fuzz.subject import Subject

_OWN_FAULTS: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
_EXPECTED: Final = ("Too large resource version", "can't be reached", "is not registered", "has no address yet")
"""Of a revision that is not there yet, and of a node that is none, the server says 504 and 503, as Kubernetes does."""
_OF_ONE: Final[dict[str, type[CreateRequest | UpdateRequest | PatchRequest]]] = {
    "Resources/Create": CreateRequest,
    "Resources/Update": UpdateRequest,
    "Resources/Patch": PatchRequest,
}
_NOT_HTTP: Final = ("400 Bad Request", "431 Request Header Fields Too Large")
SLOW_SECONDS: Final = 3.0
"""No single request may take this long."""


class Campaign:
    """Requests of one seed against one server."""

    def __init__(self, subject: Subject, seed: int) -> None:
        self.subject = subject
        self.seed = seed
        self.tally: Counter[str] = Counter()
        self.anomalies: list[str] = []
        self._known = 0

    async def run(self) -> AsyncIterator[int]:
        """Make requests without end; each gives its number once it is judged."""
        number = 0
        self._known = self.subject.revision
        while True:
            rng = random.Random(f"{self.seed}/{number}")
            asked = rest_request(rng) if rng.random() < 0.6 else grpc_request(rng)
            await self.judge(asked, f"seed {self.seed}, request {number}", thorough=rng.random() < 0.2)
            number += 1
            yield number

    async def judge(self, asked: RestRequest | GrpcRequest, named: str, *, thorough: bool = True) -> list[str]:
        """What is wrong with how the server has taken one request; it is remembered as well."""
        loop = asyncio.get_running_loop()
        before = self.subject.revision
        begun = loop.time()
        self.tally["requests"] += 1
        try:
            if isinstance(asked, RestRequest):
                wrong, accepted = await self._rest(asked, before, thorough)
            else:
                wrong, accepted = await self._grpc(asked, before, thorough)
        except TimeoutError:
            wrong, accepted = ["no answer in time"], False
        except (AssertionError, UnicodeError) as error:
            wrong, accepted = [f"an answer that nobody can read: {error}"], True
        if loop.time() - begun > SLOW_SECONDS:
            wrong.append(f"took {loop.time() - begun:.1f} s")
        wrong += self.subject.complaints()
        several = isinstance(asked, GrpcRequest) and asked.method == "Resources/DeleteCollection"
        if not (accepted and asked.writes) and not several and self.subject.revision != before:
            wrong.append(f"refused or read, and yet the store went from {before} to {self.subject.revision}")
        self.tally["accepted" if accepted else "refused"] += 1
        if wrong:
            self.tally["anomalies"] += 1
            self.anomalies.append("\n".join((f"{named}: {asked}", *(f"    {each}" for each in wrong))))
        return wrong

    async def _rest(self, asked: RestRequest, before: int, thorough: bool) -> tuple[list[str], bool]:
        if asked.watches:
            return await self._watch(asked), True
        head_only = asked.method == "HEAD"
        if asked.wild:
            # It may be less than a request, or more than one: nobody waits long, and nothing comes after it.
            try:
                reply = await self.subject.rest(asked.raw, head_only=head_only, alone=True, patience=0.3)
            except TimeoutError:
                return [], self.subject.revision != before
        else:
            reply = await self.subject.rest(asked.raw, head_only=head_only)
        if reply is None:
            return ([] if asked.wild else ["the connection was closed without an answer"]), False
        wrong = _judged(reply, asked)
        accepted = reply.status < 300
        written = accepted and asked.method in {"POST", "PUT", "PATCH"} and self.subject.revision != before
        if written and not wrong and reply.headers.get("content-type", "").startswith("application/json"):
            wrong += await self._round_trip(reply.body, thorough)
        return wrong, accepted

    async def _watch(self, asked: RestRequest) -> list[str]:
        """A watch may be endless: what it begins with is all that is read."""
        connection = await self.subject.connect()
        try:
            connection.writer.write(asked.raw)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    return _judged(await connection.read(head_only=asked.method == "HEAD"), asked)
        except (ConnectionError, asyncio.IncompleteReadError):
            return [] if asked.wild else ["the connection was closed without an answer"]
        finally:
            connection.abort()
        return []

    async def _round_trip(self, body: bytes, thorough: bool) -> list[str]:
        """The object in an answer, got through both doors, and its JSON read again."""
        shown: Any = _strict(body)
        if shown.get("kind") in {"Table", "PartialObjectMetadata", "Status", "Scale"}:
            return []
        try:
            made = from_json(shown, unknown="strict")
        except ApiError as error:
            return [f"what was made can't be read again: {error}"]
        kind, meta = kind_of(made.obj), made.obj.metadata
        if not kind.stored or meta.HasField("deletion_timestamp"):
            # The last write of an object that is being deleted may be its end.
            return []
        if to_json(made.obj) != shown:
            return [f"JSON, read and written again, is another: {shown} {to_json(made.obj)}"]
        key = ObjectKey(resource=kind.resource, namespace=meta.namespace, name=meta.name)
        raw = await self.subject.call("Resources/Get", GetRequest(key=key).SerializeToString())
        if not isinstance(raw, bytes):
            return [f"what was made can't be got through gRPC: {raw.code()}: {raw.details()}"]
        got = to_json(unwrap(ObjectReply.FromString(raw).object))
        if got != shown:
            return [f"got through gRPC it is another: {shown} {got}"]
        base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        path = f"{base}/namespaces/{meta.namespace}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
        again = await self.subject.rest(request("GET", f"{path}/{meta.name}"))
        if again is None or again.status != 200 or _strict(again.body) != shown:
            return [f"got through REST it is another: {shown} {again}"]
        return await self._put_back(f"{path}/{meta.name}", body) if thorough else []

    async def _put_back(self, path: str, body: bytes) -> list[str]:
        """What the server itself shows, it takes back."""
        reply = await self.subject.rest(request("PUT", f"{path}?fieldValidation=Strict&dryRun=All", body))
        if reply is None or reply.status != 200:
            return [f"what was made is not taken back: {reply}"]
        return []

    async def _grpc(self, asked: GrpcRequest, before: int, thorough: bool) -> tuple[list[str], bool]:
        got = await self.subject.call(asked.method, asked.raw)
        if isinstance(got, bytes):
            if asked.method not in _OF_ONE or self.subject.revision == before:
                return [], True
            if _OF_ONE[asked.method].FromString(asked.raw).dry_run:
                return ["a dry run has changed something"], True
            return await self._round_trip(_dumped(to_json(unwrap(ObjectReply.FromString(got).object))), thorough), True
        details = got.details() or ""
        if got.code() in _OWN_FAULTS or (
            got.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
            and not any(words in details for words in _EXPECTED)
        ):
            return [f"{got.code()}: {details[:500]}"], False
        return [], False


def _strict(body: bytes) -> Any:
    """What JSON says that everybody can read."""
    return json.loads(body, parse_constant=_refused)


def _refused(name: str) -> None:
    raise AssertionError(f"{name} in an answer")


def _dumped(value: object) -> bytes:
    return json.dumps(value).encode()


def _judged(reply: HttpReply, asked: RestRequest) -> list[str]:
    text = reply.body[:2000].decode("utf-8", "replace")
    if reply.status >= 500 and not any(words in text for words in _EXPECTED):
        return [f"{reply.status}: {text}"]
    if reply.status < 400 or asked.wild or asked.method == "HEAD" or not asked.path.startswith(("/api/", "/apis/")):
        return []
    if text in _NOT_HTTP:
        return []
    try:
        status: Any = json.loads(reply.body)
        if status["kind"] != "Status" or status["code"] != reply.status or not status["message"]:
            return [f"{reply.status} comes with {text}"]
    except (ValueError, KeyError, TypeError):
        return [f"{reply.status} comes without a Status: {text!r}"]
    if len(reply.body) > 1 << 20:
        return [f"a refusal of {len(reply.body)} bytes: {text[:300]}"]
    return []
