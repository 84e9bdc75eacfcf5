"""The watch hub: every change is read from the store once, encoded once, and handed to those who asked for it.

One store watch feeds the hub. Subscriptions are indexed by resource, namespace and (for pods) node name, so that a
change costs nothing to those it does not concern; a node's agent never sees another node's pods. What a change means to
a subscription with a selector depends on whether the object matched before and matches now: an object that leaves the
selection is DELETED for it, in its last state there, and one that enters is ADDED.

A subscription holds a bounded backlog. One that does not read is ended with an error that lets the client resume; the
server's memory does not grow for it. A subscription that begins in the past is first given the changes since then
from the store's history, then the backlog, without a gap and without repeating.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from orchestrator.api import errors
from orchestrator.api.kinds import Kind, KubeObject, kind_for_resource, kind_of
from orchestrator.api.selectors import FieldQuery, LabelQuery
from orchestrator.api.v1 import Pod, WatchEvent
from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.server.encoding import Stored, decode
from orchestrator.server.forms import WIRE, Form
from orchestrator.server.keys import prefix_of, split_path
from orchestrator.server.store_errors import store_errors_mapped, to_api_error
from orchestrator.store import Compacted, Event, Store, StoreError, WatcherTooSlow

log = logging.getLogger("watch")

MAX_BACKLOG = 10_000
MAX_BACKLOG_BYTES = 64 << 20
BOOKMARK_SECONDS = 10.0
RETRY_SECONDS = 1.0
NODE_NAME_FIELD = "spec.nodeName"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a list or watch asks for."""

    kind: Kind
    namespace: str  # empty: all
    labels: LabelQuery
    fields: FieldQuery

    @property
    def everything(self) -> bool:
        """True when no selector narrows the collection: objects need not be decoded."""
        return self.labels.empty and self.fields.empty

    @property
    def node_name(self) -> str:
        """The node whose pods alone are asked for; empty when it is not that kind of question."""
        return (self.fields.equals(NODE_NAME_FIELD) or "") if self.kind is kind_of(Pod) else ""

    def matches(self, obj: KubeObject) -> bool:
        return self.labels.matches(obj.metadata.labels) and self.fields.matches(obj)


class ChangeSeen:
    """One change of one object, with everything that is derived from it at most once, for all who watch."""

    def __init__(self, kind: Kind, namespace: str, event: Event) -> None:
        self.kind = kind
        self.namespace = namespace
        self.event = event
        self._forms: dict[tuple[WatchEvent.Type.ValueType, Form], bytes] = {}

    @cached_property
    def current(self) -> KubeObject | None:
        value = self.event.value
        return decode(self.kind, value) if value is not None else None

    @cached_property
    def previous(self) -> KubeObject | None:
        before = self.event.previous
        return decode(self.kind, before.value) if before is not None else None

    @property
    def nodes(self) -> set[str]:
        """The nodes a pod was on before and is on now."""
        return {obj.spec.node_name for obj in (self.previous, self.current) if isinstance(obj, Pod)}

    def seen_by(self, selection: Selection, form: Form) -> bytes | None:
        """The event this change is for a selection, in a form; None when it is none of its business."""
        if selection.everything:
            before, now = self.event.previous is not None, self.event.value is not None
        else:
            before = self.previous is not None and selection.matches(self.previous)
            now = self.current is not None and selection.matches(self.current)
        if now:
            return self._in_form(WatchEvent.MODIFIED if before else WatchEvent.ADDED, form)
        return self._in_form(WatchEvent.DELETED, form) if before else None

    def _in_form(self, event_type: WatchEvent.Type.ValueType, form: Form) -> bytes:
        known = self._forms.get((event_type, form))
        if known is None:
            known = self._forms[event_type, form] = form.event(event_type, self._stored(event_type))
        return known

    def _stored(self, event_type: WatchEvent.Type.ValueType) -> Stored:
        """The object now; of a deleted one the last state, with the revision at which it ended."""
        value = self.event.value
        if event_type == WatchEvent.DELETED:
            value = self.event.previous.value if self.event.previous is not None else None
        return Stored(self.kind, value or b"", self.event.revision)


class Subscription:
    """One watcher's place in the stream: a bounded queue of events in its form."""

    def __init__(self, selection: Selection, *, after: int, bookmarks: bool, form: Form = WIRE) -> None:
        self.selection = selection
        self.form = form
        self.after = after
        self.bookmarks = bookmarks
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._ended: errors.ApiError | None = None

    def offer(self, change: ChangeSeen) -> None:
        """Queue a change, if it is one for this watcher and newer than what the watcher knows."""
        if change.event.revision <= self.after:
            return
        encoded = change.seen_by(self.selection, self.form)
        if encoded is not None:
            self.put(encoded)

    def put(self, encoded: bytes) -> None:
        """Queue an event. After the end nothing is taken any more: there would be a gap before it."""
        if self._ended is not None:
            return
        if len(self._queue) >= MAX_BACKLOG or self._bytes > MAX_BACKLOG_BYTES:
            self.end(errors.ServiceUnavailable("the watch fell too far behind and was ended: resume it", retry_after=1))
            return
        self._queue.append(encoded)
        self._bytes += len(encoded)
        self._wake.set()

    def end(self, error: errors.ApiError) -> None:
        """End the watch for this reason once what is queued has been read."""
        if self._ended is None:
            self._ended = error
            self._wake.set()

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        while True:
            while self._queue:
                encoded = self._queue.popleft()
                self._bytes -= len(encoded)
                yield encoded
            if self._ended is not None:
                raise self._ended
            self._wake.clear()
            await self._wake.wait()


@dataclass(slots=True)
class Watchers:
    """The subscriptions to one resource. Each is in exactly one of the three places."""

    anywhere: set[Subscription] = field(default_factory=set)
    by_namespace: dict[str, set[Subscription]] = field(default_factory=dict)
    by_node: dict[str, set[Subscription]] = field(default_factory=dict)

    def add(self, subscription: Subscription) -> None:
        self._place(subscription.selection).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        selection = subscription.selection
        self._place(selection).discard(subscription)
        for index, key in ((self.by_node, selection.node_name), (self.by_namespace, selection.namespace)):
            if key in index and not index[key]:
                del index[key]

    def concerned(self, change: ChangeSeen) -> Iterable[Subscription]:
        """Those who may want to see the change."""
        yield from tuple(self.anywhere)
        yield from tuple(self.by_namespace.get(change.namespace, ()))
        if self.by_node:
            for node in change.nodes:
                for subscription in tuple(self.by_node.get(node, ())):
                    if subscription.selection.namespace in {"", change.namespace}:
                        yield subscription

    def everyone(self) -> Iterable[Subscription]:
        yield from tuple(self.anywhere)
        for index in (self.by_namespace, self.by_node):
            for subscriptions in tuple(index.values()):
                yield from tuple(subscriptions)

    def _place(self, selection: Selection) -> set[Subscription]:
        if selection.node_name:
            return self.by_node.setdefault(selection.node_name, set())
        if selection.namespace:
            return self.by_namespace.setdefault(selection.namespace, set())
        return self.anywhere


class WatchHub:
    """Hands the store's changes out to subscriptions."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._watchers: dict[str, Watchers] = {}
        self._closed: errors.ApiError | None = None
        self.revision = store.status().revision
        """Every change up to this revision has been handed out."""

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._send_bookmarks())

    def close(self) -> None:
        """End all watches so that their clients resume them, elsewhere or later; new ones are refused."""
        self.suspend("the server is shutting down: resume the watch")

    def suspend(self, reason: str) -> None:
        """Do as `close` does until `resume`: what happens now may not be heard of here."""
        self._closed = errors.ServiceUnavailable(reason, retry_after=1)
        self._end_all(self._closed)

    def resume(self) -> None:
        """Take watches again."""
        self._closed = None

    async def subscribe(
        self, selection: Selection, *, after: int, bookmarks: bool, form: Form = WIRE
    ) -> AsyncGenerator[bytes, None]:
        """The events after a revision, without end. Raises Expired, ServiceUnavailable, Timeout (nobody wrote it yet).

        What happened before the subscription comes from the store's history, what happens since then from its queue.
        """
        if self._closed is not None:
            raise self._closed
        with store_errors_mapped():
            # The watcher may come from a server that was ahead of this one: what it saw there will come here too.
            await self._store.reach(after)
        subscription = Subscription(selection, after=max(after, self.revision), bookmarks=bookmarks, form=form)
        watchers = self._watchers.setdefault(selection.kind.resource, Watchers())
        watchers.add(subscription)
        try:
            async for encoded in self._history(selection, form, after, self.revision):
                yield encoded
            async for encoded in subscription:
                yield encoded
        finally:
            watchers.remove(subscription)

    async def _history(self, selection: Selection, form: Form, after: int, until: int) -> AsyncIterator[bytes]:
        """The changes with after < revision <= until."""
        if after >= until:
            return
        with store_errors_mapped():
            watch = self._store.watch(prefix_of(selection.kind, selection.namespace), after=after)
            try:
                while watch.progress < until:
                    for event in await anext(watch):
                        if event.revision > until:
                            break
                        encoded = self._change(event).seen_by(selection, form)
                        if encoded is not None:
                            yield encoded
            finally:
                watch.close()

    async def _follow(self) -> None:
        """Read the store's changes and hand them out. Being cut for slowness costs a resume."""
        while True:
            try:
                watch = self._store.watch("/", after=self.revision)
                try:
                    async for batch in watch:
                        for event in batch:
                            self._dispatch(event)
                        self.revision = watch.progress
                finally:
                    watch.close()
            except WatcherTooSlow as error:
                log.warning("fell behind the store", extra=fields(error=str(error)))
            except Compacted as error:
                log.error("the store forgot changes that were not handed out", extra=fields(error=str(error)))
                self._end_all(to_api_error(error))
                self.revision = self._store.status().revision
            except StoreError as error:
                log.warning("the store can't be followed", extra=fields(error=str(error)))
                self._end_all(to_api_error(error))
                await self._clock.sleep(RETRY_SECONDS)

    def _dispatch(self, event: Event) -> None:
        watchers = self._watchers.get(split_path(event.key)[0])
        if watchers is None:
            return
        change = self._change(event)
        for subscription in watchers.concerned(change):
            subscription.offer(change)

    def _change(self, event: Event) -> ChangeSeen:
        resource, namespace, _ = split_path(event.key)
        return ChangeSeen(kind_for_resource(resource), namespace, event)

    async def _send_bookmarks(self) -> None:
        """Tell watchers how far they are although nothing of theirs changed, so that they resume from there."""
        sent = self.revision
        while True:
            await self._clock.sleep(BOOKMARK_SECONDS)
            if self.revision == sent:
                continue
            sent = self.revision
            for resource, watchers in self._watchers.items():
                kind = kind_for_resource(resource)
                for subscription in watchers.everyone():
                    if subscription.bookmarks and subscription.after <= sent:
                        subscription.put(subscription.form.bookmark(kind, sent))

    def _end_all(self, error: errors.ApiError) -> None:
        for watchers in self._watchers.values():
            for subscription in watchers.everyone():
                subscription.end(error)
