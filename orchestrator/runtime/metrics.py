"""What every daemon counts about itself, for Prometheus. One registry a process; names begin with `navarch_`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

reconciles = Counter("navarch_reconciles", "Reconciles by how they ended", ["controller", "result"])
reconcile_seconds = Histogram(
    "navarch_reconcile_seconds",
    "From taking a key to its writes being visible in the caches",
    ["controller"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)
queue_depth = Gauge("navarch_queue_depth", "Keys waiting for a worker", ["controller"])
leading = Gauge("navarch_leading", "1 while this process holds the lease", ["lease"])
service_restarts = Counter("navarch_service_restarts", "Services started again after they failed", ["service"])
