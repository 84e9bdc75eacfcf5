"""Kinds and fields that are stored and given back and that nothing acts on in this version, and the warnings they draw.

Which those are, the schema says (`unsupported`). A field whose value is its default, or what the system would do
anyway, draws none: nobody is told that what they asked for is ignored when it is what they get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from orchestrator.api.kinds import KubeObject, as_message, kind_of
from orchestrator.api.plans import Plans
from orchestrator.api.schema import descriptor_of, map_value, option
from orchestrator.api.v1 import Service, options_pb2

MAX_WARNINGS = 50

# Values that mean "as it is anyway". Defaults that the schema gives are found there.
_HARMLESS: Mapping[str, tuple[object, ...]] = {
    "navarch.v1.PodSpec.host_users": (True,),
    "navarch.v1.PodSpec.preemption_policy": ("PreemptLowerPriority",),
    "navarch.v1.PodSpec.set_hostname_as_fqdn": (False,),
    "navarch.v1.Lifecycle.stop_signal": ("SIGTERM",),
}


def warnings_for(obj: KubeObject) -> list[str]:
    """A warning when the kind has no effect, and one for each field that is set and has none: its path and why.

    Only so many are worth reading.
    """
    found = islice(_find(as_message(obj), "", _plan_of(obj)), MAX_WARNINGS)
    kind = kind_of(obj)
    warnings = [f"{kind.kind} is accepted and has no effect: {kind.unsupported}"] if kind.unsupported else []
    warnings += [f"{path} is accepted and has no effect: {reason}" for path, reason in found]
    if isinstance(obj, Service) and obj.spec.type == "LoadBalancer":
        warnings.append("spec.type LoadBalancer is served as NodePort: there are no load balancers")
    return warnings


_Check = Callable[[Any, str], Iterator[tuple[str, str]]]
_Plan = dict[int, _Check]
"""What to check of a message, by field number: only fields that are, or can contain, something unsupported."""


def _plan_of(obj: KubeObject) -> _Plan:
    return _plan(descriptor_of(as_message(obj)))


def _fill(plan: _Plan, descriptor: Descriptor) -> None:
    for each in descriptor.fields:
        check = _check(each)
        if check is not None:
            plan[each.number] = check


_plan = Plans[_Plan](dict, _fill).of


def _find(message: Message, prefix: str, plan: _Plan) -> Iterator[tuple[str, str]]:
    if not plan:
        return
    for each, value in message.ListFields():
        check = plan.get(each.number)
        if check is not None:
            yield from check(value, f"{prefix}.{each.json_name}" if prefix else each.json_name)


def _check(each: FieldDescriptor) -> _Check | None:
    reason = option(each, options_pb2.unsupported)
    if reason:
        harmless = (*_HARMLESS.get(each.full_name, ()), *_defaults(each))

        def report(value: Any, path: str) -> Iterator[tuple[str, str]]:
            if isinstance(value, Message) or value not in harmless:
                yield path, reason

        return report
    descriptor = each.message_type
    if descriptor is None or map_value(each) is not None or descriptor.full_name.startswith("google.protobuf."):
        return None
    plan = _plan(descriptor)
    if each.is_repeated:
        return lambda values, path: (
            found for index, value in enumerate(values) for found in _find(value, f"{path}[{index}]", plan)
        )
    return lambda value, path: _find(value, path, plan)


def _defaults(each: FieldDescriptor) -> tuple[object, ...]:
    return (
        (option(each, options_pb2.default_value),) if each.GetOptions().HasExtension(options_pb2.default_value) else ()
    )
