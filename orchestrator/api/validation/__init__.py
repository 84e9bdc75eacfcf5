"""Is this object allowed? All faults at once, each with its path, in Kubernetes' wording.

`validate` looks at one object, after defaults; `validate_update` at a change from one to the next: what may not change.
Both are pure, and an update must pass both. What depends on other objects (a free node port, an existing namespace) is
not decided here.

Each kind's rules are in the file of its group. They are generators of faults over (message, path), so that a Pod and
the template of a Deployment share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

from google.protobuf.message import Message

from orchestrator.api import names
from orchestrator.api.errors import FieldError, not_supported, required
from orchestrator.api.names import NameRule
from orchestrator.api.v1 import (
    CLUSTER,
    Binding,
    ConfigMap,
    Deployment,
    EndpointSlice,
    Event,
    Lease,
    Namespace,
    Node,
    ObjectMeta,
    Pod,
    ReplicaSet,
    Scale,
    Secret,
    Service,
    ServiceAccount,
    options_pb2,
)
from orchestrator.api.validation import (
    apps,
    config,
    coordination,
    discovery,
    event,
    meta,
    namespace,
    node,
    pod,
    service,
)

M = TypeVar("M", bound=Message)
Faults = Iterator[FieldError]


@dataclass(frozen=True, slots=True)
class _Rules:
    """What is asked of objects of one kind."""

    check: Callable[[Message], Faults]
    check_update: Callable[[Message, Message], Faults]
    name_rule: NameRule


def validate(obj: Message) -> list[FieldError]:
    """Everything that is wrong with an object; empty when it may be stored."""
    rules = _RULES[obj.DESCRIPTOR.full_name]
    metadata: ObjectMeta = getattr(obj, "metadata")  # noqa: B009 - every kind has one, which Message doesn't say
    namespaced = obj.DESCRIPTOR.GetOptions().Extensions[options_pb2.resource].scope != CLUSTER
    faults = list(meta.metadata(metadata, namespaced=namespaced, name_rule=rules.name_rule))
    faults += rules.check(obj)
    return faults


def validate_update(new: Message, old: Message) -> list[FieldError]:
    """Every change that is not allowed. `new` must pass `validate` too."""
    new_metadata: ObjectMeta = getattr(new, "metadata")  # noqa: B009
    old_metadata: ObjectMeta = getattr(old, "metadata")  # noqa: B009
    faults = list(meta.metadata_update(new_metadata, old_metadata))
    faults += _RULES[new.DESCRIPTOR.full_name].check_update(new, old)
    return faults


_RULES: dict[str, _Rules] = {}


def _nothing(obj: Message) -> Faults:
    return iter(())


def _free(new: Message, old: Message) -> Faults:
    return iter(())


def _kind(
    message: type[M],
    check: Callable[[M], Faults] = _nothing,
    update: Callable[[M, M], Faults] = _free,
    name: NameRule = names.subdomain,
) -> None:
    _RULES[message.DESCRIPTOR.full_name] = _Rules(
        cast(Callable[[Message], Faults], check), cast(Callable[[Message, Message], Faults], update), name
    )


def _binding(obj: Binding) -> Faults:
    if obj.target.kind not in {"", "Node"}:
        yield not_supported("target.kind", obj.target.kind, ["Node", "<empty>"])
    if not obj.target.name:
        yield required("target.name")


_kind(Pod, pod.pod, pod.pod_update)
_kind(Node, node.node, node.node_update)
_kind(Namespace, namespace.namespace, name=names.label)
_kind(Service, service.service, service.service_update, name=names.label_1035)
_kind(ConfigMap, config.config_map, config.config_map_update)
_kind(Secret, config.secret, config.secret_update)
_kind(ServiceAccount)
_kind(Event, event.event)
_kind(EndpointSlice, discovery.endpoint_slice, discovery.endpoint_slice_update)
_kind(Lease, coordination.lease)
_kind(ReplicaSet, apps.replica_set, apps.replica_set_update)
_kind(Deployment, apps.deployment, apps.deployment_update)
_kind(Binding, _binding)
_kind(Scale, apps.scale)
