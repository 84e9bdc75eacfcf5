"""The informer: a local, indexed copy of what the server has of one kind, kept up to date by one watch.

It lists once, page by page at one revision, and then follows every change after that revision. When the stream breaks
it resumes from the last revision it has seen in full, so nothing is missed, and the cache drops what comes twice, so
nothing is repeated. When that revision has been compacted away it lists again and finds out by comparison what
happened meanwhile: subscribers see the changes they would have seen, in one step, and never a state that is half old
and half new.

Promises. Subscribers are called after the cache has changed, once for each change, in the order of revisions.
`reached(revision)` returns when the cache includes the store's state at that revision as far as this kind goes; one
who waits for the revision of its own write sees it. `synced()` holds only after a list that began after `run()`, so a
decision never rests on what an earlier run had left behind.
"""

from __future__ import annotations

import asyncio
import builtins
import heapq
import itertools
import logging
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone, kind_of
from orchestrator.client.backoff import Backoff
from orchestrator.client.cache import Cache, IndexFunction, Transition, version
from orchestrator.client.client import Change, ChangeType, Listing
from orchestrator.clock import Clock, SystemClock
from orchestrator.logs import fields

log = logging.getLogger("informer")

K = TypeVar("K", bound=KubeObject)

PAGE_SIZE = 500
# A stream that held this long was a good one: the next break is the first again.
STEADY_SECONDS = 5.0


class Source(Protocol):
    """The part of the client an informer needs."""

    async def list(
        self,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Listing[K]: ...

    def watch(
        self,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> AsyncGenerator[Change[K], None]: ...

    async def connected(self) -> None: ...


class Informer(Generic[K]):
    """What is known of one kind. The objects it gives out are shared: never change them, `clone` first.

    Several owners may `run` the same informer: one of them does the work, and when it stops, the next takes over.
    """

    def __init__(
        self,
        client: Source,
        kind: type[K],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        indexes: Mapping[str, IndexFunction[K]] | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self.kind = kind
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._cache: Cache[K] = Cache(indexes or {})
        self._clock = clock or SystemClock()
        self._backoff = Backoff(rng or random.Random())
        self._page_size = page_size
        self._resource = kind_of(kind).resource
        self._subscribers: list[Callable[[K | None, K | None], None]] = []
        self._running = asyncio.Lock()
        self._synced = asyncio.Event()
        # Everything up to `_revision` that concerns this kind is in the cache; a watch resumes after `_complete`.
        self._revision = 0
        self._complete = 0
        self._must_list = True
        self._list_now = asyncio.Event()
        self._lists = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waiting_for_list: list[tuple[int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def resource_version(self) -> int:
        """The store revision up to which the cache is complete; 0 before the first list."""
        return self._revision

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    def get(self, namespace: str, name: str) -> K | None:
        return self._cache.get(namespace, name)

    def get_by_key(self, key: str) -> K | None:
        """By "namespace/name", or "name" for kinds without a namespace."""
        namespace, _, name = key.rpartition("/")
        return self._cache.get(namespace, name)

    def list(self, namespace: str | None = None) -> builtins.list[K]:
        return list(self._cache) if namespace is None else self._cache.in_namespace(namespace)

    def by_index(self, index: str, value: str) -> builtins.list[K]:
        """The objects that the index function of that name files under `value`. KeyError for an unknown index."""
        return self._cache.by_index(index, value)

    def index_values(self, index: str) -> builtins.list[str]:
        return self._cache.index_values(index)

    def add_index(self, name: str, function: IndexFunction[K]) -> None:
        self._cache.add_index(name, function)

    def __len__(self) -> int:
        return len(self._cache)

    def subscribe(self, callback: Callable[[K | None, K | None], None]) -> Callable[[], None]:
        """Have `callback(old, new)` called for each change from now on. Returns what ends the subscription.

        Callbacks only take note (put a key in a queue, set an event); they hold up all others.
        """
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    async def synced(self) -> None:
        """Wait until the cache holds a state of the server from after `run()` began."""
        await self._synced.wait()

    async def reached(self, resource_version: int) -> None:
        """Wait until the cache includes that store revision."""
        if self._revision >= resource_version:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (resource_version, next(self._order), waiter))
        await waiter

    async def refresh(self) -> None:
        """List again, and return when the cache shows a state of the server from after this call.

        For one who does not know whether its write has happened and so has no revision to wait for.
        """
        listed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A list that is under way now may have been answered before this call: the one after it counts.
        self._waiting_for_list.append((self._lists + 1, listed))
        self._must_list = True
        self._list_now.set()
        await listed

    async def run(self) -> None:
        """Keep the cache up to date until cancelled."""
        async with self._running:
            self._must_list = True
            try:
                while True:
                    await self._attempt()
            finally:
                self._synced.clear()

    async def _attempt(self) -> None:
        """List if need be, follow the watch until it ends, and wait before the next attempt if it ended badly."""
        began = self._clock.monotonic()
        try:
            if self._must_list:
                await self._list()
            await self._follow()
            steady = self._clock.monotonic() - began >= STEADY_SECONDS
            failure: errors.ApiError | None = None
        except errors.ApiError as error:
            steady = self._clock.monotonic() - began >= STEADY_SECONDS
            failure = error
        if self._list_now.is_set():
            return
        if steady:
            self._backoff.reset()
        match failure:
            case None:
                pass
            case errors.Expired() | errors.BadRequest() | errors.Timeout() if _must_list(failure):
                # Compacted, or a revision the server does not have (a store restored from a backup): start afresh.
                log.info("listing again", extra=fields(resource=self._resource, reason=failure.message))
                self._must_list = True
            case errors.ServiceUnavailable():
                log.info("watch interrupted", extra=fields(resource=self._resource, error=failure.message))
            case _:
                log.warning("can't watch", extra=fields(resource=self._resource, error=failure.message))
        await self._clock.sleep(self._backoff.next())
        if isinstance(failure, errors.ServiceUnavailable):
            await self._client.connected()

    async def _list(self) -> None:
        self._list_now.clear()
        self._lists += 1
        number = self._lists
        objects: list[K] = []
        token = ""
        while True:
            page = await self._client.list(
                self.kind,
                namespace=self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=self._page_size,
                continue_token=token,
            )
            objects += map(self._keep, page.items)
            token = page.continue_token
            if not token:
                break
        revision = int(page.resource_version)
        if revision < self._revision:
            # The store went back in time; whoever waits for a revision of the lost future waits in vain.
            self._wake(self._revision_waited_for())
        self._must_list = self._list_now.is_set()
        self._revision = self._complete = revision
        transitions = self._cache.replace(objects)
        self._synced.set()
        self._notify(transitions)
        self._wake(revision)
        self._listed(number)

    def _keep(self, listed: K) -> K:
        """The object to keep for a listed one: the known one when it is the same, otherwise a copy.

        The items of a page share its memory: keeping one would keep the whole page.
        """
        metadata = listed.metadata
        known = self._cache.get(metadata.namespace, metadata.name)
        if (
            known is not None
            and known.metadata.resource_version == metadata.resource_version
            and known.metadata.uid == metadata.uid
        ):
            return known
        return clone(listed)

    async def _follow(self) -> None:
        """Apply the changes of one watch, until it ends or a list is asked for."""
        stream = asyncio.ensure_future(self._apply_stream())
        interrupt = asyncio.ensure_future(self._list_now.wait())
        try:
            await asyncio.wait((stream, interrupt), return_when=asyncio.FIRST_COMPLETED)
            if stream.done():
                stream.result()
        finally:
            interrupt.cancel()
            stream.cancel()
            await asyncio.gather(interrupt, stream, return_exceptions=True)

    async def _apply_stream(self) -> None:
        watch = self._client.watch(
            self.kind,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=str(self._complete),
        )
        async with aclosing(watch) as changes:
            async for change in changes:
                self._apply(change)

    def _apply(self, change: Change[K]) -> None:
        revision = version(change.object)
        match change.type:
            case ChangeType.BOOKMARK:
                transition = None
                self._complete = max(self._complete, revision)
            case ChangeType.DELETED:
                transition = self._cache.remove(change.object)
            case _:
                transition = self._cache.put(change.object)
        if change.type is not ChangeType.BOOKMARK:
            # One revision may hold several changes: until a later one comes, more of this one may follow.
            self._complete = max(self._complete, revision - 1)
        self._revision = max(self._revision, revision)
        if transition is not None:
            self._notify([transition])
        self._wake(self._revision)

    def _notify(self, transitions: Iterable[Transition[K]]) -> None:
        for old, new in transitions:
            for callback in tuple(self._subscribers):
                try:
                    callback(old, new)
                except Exception:
                    # One subscriber's fault must not cost the others this change.
                    log.exception("subscriber failed", extra=fields(resource=self._resource))

    def _wake(self, revision: int) -> None:
        while self._waiting and self._waiting[0][0] <= revision:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)

    def _revision_waited_for(self) -> int:
        return max((revision for revision, _, _ in self._waiting), default=0)

    def _listed(self, number: int) -> None:
        waiting = []
        for wanted, listed in self._waiting_for_list:
            if listed.done():
                continue
            if number >= wanted:
                listed.set_result(None)
            else:
                waiting.append((wanted, listed))
        self._waiting_for_list = waiting


def _must_list(failure: errors.ApiError) -> bool:
    """Whether the revision to watch from will not be had any more; a Timeout may also mean just that."""
    causes = failure.details.causes
    return not isinstance(failure, errors.Timeout) or any(
        cause.reason == errors.RESOURCE_VERSION_TOO_LARGE for cause in causes
    )
