"""Taints keep pods away that do not tolerate them: NoSchedule and NoExecute strictly, PreferNoSchedule if it can be.

Nodes have few distinct sets of taints, so each set is judged once and the verdict spread over the nodes.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from orchestrator.scheduler.plugins.interface import FULL_SCORE, Plugin, share_of_best
from orchestrator.scheduler.shape import PodShape
from orchestrator.scheduler.snapshot import ALL, Mask, Nodes, Rows, Scores, Taint, Usage

STRICT = frozenset({"NoSchedule", "NoExecute"})
SOFT = frozenset({"PreferNoSchedule"})


class TaintToleration(Plugin):
    name = "TaintToleration"
    weight = 3

    def mask(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Mask:
        numbers, sets = nodes.taint_sets()
        verdicts = np.array([not _minded(shape, taints, STRICT) for taints in sets], np.bool_)
        return verdicts[numbers[rows]]

    def score(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Scores:
        numbers, sets = nodes.taint_sets()
        counts = np.array([len(_minded(shape, taints, SOFT)) for taints in sets], np.float64)
        return counts[numbers[rows]]

    def normalized(self, scores: Scores, possible: Mask) -> Scores:
        return FULL_SCORE - share_of_best(scores, possible)

    def explain(self, shape: PodShape, nodes: Nodes, usage: Usage, refused: Mask) -> Counter[str]:
        numbers, sets = nodes.taint_sets()
        reasons: Counter[str] = Counter()
        for number, count in zip(*np.unique(numbers[refused], return_counts=True), strict=True):
            taint = _minded(shape, sets[number], STRICT)[0]
            reasons[f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"] += int(count)
        return reasons


def _minded(shape: PodShape, taints: tuple[Taint, ...], effects: frozenset[str]) -> list[Taint]:
    """The taints of these effects that the pod does not tolerate."""
    return [
        taint
        for taint in taints
        if taint.effect in effects and not any(each.tolerates(*taint) for each in shape.tolerations)
    ]
