"""The faults of a seed: what happens, how long after what happened before, and the dice for whatever is left to chance.

Pure: the same seed gives the same schedule, however the members behave. Whom "the leader" is, the run shows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# How often each comes, in proportion.
WEIGHTS: Final = {
    "kill_leader": 5,
    "kill_one": 2,
    "kill_all": 1,
    "power_leader": 4,
    "power_one": 2,
    "power_all": 1,
    "restart": 10,
    "pause_leader": 3,
    "pause_one": 2,
    "stun_leader": 4,
    "resume": 5,
    "cut_halves": 2,
    "cut_leader": 3,
    "cut_one_way": 3,
    "cut_bridge": 2,
    "cut_ring": 2,
    "heal": 8,
    "step_clock": 2,
    "drift_clock": 3,
    "fail_sync": 2,
    "slow_disk": 2,
    "fill_disk": 2,
    "free_disk": 4,
    "roll": 1,
    "join": 4,
    "promote": 5,
    "remove": 2,
    "move": 1,
    "transfer": 2,
    "quiet": 4,
}
SHORTEST_WAIT, LONGEST_WAIT = 0.1, 1.6


@dataclass(frozen=True, slots=True)
class Step:
    wait: float
    """Seconds since the step before."""
    fault: str
    dice: int
    """The seed of everything that chance decides in it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    seed: int
    size: int
    """Members at the beginning."""
    small: frozenset[int]
    """The places of members whose disks are small."""
    steps: Sequence[Step]


def schedule(seed: int, seconds: float) -> Schedule:
    """What happens within so many seconds. A longer schedule of the same seed begins with the shorter one."""
    chance = random.Random(seed)
    size = chance.choice((3, 3, 5))
    small = frozenset(place for place in range(size) if chance.random() < 0.4) or frozenset({0})
    steps: list[Step] = []
    passed = 0.0
    while passed < seconds:
        wait = chance.uniform(SHORTEST_WAIT, LONGEST_WAIT)
        fault = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        steps.append(Step(wait, fault, chance.randrange(1 << 32)))
        passed += wait
    return Schedule(seed, size, small, steps)
