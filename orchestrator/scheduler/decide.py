"""Where pending pods go: the scheduler's decision, a pure function of the nodes, the pods and a seed.

Pods go one after the other, the more important and then the older first. Equal pods share one board of masks and
scores over all nodes; before a board is used, only the rows that got pods since its last use are asked about again.
Of equally good nodes one is drawn by the seed, so that a fleet of equal machines fills evenly. The snapshot is not
changed: placements of one call see each other through a copy of the usage.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from orchestrator.scheduler.plugins import PLUGINS
from orchestrator.scheduler.shape import PodShape
from orchestrator.scheduler.snapshot import ALL, Mask, Nodes, Rows, Scores, Usage

NO_NODES = "no nodes available to schedule pods"

_BY_USAGE = tuple(plugin for plugin in PLUGINS if plugin.depends_on_usage)
_FIXED = tuple(plugin for plugin in PLUGINS if not plugin.depends_on_usage)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pod to place. `created` is in seconds since any fixed moment."""

    uid: str
    shape: PodShape
    priority: int = 0
    created: float = 0.0

    @property
    def rank(self) -> tuple[int, float]:
        """Smaller goes first."""
        return -self.priority, self.created


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no node will do: how many nodes each rule refused (a node counts for the first), and the reasons in words."""

    nodes: int
    plugins: frozenset[str]
    reasons: Mapping[str, int]

    @property
    def message(self) -> str:
        """As Kubernetes words it."""
        if not self.nodes:
            return NO_NODES
        reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in self.reasons.items()))
        return f"0/{self.nodes} nodes are available: {reasons}."


@dataclass(frozen=True, slots=True)
class Decisions:
    """For each pod, by uid, the node it goes to, or why it can't go anywhere."""

    placed: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)


def decide(nodes: Nodes, pods: Sequence[Candidate], seed: int) -> Decisions:
    """Place the pods by rank; those of equal rank in the order given."""
    shapes = dict.fromkeys(pod.shape for pod in pods)
    for shape in shapes:
        # May bring a resource no node has: every matrix needs its column before the usage is copied.
        nodes.request(shape)
    usage, draw = nodes.usage(), random.Random(seed)
    boards = {shape: _Board(shape, nodes, usage) for shape in shapes}
    placements: list[int] = []
    placed: dict[str, str] = {}
    refused: dict[str, Refusal] = {}
    for pod in sorted(pods, key=lambda pod: pod.rank):
        board = boards[pod.shape]
        row = board.best(placements, draw)
        if row is None:
            refused[pod.uid] = board.refusal()
        else:
            usage.place(row, nodes.request(pod.shape), pod.shape)
            placements.append(row)
            placed[pod.uid] = nodes.names[row]
    return Decisions(placed, refused)


class _Board:
    """All nodes as pods of one shape see them, kept up with the placements of the cycle."""

    def __init__(self, shape: PodShape, nodes: Nodes, usage: Usage) -> None:
        self._shape = shape
        self._nodes = nodes
        self._usage = usage
        self._ready = False
        self._allowed: Mask
        self._preference: Scores
        self._scores: Scores
        # How many of the cycle's placements the scores include.
        self._seen = 0
        self._refusal: Refusal | None = None

    def best(self, placements: Sequence[int], draw: random.Random) -> int | None:
        """The row for the next pod, None when there is none: then there will be none for the rest of the cycle."""
        if self._refusal is not None or not len(self._nodes):
            return None
        if not self._ready:
            self._begin()
        elif self._seen < len(placements):
            rows = np.unique(np.array(placements[self._seen :], np.intp))
            self._scores[rows] = self._score(rows)
        self._seen = len(placements)
        best = self._scores.max()
        if best == -np.inf:
            return None
        equals = np.flatnonzero(self._scores == best)
        return int(equals[draw.randrange(len(equals))])

    def refusal(self) -> Refusal:
        """Why there is no row. The rules are asked in turn; each explains the nodes that all before it let pass."""
        if self._refusal is None:
            remaining = np.ones(len(self._nodes), np.bool_)
            reasons: Counter[str] = Counter()
            names: set[str] = set()
            for plugin in PLUGINS:
                refused = remaining & ~plugin.mask(self._shape, self._nodes, self._usage)
                if refused.any():
                    reasons += plugin.explain(self._shape, self._nodes, self._usage, refused)
                    names.add(plugin.name)
                    remaining &= ~refused
            self._refusal = Refusal(len(self._nodes), frozenset(names), reasons)
        return self._refusal

    def _begin(self) -> None:
        shape, nodes, usage = self._shape, self._nodes, self._usage
        self._allowed = np.logical_and.reduce([plugin.mask(shape, nodes, usage) for plugin in _FIXED])
        # Counts become scores by comparison with the nodes that are possible now; later placements change little.
        possible = self._allowed & self._fits(ALL)
        self._preference = np.zeros(len(nodes))
        for plugin in _FIXED:
            if plugin.weight:
                self._preference += plugin.weight * plugin.normalized(plugin.score(shape, nodes, usage), possible)
        self._scores = self._score(ALL)
        self._ready = True

    def _fits(self, rows: Rows) -> Mask:
        fits: Mask = np.logical_and.reduce(
            [plugin.mask(self._shape, self._nodes, self._usage, rows) for plugin in _BY_USAGE]
        )
        return fits

    def _score(self, rows: Rows) -> Scores:
        """The whole score of these rows, minus infinity where the pod can't go."""
        total = self._preference[rows].copy()
        for plugin in _BY_USAGE:
            if plugin.weight:
                total += plugin.weight * plugin.score(self._shape, self._nodes, self._usage, rows)
        return np.where(self._allowed[rows] & self._fits(rows), total, -np.inf)
