"""What pods ask for must fit into what a node has left; of those where it fits, the emptier ones are better."""

from __future__ import annotations

from collections import Counter

import numpy as np

from orchestrator.scheduler.plugins.interface import FULL_SCORE, Plugin
from orchestrator.scheduler.shape import PodShape
from orchestrator.scheduler.snapshot import ALL, MEMORY_COLUMN, PODS_COLUMN, Mask, Nodes, Rows, Scores, Usage


class ResourcesFit(Plugin):
    """Refuses nodes without room; prefers those with the most left (Kubernetes' LeastAllocated)."""

    name = "NodeResourcesFit"
    weight = 1
    depends_on_usage = True

    def mask(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Mask:
        return np.logical_not(_lacking(shape, nodes, usage, rows).any(axis=1))

    def score(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Scores:
        left = FULL_SCORE * (1.0 - used_fractions(shape, nodes, usage, rows))
        mean: Scores = np.floor(left).mean(axis=1)
        return np.floor(mean)

    def explain(self, shape: PodShape, nodes: Nodes, usage: Usage, refused: Mask) -> Counter[str]:
        counts = _lacking(shape, nodes, usage, ALL)[refused].sum(axis=0)
        return Counter(
            {
                "Too many pods" if column == PODS_COLUMN else f"Insufficient {name}": int(counts[column])
                for name, column in nodes.resources.items()
                if counts[column]
            }
        )


def used_fractions(shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows) -> Scores:
    """How much of CPU and of memory would be taken, 0 to 1, with the pod; a node without any counts as full."""
    has = nodes.allocatable[rows, : MEMORY_COLUMN + 1].astype(np.float64)
    takes = usage.scored[rows] + np.array((shape.scored_cpu, shape.scored_memory), np.int64)
    fractions: Scores = np.divide(takes, has, out=np.ones_like(has), where=has > 0)
    return np.minimum(fractions, 1.0)


def _lacking(shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows) -> Mask:
    """Rows by resources: where the pod asks for more than is left. Asking for nothing always fits."""
    request = nodes.request(shape)
    left = nodes.allocatable[rows] - usage.requested[rows]
    lacking: Mask = (request > left) & (request > 0)
    return lacking
