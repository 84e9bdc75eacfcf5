"""In which bytes a watcher gets its events: each door has its own form.

A change is put into a form once, whoever watches in it. Forms are compared by identity, or by value where one is made
for each request, so that equal ones share what was made.
"""

from __future__ import annotations

from typing import Protocol

from orchestrator.api.kinds import Kind
from orchestrator.api.v1 import WatchEvent
from orchestrator.server.encoding import Stored, bookmark, watch_event


class Form(Protocol):
    """Hashable."""

    def event(self, event_type: WatchEvent.Type.ValueType, stored: Stored) -> bytes:
        """An object that was added, modified or deleted."""

    def bookmark(self, kind: Kind, revision: int, *, initial_events_end: bool = False) -> bytes:
        """Everything up to `revision` has been sent."""


class WireForm:
    """Serialized WatchEvents, as the gRPC door sends them."""

    def event(self, event_type: WatchEvent.Type.ValueType, stored: Stored) -> bytes:
        return watch_event(event_type, stored.wire())

    def bookmark(self, kind: Kind, revision: int, *, initial_events_end: bool = False) -> bytes:
        return bookmark(kind, revision, initial_events_end=initial_events_end)


WIRE = WireForm()
