"""Pods of one owner prefer nodes that have few of them, so that one machine's death costs as few replicas as can be.

The score depends on the node alone (100, 50, 33, ... for none, one, two, ...): the first replicas weigh most, and where
every node has many of them, free resources decide.
"""

from __future__ import annotations

import numpy as np

from orchestrator.scheduler.plugins.interface import FULL_SCORE, Plugin
from orchestrator.scheduler.shape import PodShape
from orchestrator.scheduler.snapshot import ALL, Nodes, Rows, Scores, Usage


class OwnerSpreading(Plugin):
    name = "PodTopologySpread"
    weight = 2
    depends_on_usage = True

    def score(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Scores:
        if not shape.owner:
            return np.zeros(len(nodes))[rows]
        scores: Scores = FULL_SCORE / (1.0 + usage.owned(shape.owner)[rows].astype(np.float64))
        return scores
