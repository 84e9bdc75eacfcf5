"""What a decision about a stored object comes to: it is written, removed, or left as it is."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.api.kinds import KubeObject


@dataclass(frozen=True, slots=True)
class Written:
    """The object's new state. If it is what is stored already, nothing is written and its revision stays."""

    obj: KubeObject


@dataclass(frozen=True, slots=True)
class Removed:
    """The object goes; its last state is what is stored."""


REMOVED = Removed()

Outcome = Written | Removed
