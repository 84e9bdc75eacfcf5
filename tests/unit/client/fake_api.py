"""An API server in memory for tests of what is built on the client, with faults on demand.

It keeps the promises the real one makes (a page list is of one revision, a watch gives everything after its revision, a
version that was read must still be there when it is written) and nothing else.
"""

from __future__ import annotations

import asyncio
import builtins
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone, key_of, kind_of
from orchestrator.client import Change, ChangeType, Create, Delete, Listing, Update
from orchestrator.client.operations import AnyOperation, Bind, Patch

K = TypeVar("K", bound=KubeObject)

Slot = tuple[type[KubeObject], str]


@dataclass
class FakeApi:
    """`faults` are raised by the next calls, one each; `stream_lengths` end the next watches after so many events."""

    revision: int = 10
    objects: dict[Slot, KubeObject] = field(default_factory=dict)
    history: list[tuple[int, Change[KubeObject]]] = field(default_factory=list)
    compacted: int = 0
    faults: dict[str, deque[errors.ApiError]] = field(default_factory=dict)
    stream_lengths: deque[int] = field(default_factory=deque)
    # Carries a batch out and loses the answer.
    lose_answers: int = 0
    calls: list[tuple[str, str]] = field(default_factory=list)
    before_page: Callable[[], None] | None = None
    allow: Callable[[KubeObject], errors.ApiError | None] = lambda obj: None

    def __post_init__(self) -> None:
        self._news = asyncio.Event()
        self._cut: errors.ApiError | None = None
        self._generation = 0
        self._pages: dict[str, tuple[int, list[KubeObject]]] = {}
        self._uids = 0
        self.reachable = asyncio.Event()
        self.reachable.set()

    # What a test does to it.

    def put(self, *objects: K) -> None:
        """Store objects, all of them with one new revision."""
        self.revision += 1
        for obj in objects:
            slot = (type(obj), key_of(obj))
            stored = clone(obj)
            stored.metadata.resource_version = str(self.revision)
            known = self.objects.get(slot)
            if known is not None:
                stored.metadata.uid = known.metadata.uid
            elif not stored.metadata.uid:
                self._uids += 1
                stored.metadata.uid = f"uid-{self._uids}"
            self.objects[slot] = stored
            self._tell(ChangeType.MODIFIED if known is not None else ChangeType.ADDED, stored)

    def remove(self, kind: type[KubeObject], key: str) -> KubeObject:
        self.revision += 1
        last = clone(self.objects.pop((kind, key)))
        last.metadata.resource_version = str(self.revision)
        self._tell(ChangeType.DELETED, last)
        return last

    def bookmark(self, kind: type[KubeObject]) -> None:
        mark = kind()
        mark.metadata.resource_version = str(self.revision)
        self._tell(ChangeType.BOOKMARK, mark)

    def write_elsewhere(self) -> None:
        """A write of a kind nobody here looks at."""
        self.revision += 1

    def compact(self) -> None:
        """Forget the history: only who has read all of it can go on."""
        self.compacted = self.revision

    def cut(self, error: errors.ApiError | None = None) -> None:
        """End every watch that is open: with an error, or as if the server had closed it."""
        self._cut = error
        self._generation += 1
        self._news.set()

    def fail(self, verb: str, *faults: errors.ApiError) -> None:
        self.faults.setdefault(verb, deque()).extend(faults)

    def of(self, kind: type[K]) -> dict[str, K]:
        return {key: cast(K, obj) for (of_kind, key), obj in self.objects.items() if of_kind is kind}

    def called(self, verb: str) -> list[str]:
        return [argument for name, argument in self.calls if name == verb]

    # What the client does.

    async def connected(self) -> None:
        await self.reachable.wait()

    async def list(
        self,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Listing[K]:
        self._call("list", continue_token)
        if self.before_page is not None:
            self.before_page()
        if not continue_token:
            found = [
                obj
                for (of_kind, _), obj in sorted(self.objects.items(), key=lambda item: item[0][1])
                if of_kind is kind
            ]
            revision = self.revision
        else:
            revision, found = self._pages.pop(continue_token)
            if revision < self.compacted:
                raise errors.Expired("The provided continue parameter is too old")
        await asyncio.sleep(0)
        page, rest = (found[:limit], found[limit:]) if limit else (found, [])
        token = ""
        if rest:
            token = f"{revision}/{len(self._pages)}/{len(rest)}"
            self._pages[token] = (revision, rest)
        return Listing([clone(cast(K, obj)) for obj in page], str(revision), token, len(rest))

    async def watch(
        self,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> AsyncGenerator[Change[K], None]:
        self._call("watch", resource_version)
        after = int(resource_version)
        generation = self._generation
        left = self.stream_lengths.popleft() if self.stream_lengths else None
        if after < self.compacted:
            raise errors.Expired("too old resource version")
        sent = [change for revision, change in self.history if revision <= after]
        position = len(sent)
        while True:
            await asyncio.sleep(0)
            if generation != self._generation:
                if self._cut is not None:
                    raise self._cut
                return
            if position < len(self.history) and self.history[position][0] <= self.compacted:
                raise errors.Expired("too old resource version")
            if position == len(self.history):
                self._news.clear()
                await self._news.wait()
                continue
            _, change = self.history[position]
            position += 1
            if not isinstance(change.object, kind):
                continue
            if left is not None:
                if left == 0:
                    raise errors.ServiceUnavailable("the connection broke")
                left -= 1
            yield Change(change.type, clone(change.object))

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        self._call("get", name)
        await asyncio.sleep(0)
        return cast(K, clone(self._existing(kind, f"{namespace}/{name}" if namespace else name)))

    async def create(self, obj: K) -> K:
        self._call("create", obj.metadata.name)
        await asyncio.sleep(0)
        return cast(K, self._carry_out(Create(obj)))

    async def update(self, obj: K) -> K:
        self._call("update", obj.metadata.name)
        await asyncio.sleep(0)
        return cast(K, self._carry_out(Update(obj)))

    async def batch(self, operations: Sequence[AnyOperation]) -> builtins.list[KubeObject | errors.ApiError]:
        self._call("batch", str(len(operations)))
        await asyncio.sleep(0)
        results: list[KubeObject | errors.ApiError] = []
        for operation in operations:
            try:
                results.append(self._carry_out(operation))
            except errors.ApiError as error:
                results.append(error)
        if self.lose_answers:
            self.lose_answers -= 1
            raise errors.ServiceUnavailable("the answer was lost")
        return results

    def _carry_out(self, operation: AnyOperation) -> KubeObject:
        match operation:
            case Create(obj):
                if (refusal := self.allow(obj)) is not None:
                    raise refusal
                if (type(obj), key_of(obj)) in self.objects:
                    raise errors.AlreadyExists.of(kind_of(obj).resource, obj.metadata.name)
                self.put(obj)
                return clone(self.objects[type(obj), key_of(obj)])
            case Update(obj):
                known = self._existing(type(obj), key_of(obj))
                if known.metadata.resource_version != obj.metadata.resource_version:
                    raise errors.Conflict.of(kind_of(obj).resource, obj.metadata.name)
                self.put(obj)
                return clone(self.objects[type(obj), key_of(obj)])
            case Delete():
                key = f"{operation.namespace}/{operation.name}" if operation.namespace else operation.name
                known = self._existing(operation.kind, key)
                if operation.uid and operation.uid != known.metadata.uid:
                    raise errors.Conflict.of(
                        kind_of(known).resource, operation.name, "the UID in the precondition differs"
                    )
                return self.remove(operation.kind, key)
            case Patch():
                known = self._existing(operation.kind, f"{operation.namespace}/{operation.name}")
                patched = clone(known)
                for name, value in cast("dict[str, object]", operation.patch).items():
                    if name == "count":
                        setattr(patched, name, value)
                self.put(patched)
                return clone(patched)
            case Bind():
                raise AssertionError("no test binds here")

    def _existing(self, kind: type[KubeObject], key: str) -> KubeObject:
        known = self.objects.get((kind, key))
        if known is None:
            raise errors.NotFound.of(kind_of(kind).resource, key)
        return known

    def _call(self, verb: str, argument: str) -> None:
        self.calls.append((verb, argument))
        for name in (verb, "*"):
            if self.faults.get(name):
                raise self.faults[name].popleft()

    def _tell(self, type: ChangeType, obj: KubeObject) -> None:
        self.history.append((self.revision, Change(type, obj)))
        self._news.set()
