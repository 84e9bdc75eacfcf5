"""Who belongs to whom: the controlling owner of an object, and claiming objects that match a selector. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator.api.kinds import KubeObject, clone, kind_of
from orchestrator.api.v1 import OwnerReference

K = TypeVar("K", bound=KubeObject)


def controller_of(obj: KubeObject) -> OwnerReference | None:
    """The one owner that manages the object, if it has one."""
    for owner in obj.metadata.owner_references:
        if owner.controller:
            return owner
    return None


def is_controlled_by(obj: KubeObject, owner: KubeObject) -> bool:
    found = controller_of(obj)
    return found is not None and found.uid == owner.metadata.uid


def controller_key(obj: KubeObject, kind: str) -> list[str]:
    """The key of the controlling owner, when it is of that kind."""
    owner = controller_of(obj)
    return [f"{obj.metadata.namespace}/{owner.name}"] if owner is not None and owner.kind == kind else []


def controller_uid(obj: KubeObject) -> Sequence[str]:
    """The index function that files objects under the uid of their controlling owner."""
    owner = controller_of(obj)
    return [owner.uid] if owner is not None else []


def orphaned_in(obj: KubeObject) -> Sequence[str]:
    """The index function that files objects without a controlling owner under their namespace."""
    return [obj.metadata.namespace] if controller_of(obj) is None else []


def owner_reference(owner: KubeObject) -> OwnerReference:
    """The reference that makes `owner` the controller, and lets its foreground deletion wait."""
    kind = kind_of(owner)
    return OwnerReference(
        api_version=kind.api_version,
        kind=kind.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


@dataclass(frozen=True, slots=True)
class Claims(Generic[K]):
    """What belongs to an owner, and the updates that make it so. Adopted objects belong as soon as they are written."""

    owned: list[K]
    updates: list[K]


def claim(owner: KubeObject, candidates: Iterable[K], matches: Callable[[K], bool]) -> Claims[K]:
    """Adopts matching orphans and lets go of owned objects that no longer match, as Kubernetes' controllers do.

    An owner or object on its way out adopts nothing and is not adopted.
    """
    claims: Claims[K] = Claims([], [])
    leaving = owner.metadata.HasField("deletion_timestamp")
    uid = owner.metadata.uid
    for obj in candidates:
        controller = controller_of(obj)
        if controller is not None and controller.uid == uid:
            if matches(obj) or leaving:
                claims.owned.append(obj)
            else:
                released = clone(obj)
                kept = [each for each in obj.metadata.owner_references if each.uid != uid]
                del released.metadata.owner_references[:]
                released.metadata.owner_references.extend(kept)
                claims.updates.append(released)
        elif controller is None and matches(obj) and not leaving and not obj.metadata.HasField("deletion_timestamp"):
            adopted = clone(obj)
            adopted.metadata.owner_references.append(owner_reference(owner))
            claims.updates.append(adopted)
    return claims
