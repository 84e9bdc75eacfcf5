"""Prefers nodes whose CPU and memory would be used to a similar degree, so that neither is stranded."""

from __future__ import annotations

import numpy as np

from orchestrator.scheduler.plugins.interface import FULL_SCORE, Plugin
from orchestrator.scheduler.plugins.resources import used_fractions
from orchestrator.scheduler.shape import PodShape
from orchestrator.scheduler.snapshot import ALL, Nodes, Rows, Scores, Usage


class BalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"
    weight = 1
    depends_on_usage = True

    def score(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Scores:
        used = used_fractions(shape, nodes, usage, rows)
        # The standard deviation of two values.
        deviation = np.abs(used[:, 0] - used[:, 1]) / 2.0
        return np.floor(FULL_SCORE * (1.0 - deviation))
