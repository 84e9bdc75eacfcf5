"""Runtime classes: a handler that stays, and where it is."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import duplicate
from orchestrator.api.v1 import RuntimeClass
from orchestrator.api.validation.resources import amounts
from orchestrator.api.validation.rules import Faults, immutable, labels, name_required, repeats, shown
from orchestrator.api.validation.scheduling import tolerations


def runtime_class(obj: RuntimeClass) -> Faults:
    yield from name_required(names.label, "handler", obj.handler)
    yield from amounts(obj.overhead.pod_fixed, "overhead.podFixed")
    if not obj.HasField("scheduling"):
        return
    yield from labels("scheduling.nodeSelector", obj.scheduling.node_selector)
    entries = obj.scheduling.tolerations
    yield from tolerations(entries, "scheduling.tolerations")
    for index in repeats(entry.SerializeToString(deterministic=True) for entry in entries):
        yield duplicate(f"scheduling.tolerations[{index}]", shown(entries[index]))


def runtime_class_update(new: RuntimeClass, old: RuntimeClass) -> Faults:
    yield from immutable("handler", new.handler, old.handler)
