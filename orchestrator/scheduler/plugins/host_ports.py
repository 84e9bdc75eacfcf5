"""A port of a node belongs to one pod; 0.0.0.0 clashes with every address."""

from __future__ import annotations

from collections import Counter

import numpy as np

from orchestrator.scheduler.plugins.interface import Plugin
from orchestrator.scheduler.shape import PodShape
from orchestrator.scheduler.snapshot import ALL, Mask, Nodes, Rows, Usage


class HostPorts(Plugin):
    name = "NodePorts"
    depends_on_usage = True

    def mask(self, shape: PodShape, nodes: Nodes, usage: Usage, rows: Rows = ALL) -> Mask:
        asked = np.arange(len(nodes))[rows]
        free = np.ones(len(asked), np.bool_)
        if shape.ports:
            for position, row in enumerate(asked.tolist()):
                taken = usage.ports.get(row)
                if taken:
                    free[position] = not any(wanted.clashes(port) for wanted in shape.ports for port in taken)
        return free

    def explain(self, shape: PodShape, nodes: Nodes, usage: Usage, refused: Mask) -> Counter[str]:
        return Counter({"node(s) didn't have free ports for the requested pod ports": int(refused.sum())})
