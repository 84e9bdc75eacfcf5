"""What the node agent counts about itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

pods = Gauge("navarch_node_pods", "Pods this agent looks after")
operations = Counter("navarch_node_operations", "Operations on pods by how they ended", ["operation", "result"])
operation_seconds = Histogram(
    "navarch_node_operation_seconds",
    "How long operations on pods took",
    ["operation"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 120),
)
