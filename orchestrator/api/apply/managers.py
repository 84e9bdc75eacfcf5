"""The managers of an object's fields: what each has set, who conflicts with whom, and what an apply makes of it.

An apply says all that its manager wants: what it named last time and does not name now goes, unless somebody else
manages it too. To change what another manages is a conflict, which force settles for the applier. Every other write is
an update: what it changes becomes its manager's, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict, ParseDict

from orchestrator.api import errors
from orchestrator.api.apply.paths import Path, Paths, from_tree, show, to_tree, with_parents
from orchestrator.api.apply.typed import leaves, merge, without
from orchestrator.api.v1 import ManagedFieldsEntry

Json: TypeAlias = Any

APPLY: Final = "Apply"
UPDATE: Final = "Update"
BEFORE: Final = "before-first-apply"
"""Who manages what was there before anybody kept account."""
MAX_UPDATERS: Final = 10
"""Updating managers kept apart; the oldest beyond them are taken together."""
ANCIENT: Final = "ancient-changes"

_OF_SYSTEM: Final = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "creationTimestamp",
                "deletionGracePeriodSeconds",
                "deletionTimestamp",
                "generation",
                "managedFields",
                "name",
                "namespace",
                "resourceVersion",
                "selfLink",
                "uid",
            )
        ),
    }
)
"""Fields that nobody manages."""


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes, how, through which version of the API, and to which subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Managed:
    """What one manager has set, and when it last changed that."""

    manager: Manager
    paths: Paths
    time: datetime | None


@dataclass(frozen=True, slots=True)
class Applied:
    """The object's new content, without managedFields, and who manages what in it."""

    data: dict[str, Json]
    managed: Sequence[ManagedFieldsEntry]


def apply(
    descriptor: Descriptor,
    live: Mapping[str, Json] | None,
    config: Mapping[str, Json],
    entries: Sequence[ManagedFieldsEntry],
    manager: Manager,
    *,
    now: datetime,
    force: bool,
    last_applied: Mapping[str, Json] | None = None,
) -> Applied:
    """What applying `config` makes of `live` (None: there is no such object). Raises Conflict, BadRequest.

    `last_applied` is what the same person has applied from the client's side before: that is no conflict.
    """
    managers = read(entries)
    now = now.replace(microsecond=0)
    named = _own_paths(descriptor, config, manager)
    if live is None:
        return Applied(dict(config), write([Managed(manager, named, now)]))
    old = _of(descriptor, live)
    if not managers and old:
        managers = [Managed(Manager(BEFORE, UPDATE, manager.api_version), frozenset(_counted(old, manager)), now)]
    before = next((each.paths for each in managers if each.manager == manager), frozenset())
    others = [each for each in managers if each.manager != manager]
    merged = merge(descriptor, live, config)
    kept = with_parents(frozenset().union(named, *(each.paths for each in others)))
    new = without(descriptor, merged, with_parents(before) - kept)
    changed = _changed(old, _of(descriptor, new)) & (named | before)
    yielding = named if force else frozenset(_of(descriptor, last_applied or {}))
    others = _settle(others, changed, named, yielding)
    mine = Managed(manager, named, now)
    unchanged = next((each for each in managers if each.manager == manager and each.paths == named), None)
    if unchanged is not None and not changed:
        mine = unchanged
    return Applied(new, write([*others, mine]))


def record_update(
    descriptor: Descriptor,
    live: Mapping[str, Json] | None,
    new: Mapping[str, Json],
    entries: Sequence[ManagedFieldsEntry],
    manager: Manager,
    *,
    now: datetime,
) -> Sequence[ManagedFieldsEntry]:
    """Who manages what once `live` has been updated to `new` (None: it is created). Raises BadRequest."""
    managers = read(entries)
    now = now.replace(microsecond=0)
    before = _of(descriptor, live) if live is not None else {}
    after = _of(descriptor, new)
    gone = frozenset(before.keys() - after.keys())
    changed = _changed(before, after)
    mine = frozenset(path for path in changed if path in after)
    kept: list[Managed] = []
    own: Managed | None = None
    for each in managers:
        if each.manager == manager:
            own = each
            continue
        remaining = each.paths - gone - changed
        if remaining:
            kept.append(each if remaining == each.paths else replace(each, paths=remaining))
    paths = ((own.paths if own is not None else frozenset()) | mine) - gone
    if paths:
        same = own is not None and paths == own.paths and not mine
        kept.append(own if own is not None and same else Managed(manager, paths, now))
    return write(_few(kept))


def read(entries: Sequence[ManagedFieldsEntry]) -> list[Managed]:
    """The managers that an object names. Raises BadRequest."""
    found = []
    for entry in entries:
        manager = Manager(entry.manager, entry.operation, entry.api_version, entry.subresource)
        try:
            time = entry.time.ToDatetime(UTC) if entry.HasField("time") else None
            tree = MessageToDict(entry.fields_v1)
        except (ValueError, OverflowError, JsonError) as error:
            raise errors.BadRequest(f"managedFields: {error}") from error
        found.append(Managed(manager, from_tree(tree), time))
    return found


def write(managers: Sequence[Managed]) -> list[ManagedFieldsEntry]:
    """Entries in Kubernetes' order: appliers first, then by time and name."""
    entries = []
    for each in sorted(managers, key=_order):
        entry = ManagedFieldsEntry(
            manager=each.manager.name,
            operation=each.manager.operation,
            api_version=each.manager.api_version,
            subresource=each.manager.subresource,
            fields_type="FieldsV1",
        )
        if each.time is not None:
            entry.time.FromDatetime(each.time)
        ParseDict(to_tree(each.paths), entry.fields_v1)
        entries.append(entry)
    return entries


def _order(each: Managed) -> tuple[bool, str, str]:
    return each.manager.operation != APPLY, each.time.isoformat() if each.time is not None else "", each.manager.name


def _few(managers: list[Managed]) -> list[Managed]:
    """The managers, with the oldest updating ones taken together when there are too many."""
    updating = sorted((each for each in managers if each.manager.operation == UPDATE), key=_order)
    surplus = updating[: max(0, len(updating) - MAX_UPDATERS)]
    if not surplus:
        return managers
    last = surplus[-1]
    together = Manager(ANCIENT, UPDATE, last.manager.api_version)
    paths = frozenset().union(*(each.paths for each in surplus))
    return [each for each in managers if each not in surplus] + [Managed(together, paths, last.time)]


def _settle(others: Sequence[Managed], changed: Paths, named: Paths, yielding: Paths) -> list[Managed]:
    """The other managers after an apply that changes these fields. Raises Conflict for those that do not yield."""
    conflicts: list[tuple[Manager, Path]] = []
    remaining: list[Managed] = []
    for each in others:
        taken = each.paths & changed & named
        conflicts += [(each.manager, path) for path in sorted(taken - yielding)]
        left = each.paths - taken - (changed - named)
        if left:
            remaining.append(replace(each, paths=left) if left != each.paths else each)
    if conflicts:
        raise _conflict(conflicts)
    return remaining


def _conflict(conflicts: Sequence[tuple[Manager, Path]]) -> errors.Conflict:
    causes = tuple(
        errors.Cause("FieldManagerConflict", f"conflict with {_who(manager)}", show(path))
        for manager, path in conflicts
    )
    by_manager: dict[Manager, list[Path]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(manager, []).append(path)
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        text = f"Apply failed with 1 conflict: conflict with {_who(manager)}: {show(path)}"
    else:
        listed = "".join(
            f"\nconflicts with {_who(manager)}:" + "".join(f"\n- {show(path)}" for path in paths)
            for manager, paths in by_manager.items()
        )
        text = f"Apply failed with {len(conflicts)} conflicts:{listed}"
    return errors.Conflict(text, details=errors.Details(causes=causes))


def _who(manager: Manager) -> str:
    if manager.operation == UPDATE:
        where = f" with subresource {errors.show_value(manager.subresource)}" if manager.subresource else ""
        return f'"{manager.name}"{where} using {manager.api_version}'
    return f'"{manager.name}"'


def _own_paths(descriptor: Descriptor, config: Mapping[str, Json], manager: Manager) -> Paths:
    return frozenset(_counted(_of(descriptor, config), manager))


def _counted(found: Mapping[Path, Json], manager: Manager) -> set[Path]:
    """The fields that a write to the object, or to its status, can set."""
    status = manager.subresource == "status"
    return {path for path in found if (path[0] == "f:status") == status}


def _of(descriptor: Descriptor, data: Mapping[str, Json]) -> dict[Path, Json]:
    return {path: value for path, value in leaves(descriptor, data).items() if path not in _OF_SYSTEM}


def _changed(before: Mapping[Path, Json], after: Mapping[Path, Json]) -> Paths:
    """The fields that are new, gone or of another value."""
    differing = {path for path, value in after.items() if path not in before or before[path] != value}
    return frozenset(differing | (before.keys() - after.keys()))
