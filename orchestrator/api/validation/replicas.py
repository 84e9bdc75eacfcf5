"""What everything that keeps a number of pods has: a selector that finds the template's pods, and counts of pods."""

from __future__ import annotations

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value

from orchestrator.api import names
from orchestrator.api.errors import invalid, required
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.v1 import LabelSelector, PodTemplateSpec
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.pod import template
from orchestrator.api.validation.rules import Faults, named, not_negative, plain, shown


def selected_template(pods: PodTemplateSpec, selector: LabelSelector | None, what: str) -> Faults:
    if selector is None:
        yield required("spec.selector")
    else:
        faults = list(label_selector(selector, "spec.selector"))
        yield from faults
        if not selector.match_labels and not selector.match_expressions:
            yield invalid("spec.selector", shown(selector), f"empty selector is invalid for {what}")
        elif not faults and not from_label_selector(selector).matches(pods.metadata.labels):
            labels = {key: pods.metadata.labels[key] for key in sorted(pods.metadata.labels)}
            yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from template(pods, "spec.template")


def count(path: str, value: Value, *, most: int | None = None) -> Faults:
    """A number of pods, or a percentage of them, up to `most` percent."""
    match value.WhichOneof("kind"):
        case "number_value" if value.number_value.is_integer():
            yield from not_negative(path, int(value.number_value))
        case "string_value":
            faults = list(named(names.percent, path, value.string_value))
            yield from faults
            if not faults and most is not None and int(value.string_value[:-1]) > most:
                yield invalid(path, value.string_value, f"must not be greater than {most}%")
        case _:
            yield invalid(path, plain(value), "must be an integer or percentage (e.g '5%')")


def is_zero(value: Value) -> bool:
    if value.WhichOneof("kind") == "string_value":
        return value.string_value.rstrip("%").strip("0") == "" and value.string_value.startswith("0")
    return value.number_value == 0


def counts(status: Message, *fields: str, path: str = "status") -> Faults:
    """Numbers of a status, none of them negative."""
    by_name = status.DESCRIPTOR.fields_by_name
    for field in fields:
        yield from not_negative(f"{path}.{by_name[field].json_name}", getattr(status, field))


def at_most(limit: int, status: Message, *fields: str, path: str = "status") -> Faults:
    """Numbers of pods that are among the `limit` pods of status.replicas."""
    by_name = status.DESCRIPTOR.fields_by_name
    for field in fields:
        value: int = getattr(status, field)
        if value > limit:
            yield invalid(f"{path}.{by_name[field].json_name}", value, "cannot be greater than status.replicas")
