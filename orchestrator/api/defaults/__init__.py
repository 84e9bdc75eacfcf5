"""What an object means where it says nothing: absent fields get Kubernetes' defaults before the object is validated.

Two sources. Most defaults are options of the schema (`default_value`) and hold wherever the message around the field is
present; the descriptors are compiled once into a plan per message type, and types that lead to no default are never
entered. The others depend on more than one field and are rules by message type, in one file a group beside this one: a
rule for PodSpec holds in a Pod and in a Deployment's template alike. A rule runs before the messages below it, so what
it adds gets its own defaults. Quantities are brought into canonical form on the way ("0.5" becomes "500m"), as in
Kubernetes, where an object never comes back the way it was written.

`set_defaults` is idempotent, leaves everything that is set as it is, and never fails: what is malformed stays, for
validation to find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value

# Each of these fills RULES.
from orchestrator.api.defaults import (  # noqa: F401
    apps,
    autoscaling,
    batch,
    core,
    networking,
    pods,
    quota,
    rbac,
    storage,
)
from orchestrator.api.defaults.pods import pull_policy
from orchestrator.api.defaults.rules import RULES
from orchestrator.api.kinds import KubeObject
from orchestrator.api.quantity import QuantityError, canonical
from orchestrator.api.schema import map_value, option
from orchestrator.api.v1 import options_pb2

__all__ = ["pull_policy", "set_defaults"]


def set_defaults(obj: KubeObject | Message) -> None:
    """Fill absent fields of an object, or of any part of one, in place."""
    _set_defaults(cast(Message, obj))


def _set_defaults(obj: Message) -> None:
    plan = _plan(obj.DESCRIPTOR)
    for fill in plan.fills:
        fill(obj)
    rule = RULES.get(obj.DESCRIPTOR.full_name)
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
        if one.full_name in RULES or any(_fill(each) is not None for each in one.fields):
            return True
        pending += [each.message_type for each in one.fields if each.message_type is not None]
    return False


def _fill(descriptor: FieldDescriptor) -> Callable[[Message], None] | None:
    """What sets this field when it is absent, or rewrites the quantities in it."""
    name = descriptor.name
    quantity = bool(option(descriptor, options_pb2.quantity))
    if map_value(descriptor) is not None:
        return _canonical_map(name) if quantity else None
    default = _fill_default(descriptor)
    return _canonical_field(name, default) if quantity else default


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
