"""Keeping account of who manages which field (metadata.managedFields), around the decision of a write.

Account is kept where the writer names itself, and for objects that have one already; others, as our own controllers
write them by the thousand, neither pay for it nor carry it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from orchestrator.api import errors
from orchestrator.api.apply import Manager, record_update
from orchestrator.api.apply.managers import UPDATE, read
from orchestrator.api.codec import JsonObject, to_json
from orchestrator.api.kinds import Kind, KubeObject
from orchestrator.api.v1 import ManagedFieldsEntry
from orchestrator.server.outcome import Outcome, Written

UNKNOWN = "unknown"


def managed(
    kind: Kind, decide: Callable[[KubeObject], Outcome], field_manager: str, subresource: str, now: datetime
) -> Callable[[KubeObject], Outcome]:
    """`decide`, with what it changes put to the manager's account."""

    def decide_and_record(old: KubeObject) -> Outcome:
        entries = [_copy(each) for each in old.metadata.managed_fields]
        if not field_manager and not entries:
            return decide(old)
        before = to_json(old)
        outcome = decide(old)
        if isinstance(outcome, Written):
            record(kind, before, outcome.obj, entries, field_manager, subresource, now)
        return outcome

    return decide_and_record


def record(
    kind: Kind,
    before: JsonObject | None,
    obj: KubeObject,
    entries: list[ManagedFieldsEntry],
    field_manager: str,
    subresource: str,
    now: datetime,
) -> None:
    """Put what `obj` has and `before` has not to the manager's account. `entries`: who managed what before."""
    given = obj.metadata.managed_fields
    if len(given) == 1 and not given[0].ByteSize():
        # A single empty entry is how a client asks for the account to be closed.
        del obj.metadata.managed_fields[:]
        return
    base = [_copy(each) for each in given] if before is not None and _readable(given) else entries
    del obj.metadata.managed_fields[:]
    manager = Manager(field_manager or UNKNOWN, UPDATE, kind.api_version, subresource)
    after = to_json(obj)
    obj.metadata.managed_fields.extend(record_update(kind.descriptor, before, after, base, manager, now=now))


def _readable(given: Sequence[ManagedFieldsEntry]) -> bool:
    """Whether a client has sent an account that can go on. A damaged one counts as none: the object's own goes on."""
    try:
        return bool(read(given))
    except errors.BadRequest:
        return False


def _copy(entry: ManagedFieldsEntry) -> ManagedFieldsEntry:
    copy = ManagedFieldsEntry()
    copy.CopyFrom(entry)
    return copy
