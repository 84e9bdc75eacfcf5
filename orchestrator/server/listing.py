"""List and watch: the verbs over all objects of a kind, or those of a namespace or selector.

A list is one revision of the store, also when it is read in pages: the opaque continue token carries the revision, and
when that has been compacted the list must start again (Expired). Without a selector nothing is decoded. A watch
without a resourceVersion begins with what there is and goes on from that list's revision.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import chain

from orchestrator.api import errors
from orchestrator.api.kinds import kind_for_resource
from orchestrator.api.selectors import FieldQuery, LabelQuery
from orchestrator.api.v1 import ListReply, ListRequest, WatchEvent, WatchRequest
from orchestrator.server.caller import Caller, authorize
from orchestrator.server.encoding import Stored, list_item
from orchestrator.server.forms import WIRE, Form
from orchestrator.server.keys import prefix_of
from orchestrator.server.store_errors import store_errors_mapped
from orchestrator.server.watching import Selection, WatchHub
from orchestrator.store import Compacted, Store

# So many objects are looked at before others get a turn.
CHUNK = 500
# So many bytes are in one reply or page before it ends: most fit the 4 MiB that gRPC clients take by default.
MAX_PAGE_BYTES = 2 << 20
# So many bytes are decoded before others get a turn.
DECODED_AT_ONCE = 256 << 10
# So many lists of one caller are made and sent at a time; the next ones wait, without holding anything.
LISTS_OF_ONE = 4
MAX_REVISION = 2**63 - 1
MAX_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a list the next page begins: the list's revision, the last key before it, and how many are before it."""

    revision: int
    after: str
    seen: int

    def token(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.revision, self.after, self.seen]).encode()).decode()

    @classmethod
    def parse(cls, token: str) -> Position:
        """Raises BadRequest for what is no token of ours."""
        if len(token) > MAX_TOKEN:
            raise errors.BadRequest("continue key is not valid: it is too long")
        try:
            content = json.loads(base64.urlsafe_b64decode(token.encode()))
        except (ValueError, RecursionError, binascii.Error) as error:
            raise errors.BadRequest(f"continue key is not valid: {error}") from error
        match content:
            case [int(revision), str(after), int(seen)] if 0 < revision <= MAX_REVISION and 0 <= seen <= MAX_REVISION:
                return cls(int(revision), after, int(seen))
            case _:
                raise errors.BadRequest("continue key is not valid: unexpected content")


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of a collection, and how many of the collection come after them (of all, selected or not)."""

    selection: Selection
    items: list[Stored]
    next: Position | None
    revision: int
    remaining: int


class Collections:
    """The verbs over collections. One instance a server."""

    def __init__(self, store: Store, hub: WatchHub) -> None:
        self._store = store
        self._hub = hub

    async def list(self, caller: Caller, request: ListRequest) -> bytes:
        """A serialized ListReply. Raises Expired, BadRequest."""
        return list_reply(await self.read(caller, request))

    async def read(self, caller: Caller, request: ListRequest) -> Page:
        """What a list asks for, or the beginning of it. Raises Expired, BadRequest."""
        selection = selection_of(request)
        authorize(caller, "list", selection.kind.resource, selection.namespace, "")
        if request.limit < 0:
            raise errors.BadRequest(f"invalid limit {request.limit}: must be greater than or equal to 0")
        token = getattr(request, "continue")
        if token and request.resource_version:
            raise errors.BadRequest("specifying resource version is not allowed when using continue")
        start = Position.parse(token) if token else Position(revision_of(request.resource_version), "", 0)
        try:
            return await self.page(selection, start, request.limit)
        except Compacted as error:
            raise errors.Expired(_too_old(token)) from error

    async def watch(self, caller: Caller, request: WatchRequest, form: Form = WIRE) -> AsyncGenerator[bytes, None]:
        """Events in a form, without end. Raises Expired, BadRequest, ServiceUnavailable."""
        selection = selection_of(request)
        authorize(caller, "watch", selection.kind.resource, selection.namespace, "")
        after = revision_of(request.resource_version)
        if not after:
            position: Position | None = Position(0, "", 0)
            while position is not None:
                try:
                    page = await self.page(selection, position, CHUNK)
                except Compacted as error:
                    # The reader took its time, and the list's revision is history: it has to begin anew.
                    raise errors.Expired(_too_old("")) from error
                for stored in page.items:
                    yield form.event(WatchEvent.ADDED, stored)
                after, position = page.revision, page.next
            if request.allow_bookmarks:
                yield form.bookmark(selection.kind, after, initial_events_end=True)
        bookmarks = request.allow_bookmarks
        async for encoded in self._hub.subscribe(selection, after=after, bookmarks=bookmarks, form=form):
            yield encoded

    async def page(self, selection: Selection, start: Position, limit: int) -> Page:
        """Up to `limit` (0: all) selected objects from a position on, or fewer that are large already.

        Raises Compacted, ServiceUnavailable.
        """
        prefix = prefix_of(selection.kind, selection.namespace)
        kind = selection.kind
        items: list[Stored] = []
        room = MAX_PAGE_BYTES
        while True:
            size = limit - len(items) if limit and selection.everything else (0 if selection.everything else CHUNK)
            with store_errors_mapped(letting=Compacted):
                found = await self._store.range(prefix, start_after=start.after, limit=size, revision=start.revision)
            position = start
            full = False
            decoded = 0
            for count, each in enumerate(found.items, start=1):
                stored = Stored(kind, each.value, each.mod_revision)
                if not selection.everything:
                    decoded += len(each.value)
                    if decoded > DECODED_AT_ONCE:
                        decoded = 0
                        await asyncio.sleep(0)
                if selection.everything or selection.matches(stored.decode()):
                    items.append(stored)
                    room -= len(each.value)
                position = Position(found.revision, each.key, start.seen + count)
                full = room <= 0 or (limit > 0 and len(items) == limit)
                if full:
                    break
            more = found.more or (bool(found.items) and position.after != found.items[-1].key)
            if not more or full:
                return Page(selection, items, position if more else None, found.revision, found.count - position.seen)
            start = position
            await asyncio.sleep(0)


def list_reply(page: Page) -> bytes:
    """A serialized ListReply."""
    tail = ListReply(resource_version=str(page.revision))
    if page.next is not None:
        setattr(tail, "continue", page.next.token())
        if page.selection.everything:
            tail.remaining_item_count = page.remaining
    return b"".join((*chain.from_iterable(map(list_item, page.items)), tail.SerializeToString()))


def selection_of(request: ListRequest | WatchRequest) -> Selection:
    kind = kind_for_resource(request.resource)
    prefix_of(kind, request.namespace)  # refuses a namespace where there can be none
    return Selection(
        kind,
        request.namespace,
        LabelQuery.parse(request.label_selector),
        FieldQuery.parse(request.field_selector, kind.kind),
    )


def revision_of(text: str) -> int:
    """0 for "" and "0", which both mean: what there is now. Raises BadRequest."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_REVISION)):
        raise errors.BadRequest(f'invalid resource version "{text}": must be a number')
    return int(text)


def _too_old(token: str) -> str:
    if token:
        return (
            "The provided continue parameter is too old to display a consistent list result. "
            "You can start a new list without the continue parameter."
        )
    return "The resourceVersion for the provided list is too old."
