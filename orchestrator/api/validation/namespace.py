"""Namespaces: who has to finish before one goes away."""

from __future__ import annotations

from orchestrator.api.v1 import Namespace
from orchestrator.api.validation.meta import finalizer_name
from orchestrator.api.validation.rules import Faults


def namespace(obj: Namespace) -> Faults:
    for index, name in enumerate(obj.spec.finalizers):
        yield from finalizer_name(f"spec.finalizers[{index}]", name)
