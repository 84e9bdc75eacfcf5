"""Who belongs to a store's cluster, and how long its members wait for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Timing:
    heartbeat: float = 0.1
    """Seconds after which a leader that has nothing to say says so."""
    election: float = 0.6
    """Seconds of silence after which a follower looks for a new leader, at the earliest; at the latest, twice that."""
    patience: float = 5.0
    """Seconds a read or write waits for a leader and a majority before it is given up."""


@dataclass(frozen=True, slots=True)
class Members:
    """This member's name and the others'. Alone, it elects itself and waits for nobody."""

    name: str
    others: Sequence[str] = ()
    timing: Timing = field(default_factory=Timing)

    def __post_init__(self) -> None:
        if self.name in self.others or len(set(self.others)) != len(self.others):
            raise ValueError(f"the members {[self.name, *self.others]} are not all different")
