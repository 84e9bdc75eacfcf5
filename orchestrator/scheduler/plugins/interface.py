"""What a rule of placing answers, for all nodes at once."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import numpy as np

from orchestrator.scheduler.shape import PodShape
from orchestrator.scheduler.snapshot import ALL, Mask, Nodes, Rows, Scores, Usage

FULL_SCORE = 100.0


class Plugin:
    """A rule. On its own it lets every node pass and prefers none; rules override what they have an opinion about.

    `rows` narrows the question to some rows; the answers are as long. A rule that does not depend on what pods take
    (`depends_on_usage` false) is asked once for a group of equal pods, the others again for the rows that got pods.
    """

    name: ClassVar[str]
    # 0: the rule has no preferences, `score` is not asked.
    weight: ClassVar[int] = 0
    depends_on_usage: ClassVar[bool] = False

    def mask(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Mask:
        """Where the pod may run."""
        return np.ones(len(nodes), np.bool_)[rows]

    def score(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Scores:
        """How good each node is, 0 to 100, or a count for `normalized` to turn into that."""
        return np.zeros(len(nodes))[rows]

    def normalized(self, scores: Scores, possible: Mask) -> Scores:
        """The scores on the common scale, given which nodes are possible at all. Not asked of rules on usage."""
        return scores

    def explain(self, shape: PodShape, nodes: Nodes, usage: Usage, refused: Mask) -> Counter[str]:
        """Why, in words for people, with the number of refused nodes each reason holds for."""
        return Counter()


def share_of_best(scores: Scores, possible: Mask) -> Scores:
    """Counts scaled so that the best possible node has the full score."""
    best = float(scores[possible].max(initial=0.0))
    return np.floor(scores * FULL_SCORE / best) if best else np.zeros_like(scores)
