"""Garbage collection by owner references: what belongs to something that is gone goes too.

Three things happen here. An object all of whose owners are gone is deleted. An object in foreground deletion waits
until the dependents that block it are gone, and they are deleted for it. An object whose dependents are to be orphaned
has itself removed from their references first.

An owner counts as gone when its end was seen here, or when it is missing in a cache of its kind that has reached the
revision at which the dependent was last written: the owner is older than that, so by then it would have been seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from orchestrator.api.errors import UnknownKind
from orchestrator.api.kinds import Kind, KubeObject, all_kinds, clone, kind_for, kind_of
from orchestrator.api.v1 import Event, OwnerReference
from orchestrator.controllers.informers import Informers
from orchestrator.runtime import Deletion, Plan
from orchestrator.runtime.reconciler import AnyInformer

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
LOOK_AGAIN_SECONDS = 1.0
# Owns nothing, is owned by nobody, and comes too often to be watched for nothing.
_IGNORED = (Event,)
# The uids of so many objects whose end was seen are remembered.
REMEMBERED = 10_000


class Owner(Enum):
    """How an owner is."""

    PRESENT = "present"
    WAITING = "waiting"  # in foreground deletion, for this very dependent
    GONE = "gone"
    UNKNOWN = "unknown"  # the cache is not far enough to tell


@dataclass(frozen=True, slots=True)
class Observed:
    obj: KubeObject
    owners: Mapping[str, Owner]  # by uid, of each owner reference
    dependents: Sequence[KubeObject]  # looked up only for an object in deletion


def decide(seen: Observed, now: datetime) -> Plan:
    obj = seen.obj
    metadata = obj.metadata
    if metadata.HasField("deletion_timestamp"):
        return _leaving(seen)
    states = [(owner, seen.owners[owner.uid]) for owner in metadata.owner_references]
    if not states:
        return Plan()
    if any(state is Owner.UNKNOWN for _, state in states):
        return Plan(requeue_after=LOOK_AGAIN_SECONDS)
    if any(state is Owner.PRESENT for _, state in states):
        gone = {owner.uid for owner, state in states if state is not Owner.PRESENT}
        return Plan(update=[_without_owners(obj, gone)] if gone else [])
    # An object that is itself waited for takes its own dependents along in the same way.
    waited_for = any(state is Owner.WAITING for _, state in states)
    # Otherwise its own finalizers say how, if somebody has put any.
    return Plan(delete=[Deletion(obj, propagation="Foreground" if waited_for and seen.dependents else None)])


def _leaving(seen: Observed) -> Plan:
    """What an object in deletion waits for here."""
    obj = seen.obj
    uid = obj.metadata.uid
    if ORPHAN in obj.metadata.finalizers:
        if seen.dependents:
            return Plan(
                update=[_without_owners(each, {uid}) for each in seen.dependents], requeue_after=LOOK_AGAIN_SECONDS
            )
        return Plan(update=[_without_finalizer(obj, ORPHAN)])
    if FOREGROUND in obj.metadata.finalizers and not any(_blocks(each, uid) for each in seen.dependents):
        return Plan(update=[_without_finalizer(obj, FOREGROUND)])
    return Plan()


def _blocks(dependent: KubeObject, uid: str) -> bool:
    return any(each.uid == uid and each.block_owner_deletion for each in dependent.metadata.owner_references)


def _without_owners(obj: KubeObject, uids: Iterable[str]) -> KubeObject:
    changed = clone(obj)
    kept = [each for each in obj.metadata.owner_references if each.uid not in uids]
    del changed.metadata.owner_references[:]
    changed.metadata.owner_references.extend(kept)
    return changed


def _without_finalizer(obj: KubeObject, finalizer: str) -> KubeObject:
    changed = clone(obj)
    kept = [each for each in obj.metadata.finalizers if each != finalizer]
    del changed.metadata.finalizers[:]
    changed.metadata.finalizers.extend(kept)
    return changed


class GarbageCollector:
    """Shows each object its owners and dependents. A key is resource/namespace/name."""

    name = "garbage-collector"

    def __init__(self, informers: Informers) -> None:
        self._informers = {
            kind.resource: informers.of(kind.message) for kind in all_kinds() if kind.message not in _IGNORED
        }
        for informer in self._informers.values():
            informer.add_index("owner", _owner_uids)
        self._gone: OrderedDict[str, None] = OrderedDict()

    def informers(self) -> Sequence[AnyInformer]:
        return tuple(self._informers.values())

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        metadata = obj.metadata
        leaving = metadata.HasField("deletion_timestamp")
        if leaving or metadata.owner_references:
            yield _key(obj)
        for owner in metadata.owner_references:
            # An owner in deletion may wait for this one to go.
            found = self._owner(owner, metadata.namespace)
            if found is not None and found.metadata.HasField("deletion_timestamp"):
                yield _key(found)
        current = informer.get(metadata.namespace, metadata.name)
        gone = current is None or current.metadata.uid != metadata.uid
        if gone:
            self._remember(metadata.uid)
        if leaving or gone:
            for dependent in self._dependents(metadata.uid):
                yield _key(dependent)

    def observe(self, key: str) -> Observed | None:
        resource, namespace, name = key.split("/")
        obj = self._informers[resource].get(namespace, name)
        if obj is None:
            return None
        owners = {owner.uid: self._state(owner, obj) for owner in obj.metadata.owner_references}
        deleted = obj.metadata.HasField("deletion_timestamp") or Owner.WAITING in owners.values()
        return Observed(obj, owners, list(self._dependents(obj.metadata.uid)) if deleted else ())

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)

    def _remember(self, uid: str) -> None:
        """A uid never comes back, so whatever names this one as its owner has lost it."""
        self._gone[uid] = None
        self._gone.move_to_end(uid)
        if len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)

    def _dependents(self, uid: str) -> Iterator[KubeObject]:
        for informer in self._informers.values():
            yield from informer.by_index("owner", uid)

    def _owner(self, owner: OwnerReference, namespace: str) -> KubeObject | None:
        """The object a reference means, as the cache has it. Another one of its name doesn't count."""
        kind = _kind_of(owner)
        informer = self._informers.get(kind.resource) if kind is not None else None
        if kind is None or informer is None:
            return None
        found: KubeObject | None = informer.get(namespace if kind.namespaced else "", owner.name)
        return found if found is not None and found.metadata.uid == owner.uid else None

    def _state(self, owner: OwnerReference, dependent: KubeObject) -> Owner:
        kind = _kind_of(owner)
        informer = self._informers.get(kind.resource) if kind is not None else None
        if kind is None or informer is None or (kind.namespaced and not dependent.metadata.namespace):
            # Of a kind that is not known here, or in a namespace that nobody can name: nothing can be said of it, so
            # nothing is done.
            return Owner.PRESENT
        found = self._owner(owner, dependent.metadata.namespace)
        if found is None:
            if owner.uid in self._gone:
                return Owner.GONE
            far_enough = informer.resource_version >= int(dependent.metadata.resource_version or 0)
            return Owner.GONE if far_enough else Owner.UNKNOWN
        if FOREGROUND in found.metadata.finalizers and found.metadata.HasField("deletion_timestamp"):
            return Owner.WAITING
        return Owner.PRESENT


def _kind_of(owner: OwnerReference) -> Kind | None:
    try:
        return kind_for(owner.api_version, owner.kind)
    except UnknownKind:
        return None


def _owner_uids(obj: KubeObject) -> Iterable[str]:
    return [owner.uid for owner in obj.metadata.owner_references]


def _key(obj: KubeObject) -> str:
    return f"{kind_of(obj).resource}/{obj.metadata.namespace}/{obj.metadata.name}"
