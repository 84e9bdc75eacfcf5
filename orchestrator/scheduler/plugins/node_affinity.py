"""Node selectors and node affinity: labels (and names) that a node must or should have."""

from __future__ import annotations

from collections import Counter

import numpy as np

from orchestrator.scheduler.plugins.interface import Plugin, share_of_best
from orchestrator.scheduler.shape import PodShape, Term
from orchestrator.scheduler.snapshot import ALL, Mask, Nodes, Rows, Scores, Usage


class NodeAffinity(Plugin):
    name = "NodeAffinity"
    weight = 2

    def mask(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Mask:
        possible = np.ones(len(nodes), np.bool_)
        for requirement in shape.node_selector:
            possible &= nodes.matching(requirement)
        if shape.required is not None:
            any_term = np.zeros(len(nodes), np.bool_)
            for term in shape.required:
                any_term |= _matching(term, nodes)
            possible &= any_term
        return possible[rows]

    def score(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Scores:
        scores = np.zeros(len(nodes))
        for weight, term in shape.preferred:
            scores += weight * _matching(term, nodes)
        return scores[rows]

    def normalized(self, scores: Scores, possible: Mask) -> Scores:
        return share_of_best(scores, possible)

    def explain(self, shape: PodShape, nodes: Nodes, usage: Usage, refused: Mask) -> Counter[str]:
        return Counter({"node(s) didn't match Pod's node affinity/selector": int(refused.sum())})


def _matching(term: Term, nodes: Nodes) -> Mask:
    if not term.labels and not term.names:
        return np.zeros(len(nodes), np.bool_)
    matching = np.ones(len(nodes), np.bool_)
    for requirement in term.labels:
        matching &= nodes.matching(requirement)
    for requirement in term.names:
        matching &= nodes.named(requirement)
    return matching
