"""Cordoned nodes take no new pods, but for those that tolerate it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from orchestrator.api.conventions import UNSCHEDULABLE
from orchestrator.scheduler.plugins.interface import Plugin
from orchestrator.scheduler.shape import PodShape
from orchestrator.scheduler.snapshot import ALL, Mask, Nodes, Rows, Usage


class Unschedulable(Plugin):
    name = "NodeUnschedulable"

    def mask(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Mask:
        cordoned = nodes.unschedulable[rows]
        if any(each.tolerates(UNSCHEDULABLE, "", "NoSchedule") for each in shape.tolerations):
            return np.ones_like(cordoned)
        return ~cordoned

    def explain(self, shape: PodShape, nodes: Nodes, usage: Usage, refused: Mask) -> Counter[str]:
        return Counter({"node(s) were unschedulable": int(refused.sum())})
