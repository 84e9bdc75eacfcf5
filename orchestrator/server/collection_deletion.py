"""Deleting what a selector chooses in a collection: one deletion after the other, as if each were asked for.

It is no transaction. What is gone already, or has been replaced by another object of the name since it was listed, is
left out; an object that may not be deleted ends it, with those before it deleted.
"""

from __future__ import annotations

from orchestrator.api import errors
from orchestrator.api.v1 import DeleteRequest, ListRequest
from orchestrator.server.caller import Caller, authorize
from orchestrator.server.encoding import Stored
from orchestrator.server.listing import Collections, Page
from orchestrator.server.registry import Registry


class CollectionDeletion:
    """One instance a server."""

    def __init__(self, registry: Registry, collections: Collections) -> None:
        self._registry = registry
        self._collections = collections

    async def delete(self, caller: Caller, which: ListRequest, options: DeleteRequest) -> Page:
        """The deleted objects as they are afterwards, as a page without a next one. Raises as List and Delete do."""
        if options.uid or options.resource_version:
            raise errors.BadRequest("preconditions are about one object: they can't be given for a collection")
        page = await self._collections.read(caller, which)
        selection = page.selection
        authorize(caller, "deletecollection", selection.kind.resource, selection.namespace, "")
        deleted: list[Stored] = []
        revision = page.revision
        while True:
            for stored in page.items:
                gone = await self._delete(caller, stored, options)
                if gone is not None:
                    deleted.append(gone)
            if page.next is None or which.limit:
                return Page(selection, deleted, None, revision, 0)
            page = await self._collections.page(selection, page.next, 0)

    async def _delete(self, caller: Caller, stored: Stored, options: DeleteRequest) -> Stored | None:
        """None: somebody else was faster."""
        meta = stored.decode().metadata
        request = DeleteRequest()
        request.CopyFrom(options)
        request.key.resource = stored.kind.resource
        request.key.namespace, request.key.name = meta.namespace, meta.name
        request.uid = meta.uid
        try:
            return await self._registry.delete(caller, request)
        except (errors.NotFound, errors.Conflict):
            return None
