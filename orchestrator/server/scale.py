"""The scale subresource: the number of replicas of anything that has one, in one shape for all."""

from __future__ import annotations

from orchestrator.api import errors
from orchestrator.api.kinds import Kind, KubeObject, kind_of
from orchestrator.api.selectors import from_label_selector, from_labels
from orchestrator.api.v1 import Deployment, ReplicaSet, ReplicationController, Scale, StatefulSet
from orchestrator.server.encoding import Stored, encode
from orchestrator.server.outcome import Outcome, Written
from orchestrator.server.rules import check_same, invalid

Scalable = Deployment | ReplicaSet | ReplicationController | StatefulSet


def as_scalable(kind: Kind, obj: KubeObject) -> Scalable:
    """`obj`, if it can be scaled. Raises MethodNotAllowed."""
    if isinstance(obj, Deployment | ReplicaSet | ReplicationController | StatefulSet):
        return obj
    raise errors.MethodNotAllowed.of(f"{kind.resource}/scale", "this")


def scale_of(obj: Scalable) -> Scale:
    """The scale an object shows, with its resourceVersion."""
    meta = obj.metadata
    scale = Scale()
    scale.metadata.name = meta.name
    scale.metadata.namespace = meta.namespace
    scale.metadata.uid = meta.uid
    scale.metadata.resource_version = meta.resource_version
    scale.metadata.creation_timestamp.CopyFrom(meta.creation_timestamp)
    scale.spec.replicas = obj.spec.replicas
    scale.status.replicas = obj.status.replicas
    scale.status.selector = _selector(obj)
    return scale


def _selector(obj: Scalable) -> str:
    if isinstance(obj, ReplicationController):
        return str(from_labels(obj.spec.selector))
    return str(from_label_selector(obj.spec.selector))


def stored_scale(stored: Stored) -> Stored:
    """The scale of a stored object, as something to answer with."""
    kind = kind_of(Scale)
    return Stored(kind, encode(kind, scale_of(as_scalable(stored.kind, stored.decode()))), stored.revision)


def apply_scale(kind: Kind, old: KubeObject, scale: Scale) -> Outcome:
    """`old`, changed in place, with the replicas of `scale`. Raises Conflict, Invalid, MethodNotAllowed."""
    target = as_scalable(kind, old)
    check_same(kind, old, scale)
    if scale.spec.replicas < 0:
        fault = errors.invalid("spec.replicas", scale.spec.replicas, "must be greater than or equal to 0")
        raise invalid(kind_of(Scale), scale, [fault])
    if target.spec.replicas != scale.spec.replicas:
        target.spec.replicas = scale.spec.replicas
        target.metadata.generation += 1
    return Written(target)
