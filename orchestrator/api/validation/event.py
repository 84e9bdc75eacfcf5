"""Events: they live in the namespace of what they are about, and stay small."""

from __future__ import annotations

from orchestrator.api.errors import invalid, required, too_long
from orchestrator.api.v1 import Event
from orchestrator.api.validation.rules import Faults

DEFAULT_NAMESPACES = ("", "default", "kube-system")
_REASON_LIMIT = 128
_NOTE_LIMIT = 1024


def event(obj: Event) -> Faults:
    about = obj.involved_object.namespace
    namespace = obj.metadata.namespace
    # Events about things without a namespace need one of their own.
    if about != namespace and not (about == "" and namespace in DEFAULT_NAMESPACES):
        yield invalid("involvedObject.namespace", about, "does not match event.namespace")
    if obj.HasField("event_time"):
        yield from _strict(obj)


def _strict(obj: Event) -> Faults:
    """Events of the newer form say who reports them and what was done."""
    for name, value in (("reportingController", obj.reporting_component), ("reason", obj.reason)):
        if not value:
            yield required(name)
    if len(obj.reason.encode()) > _REASON_LIMIT:
        yield too_long("reason", _REASON_LIMIT)
    if len(obj.message.encode()) > _NOTE_LIMIT:
        yield too_long("message", _NOTE_LIMIT)
    if obj.type not in {"Normal", "Warning"}:
        yield invalid("type", obj.type, "has invalid value")
