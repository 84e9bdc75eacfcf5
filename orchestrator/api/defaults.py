"""What an object means where it says nothing: absent fields get Kubernetes' defaults before the object is validated.

Two sources. Most defaults are options of the schema (`default_value`) and hold wherever the message around the field is
present; the descriptors are compiled once into a plan per message type, and types that lead to no default are never
entered. The others depend on more than one field and are rules here, by message type: a rule for PodSpec holds in a
Pod and in a Deployment's template alike. A rule runs before the messages below it, so what it adds gets its own
defaults. Quantities are brought into canonical form on the way ("0.5" becomes "500m"), as in Kubernetes, where an
object never comes back the way it was written.

`set_defaults` is idempotent, leaves everything that is set as it is, and never fails: what is malformed stays, for
validation to find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value

from orchestrator.api.conventions import NAMESPACE_FINALIZER, NOT_READY, UNREACHABLE
from orchestrator.api.kinds import KubeObject
from orchestrator.api.qos import qos_class
from orchestrator.api.quantity import QuantityError, canonical
from orchestrator.api.v1 import (
    Container,
    DeploymentStrategy,
    EphemeralContainer,
    ImageVolumeSource,
    Namespace,
    NodeSpec,
    NodeStatus,
    Pod,
    PodSpec,
    Secret,
    ServicePort,
    ServiceSpec,
    Toleration,
    Volume,
    options_pb2,
)

M = TypeVar("M", bound=Message)

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
# How long pods stay on a node that is not ready or not heard from, unless they say otherwise.
_EVICTION_TAINTS = (NOT_READY, UNREACHABLE)
_EVICTION_SECONDS = 300
_QUANTITY_MAPS = frozenset({"limits", "requests", "capacity", "allocatable", "allocated_resources", "overhead"})
_QUANTITY_FIELDS = frozenset({"size_limit", "divisor"})


def set_defaults(obj: KubeObject | Message) -> None:
    """Fill absent fields of an object, or of any part of one, in place."""
    _set_defaults(cast(Message, obj))


def _set_defaults(obj: Message) -> None:
    plan = _plan(obj.DESCRIPTOR)
    for fill in plan.fills:
        fill(obj)
    rule = _RULES.get(obj.DESCRIPTOR.full_name)
    if rule is not None:
        rule(obj)
    for name in plan.single:
        if obj.HasField(name):
            _set_defaults(getattr(obj, name))
    for name in plan.repeated:
        for item in getattr(obj, name):
            _set_defaults(item)


# --- defaults in the schema


@dataclass(slots=True)
class _Plan:
    """What to do with messages of one type: set fields, then enter those that may have more to set."""

    fills: list[Callable[[Message], None]] = field(default_factory=list)
    single: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)


@lru_cache(maxsize=1024)
def _plan(descriptor: Descriptor) -> _Plan:
    plan = _Plan()
    for field_descriptor in descriptor.fields:
        fill = _fill(field_descriptor)
        if fill is not None:
            plan.fills.append(fill)
        below = field_descriptor.message_type
        if below is None or below.GetOptions().map_entry or not _reaches_defaults(below):
            continue
        (plan.repeated if field_descriptor.is_repeated else plan.single).append(field_descriptor.name)
    return plan


@lru_cache(maxsize=1024)
def _reaches_defaults(descriptor: Descriptor) -> bool:
    seen: set[str] = set()
    pending = [descriptor]
    while pending:
        one = pending.pop()
        if one.full_name in seen:
            continue
        seen.add(one.full_name)
        if one.full_name in _RULES or any(_fill(each) is not None for each in one.fields):
            return True
        pending += [each.message_type for each in one.fields if each.message_type is not None]
    return False


def _fill(descriptor: FieldDescriptor) -> Callable[[Message], None] | None:
    """What sets this field when it is absent, or rewrites the quantities in it."""
    name = descriptor.name
    entry = descriptor.message_type if descriptor.is_repeated else None
    if entry is not None and entry.GetOptions().map_entry:
        return _canonical_map(name) if name in _QUANTITY_MAPS else None
    is_text = descriptor.type == FieldDescriptor.TYPE_STRING and not descriptor.is_repeated
    default = _fill_default(descriptor)
    if is_text and name in _QUANTITY_FIELDS:
        return _canonical_field(name, default)
    return default


def _fill_default(descriptor: FieldDescriptor) -> Callable[[Message], None] | None:
    options = descriptor.GetOptions()
    if not options.HasExtension(options_pb2.default_value):
        return None
    name = descriptor.name
    text = options.Extensions[options_pb2.default_value]
    if descriptor.message_type is not None:
        if descriptor.message_type.full_name == Value.DESCRIPTOR.full_name:
            value = Value(number_value=int(text)) if text.lstrip("-").isdigit() else Value(string_value=text)
            return _fill_message(name, value)
        return _fill_message(name, None)
    scalar: str | int | bool = text
    if descriptor.type == FieldDescriptor.TYPE_BOOL:
        scalar = text == "true"
    elif descriptor.type != FieldDescriptor.TYPE_STRING:
        scalar = int(text)
    return _fill_scalar(name, scalar, has_presence=descriptor.has_presence)


def _fill_message(name: str, value: Value | None) -> Callable[[Message], None]:
    def fill(obj: Message) -> None:
        if not obj.HasField(name):
            target: Message = getattr(obj, name)
            target.SetInParent()
            if value is not None:
                target.CopyFrom(value)

    return fill


def _fill_scalar(name: str, value: str | int | bool, *, has_presence: bool) -> Callable[[Message], None]:
    def fill(obj: Message) -> None:
        absent = not obj.HasField(name) if has_presence else not getattr(obj, name)
        if absent:
            setattr(obj, name, value)

    return fill


def _canonical_map(name: str) -> Callable[[Message], None]:
    def fill(obj: Message) -> None:
        amounts: dict[str, str] = getattr(obj, name)
        for key, amount in list(amounts.items()):
            rewritten = _canonical(amount)
            if rewritten != amount:
                amounts[key] = rewritten

    return fill


def _canonical_field(name: str, default: Callable[[Message], None] | None) -> Callable[[Message], None]:
    def fill(obj: Message) -> None:
        if default is not None:
            default(obj)
        amount: str = getattr(obj, name)
        if amount:
            setattr(obj, name, _canonical(amount))

    return fill


def _canonical(amount: str) -> str:
    try:
        return canonical(amount)
    except QuantityError:
        return amount


# --- defaults that depend on more than one field

_RULES: dict[str, Callable[[Message], None]] = {}


def _rule(message: type[M]) -> Callable[[Callable[[M], None]], Callable[[M], None]]:
    def register(function: Callable[[M], None]) -> Callable[[M], None]:
        _RULES[message.DESCRIPTOR.full_name] = cast(Callable[[Message], None], function)
        return function

    return register


@_rule(Container)
def _container(container: Container) -> None:
    container.image_pull_policy = container.image_pull_policy or pull_policy(container.image)


@_rule(EphemeralContainer)
def _ephemeral_container(container: EphemeralContainer) -> None:
    container.image_pull_policy = container.image_pull_policy or pull_policy(container.image)


@_rule(ImageVolumeSource)
def _image_volume(volume: ImageVolumeSource) -> None:
    volume.pull_policy = volume.pull_policy or pull_policy(volume.reference)


def pull_policy(image: str) -> str:
    """Always for the tag latest, which no tag and no digest means too; otherwise IfNotPresent."""
    name, at, _ = image.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    latest = tag == "latest" or (bool(name) and not colon and not at)
    return "Always" if latest else "IfNotPresent"


@_rule(Volume)
def _volume(volume: Volume) -> None:
    if not any(descriptor.message_type is not None for descriptor, _ in volume.ListFields()):
        volume.empty_dir.SetInParent()


@_rule(PodSpec)
def _pod_spec(spec: PodSpec) -> None:
    name = spec.service_account_name or spec.service_account
    spec.service_account_name = name
    spec.service_account = name


@_rule(Pod)
def _pod(pod: Pod) -> None:
    """Beyond what a template gets: a pod is about to run."""
    spec = pod.spec
    spec.service_account_name = spec.service_account_name or spec.service_account or "default"
    for container in (*spec.init_containers, *spec.containers):
        for resource, limit in container.resources.limits.items():
            if resource not in container.resources.requests:
                container.resources.requests[resource] = limit
        if spec.host_network:
            for port in container.ports:
                port.host_port = port.host_port or port.container_port
    _tolerate_for_a_while(spec)
    pod.status.phase = pod.status.phase or "Pending"
    pod.status.qos_class = pod.status.qos_class or qos_class(spec)


def _tolerate_for_a_while(spec: PodSpec) -> None:
    for taint in _EVICTION_TAINTS:
        if not any(_covers(toleration, taint) for toleration in spec.tolerations):
            spec.tolerations.append(
                Toleration(key=taint, operator="Exists", effect="NoExecute", toleration_seconds=_EVICTION_SECONDS)
            )


def _covers(toleration: Toleration, taint: str) -> bool:
    return toleration.key in {taint, ""} and toleration.effect in {"NoExecute", ""}


@_rule(DeploymentStrategy)
def _deployment_strategy(strategy: DeploymentStrategy) -> None:
    if strategy.type == "RollingUpdate":
        strategy.rolling_update.SetInParent()


@_rule(ServicePort)
def _service_port(port: ServicePort) -> None:
    target = port.target_port
    if not port.HasField("target_port") or (not target.string_value and not target.number_value):
        target.number_value = port.port


@_rule(ServiceSpec)
def _service_spec(spec: ServiceSpec) -> None:
    if spec.session_affinity == "ClientIP":
        spec.session_affinity_config.client_ip.SetInParent()
    else:
        spec.ClearField("session_affinity_config")
    if spec.type in {"NodePort", "LoadBalancer"}:
        spec.external_traffic_policy = spec.external_traffic_policy or "Cluster"
    if spec.type == "LoadBalancer" and not spec.HasField("allocate_load_balancer_node_ports"):
        spec.allocate_load_balancer_node_ports = True
    if spec.type == "ExternalName":
        return
    if spec.cluster_ip and not spec.cluster_ips:
        spec.cluster_ips.append(spec.cluster_ip)
    elif spec.cluster_ips and not spec.cluster_ip:
        spec.cluster_ip = spec.cluster_ips[0]
    if not spec.ip_families:
        spec.ip_families.extend(_families(spec.cluster_ips))
    if not spec.HasField("ip_family_policy"):
        spec.ip_family_policy = "SingleStack" if len(spec.ip_families) == 1 else "RequireDualStack"


def _families(addresses: Iterable[str]) -> list[str]:
    return ["IPv6" if ":" in address else "IPv4" for address in addresses] or ["IPv4"]


@_rule(Secret)
def _secret(secret: Secret) -> None:
    for key, text in secret.string_data.items():
        secret.data[key] = text.encode()
    secret.ClearField("string_data")


@_rule(Namespace)
def _namespace(namespace: Namespace) -> None:
    if namespace.metadata.name:
        namespace.metadata.labels[NAMESPACE_LABEL] = namespace.metadata.name
    # Of a namespace on its way out the finalizers are being removed, not forgotten.
    if not namespace.metadata.HasField("deletion_timestamp") and NAMESPACE_FINALIZER not in namespace.spec.finalizers:
        namespace.spec.finalizers.append(NAMESPACE_FINALIZER)
    namespace.status.phase = namespace.status.phase or "Active"


@_rule(NodeSpec)
def _node_spec(spec: NodeSpec) -> None:
    if spec.pod_cidr and not spec.pod_cidrs:
        spec.pod_cidrs.append(spec.pod_cidr)
    elif spec.pod_cidrs and not spec.pod_cidr:
        spec.pod_cidr = spec.pod_cidrs[0]


@_rule(NodeStatus)
def _node_status(status: NodeStatus) -> None:
    for resource, amount in status.capacity.items():
        if resource not in status.allocatable:
            status.allocatable[resource] = amount
