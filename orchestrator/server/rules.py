"""What the verbs do to an object before it is stored: pure decisions, one function a verb.

The functions change the new object, which belongs to the request, in place, and neither read nor write anything else:
the time, a uid and the stored object are given to them. They raise what is wrong with the request as API errors.

The rules are Kubernetes': the system's part of the metadata can't be written by clients; `generation` counts changes of
the spec; an update of an object with a status subresource leaves the status alone, and one of the status leaves
everything else alone.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache

from google.protobuf.message import Message

from orchestrator.api import errors
from orchestrator.api.allocated import keep_allocated
from orchestrator.api.creation import complete_new
from orchestrator.api.defaults import set_defaults
from orchestrator.api.generated_names import NAME_LIMIT, SUFFIX_LENGTH
from orchestrator.api.kinds import Kind, KubeObject, as_message, clone
from orchestrator.api.v1 import Binding, CertificateSigningRequest, Namespace, ObjectMeta, Pod, options_pb2
from orchestrator.api.validation import validate, validate_status, validate_status_update, validate_update
from orchestrator.pki import Identity
from orchestrator.server.deletion import is_released
from orchestrator.server.outcome import REMOVED, Outcome, Written

POD_SCHEDULED = "PodScheduled"


def prepare_create(kind: Kind, obj: KubeObject, *, uid: str, now: datetime, who: Identity) -> None:
    """Make `obj` what a create by `who` stores. Raises BadRequest, Invalid."""
    meta = obj.metadata
    if meta.resource_version:
        raise errors.BadRequest("resourceVersion should not be set on objects to be created")
    meta.uid = uid
    meta.creation_timestamp.FromDatetime(now.replace(microsecond=0))
    meta.ClearField("deletion_timestamp")
    meta.ClearField("deletion_grace_period_seconds")
    meta.ClearField("self_link")
    if _has_field(kind, "spec"):
        meta.generation = 1
    else:
        meta.ClearField("generation")
    if _status_is_the_systems(kind):
        as_message(obj).ClearField("status")
    set_defaults(as_message(obj))
    complete_new(obj, user=who.name, groups=who.groups)
    faults = validate(obj)
    if faults:
        raise invalid(kind, obj, faults)


def prepare_update(kind: Kind, old: KubeObject, new: KubeObject) -> Outcome:
    """Make `new` what an update of `old` stores. Raises Conflict, BadRequest, Invalid."""
    check_same(kind, old, new)
    meta = new.metadata
    _keep_system_metadata(old.metadata, meta)
    if has_status(kind):
        _copy_message(as_message(old), as_message(new), "status")
    set_defaults(as_message(new))
    keep_allocated(new, old)
    meta.generation = old.metadata.generation
    if _has_field(kind, "spec") and _spec(old) != _spec(new):
        meta.generation += 1
    added = set(meta.finalizers) - set(old.metadata.finalizers)
    if added and meta.HasField("deletion_timestamp"):
        names = ", ".join(sorted(added))
        why = f"no new finalizers can be added if the object is being deleted, found new finalizers [{names}]"
        raise invalid(kind, new, [errors.forbidden("metadata.finalizers", why)])
    faults = validate(new) + validate_update(new, old)
    if faults:
        raise invalid(kind, new, faults)
    return REMOVED if is_released(new) else Written(new)


def prepare_status(kind: Kind, old: KubeObject, new: KubeObject) -> Outcome:
    """`old` with the status of `new`; everything else in `new` is ignored. `old` is changed in place."""
    check_same(kind, old, new)
    before = clone(old)
    _copy_message(as_message(new), as_message(old), "status")
    faults = validate_status(old) + validate_status_update(old, before)
    if faults:
        raise invalid(kind, old, faults)
    return Written(old)


def prepare_approval(kind: Kind, old: KubeObject, new: KubeObject, now: datetime) -> Outcome:
    """`old` with the decisions of `new` about a request for a certificate; everything else in `new` is ignored."""
    check_same(kind, old, new)
    if not isinstance(old, CertificateSigningRequest) or not isinstance(new, CertificateSigningRequest):
        raise errors.MethodNotAllowed.of(f"{kind.resource}/approval", "this")
    before = clone(old)
    del old.status.conditions[:]
    old.status.conditions.extend(new.status.conditions)
    for condition in old.status.conditions:
        if not condition.HasField("last_update_time"):
            condition.last_update_time.FromDatetime(now.replace(microsecond=0))
        if not condition.HasField("last_transition_time"):
            condition.last_transition_time.FromDatetime(now.replace(microsecond=0))
    faults = validate_status(old) + validate_status_update(old, before)
    if faults:
        raise invalid(kind, old, faults)
    return Written(old)


def prepare_finalize(kind: Kind, old: KubeObject, new: KubeObject) -> Outcome:
    """`old` with the spec.finalizers of `new`; without any, a namespace under deletion goes."""
    check_same(kind, old, new)
    if isinstance(old, Namespace) and isinstance(new, Namespace):
        del old.spec.finalizers[:]
        old.spec.finalizers.extend(new.spec.finalizers)
    return REMOVED if is_released(old) else Written(old)


def prepare_binding(pod: Pod, binding: Binding, now: datetime) -> Outcome:
    """`pod`, changed in place, on the node that `binding` names. Raises Conflict, Invalid."""
    name = pod.metadata.name
    if not binding.target.name:
        raise errors.Invalid.of("Binding", name, [errors.required("target.name", "")])
    if binding.target.kind not in {"", "Node"}:
        raise errors.Invalid.of("Binding", name, [errors.not_supported("target.kind", binding.target.kind, ["Node"])])
    if binding.metadata.uid and binding.metadata.uid != pod.metadata.uid:
        raise errors.Conflict.of("pods/binding", name, _other_uid(binding.metadata.uid, pod.metadata.uid))
    if pod.metadata.HasField("deletion_timestamp"):
        raise errors.Conflict.of("pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod.spec.node_name:
        why = f'pod {name} is already assigned to node "{pod.spec.node_name}"'
        raise errors.Conflict.of("pods/binding", name, why)
    pod.spec.node_name = binding.target.name
    for key, value in binding.metadata.annotations.items():
        pod.metadata.annotations[key] = value
    condition = next((c for c in pod.status.conditions if c.type == POD_SCHEDULED), None)
    if condition is None:
        condition = pod.status.conditions.add(type=POD_SCHEDULED)
    if condition.status != "True":
        condition.last_transition_time.FromDatetime(now.replace(microsecond=0))
    condition.status = "True"
    condition.ClearField("reason")
    condition.ClearField("message")
    return Written(pod)


def check_same(kind: Kind, old: KubeObject, new: KubeObject) -> None:
    """Raise Conflict unless `new` was made from `old`, as far as its resourceVersion and uid tell."""
    name = old.metadata.name
    version, uid = new.metadata.resource_version, new.metadata.uid
    if version and version != old.metadata.resource_version:
        raise errors.Conflict.of(kind.resource, name)
    if uid and uid != old.metadata.uid:
        raise errors.Conflict.of(kind.resource, name, _other_uid(uid, old.metadata.uid))


def generated_name(base: str, suffix: str) -> str:
    """The name a generateName of `base` gets with a random suffix: long bases are cut, the suffix is always whole."""
    return base[: NAME_LIMIT - SUFFIX_LENGTH] + suffix


def invalid(kind: Kind, obj: KubeObject, faults: list[errors.FieldError]) -> errors.Invalid:
    """The error for an object with these faults."""
    return errors.Invalid.of(kind.group_kind, obj.metadata.name, faults)


def has_status(kind: Kind) -> bool:
    """True when the status is written through its own subresource."""
    return "status" in kind.subresources


def _other_uid(wanted: str, found: str) -> str:
    return f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"


def _keep_system_metadata(old: ObjectMeta, new: ObjectMeta) -> None:
    new.uid = old.uid
    new.self_link = old.self_link
    for field in ("creation_timestamp", "deletion_timestamp"):
        _copy_message(old, new, field)
    if old.HasField("deletion_grace_period_seconds"):
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds
    else:
        new.ClearField("deletion_grace_period_seconds")


def _copy_message(source: Message, target: Message, field: str) -> None:
    """Make a message field of `target` what it is in `source`, absent if it is absent there."""
    if source.HasField(field):
        getattr(target, field).CopyFrom(getattr(source, field))
    else:
        target.ClearField(field)


def _spec(obj: KubeObject) -> object:
    return getattr(obj, "spec", None)


@cache
def _status_is_the_systems(kind: Kind) -> bool:
    """A node registers with its status; everything else that has one begins without."""
    status = kind.descriptor.fields_by_name.get("status")
    return status is not None and status.GetOptions().Extensions[options_pb2.output_only]


def _has_field(kind: Kind, field: str) -> bool:
    return field in kind.descriptor.fields_by_name
