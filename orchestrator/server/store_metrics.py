"""What the store counts about itself, for Prometheus: names begin with `navarch_store_`.

The store keeps its numbers without a library; they are put into Prometheus's form when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.store import StoreStatus
from orchestrator.store.metrics import Histogram, Metrics

_PREFIX = "navarch_store_"
_LABELS = ("member",)


class Measured(Protocol):
    """The part of a store that is looked at."""

    def status(self) -> StoreStatus: ...

    def metrics(self) -> Metrics: ...


class StoreCollector(Collector):
    """One member's numbers, with its name on each, as a process may have several."""

    def __init__(self, store: Measured) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: several of these have the same names, and differ by the member's."""
        return ()

    def collect(self) -> Iterable[Metric]:
        status, metrics = self._store.status(), self._store.metrics()
        yield from _gauges(status)
        yield from _counters(status, metrics)
        yield from _histograms(status, metrics)


def _gauges(status: StoreStatus) -> Iterator[Metric]:
    values: dict[str, tuple[str, float]] = {
        "has_leader": ("1 while this member knows a leader", status.leader is not None),
        "is_leader": ("1 while this member leads", status.is_leader),
        "term": ("The current term", status.term),
        "revision": ("The revision of the last write that this member has applied", status.revision),
        "compacted_revision": ("The history begins after this revision", status.compacted_revision),
        "keys": ("Keys", status.keys),
        "leases": ("Leases that have not ended", status.leases),
        "db_size_bytes": ("All current keys and values", status.db_size),
        "history_size_bytes": ("The past versions still kept", status.history_size),
        "log_size_bytes": ("The log's segments on disk", status.log_size),
        "last_index": ("The last entry of the log", status.log_last_index),
        "commit_index": ("The last entry known to be on a majority", status.commit_index),
        "applied_index": ("The last entry applied", status.applied_index),
        "snapshot_index": ("The last entry in a snapshot; 0: there is none", status.snapshot_index),
        "snapshot_age_seconds": ("Since the last snapshot; 0: there is none", status.snapshot_age),
        "watchers": ("Watches that are open on the store itself", status.watchers),
        "pending_writes": ("Writes that wait for their answer", status.pending_writes),
    }
    for name, (text, value) in values.items():
        family = GaugeMetricFamily(_PREFIX + name, text, labels=_LABELS)
        family.add_metric((status.member,), float(value))
        yield family
    alarms = GaugeMetricFamily(f"{_PREFIX}alarm", "1 for each alarm that is on", labels=(*_LABELS, "alarm"))
    for alarm in status.alarms:
        alarms.add_metric((status.member, alarm.split(":")[0]), 1.0)
    yield alarms


def _counters(status: StoreStatus, metrics: Metrics) -> Iterator[Metric]:
    values = {
        "log_written_bytes": ("Written to the log", metrics.log_bytes),
        "elections": ("How often this member stood for election", metrics.elections),
        "leader_changes": ("How often this member saw a leader come", metrics.leaders),
        "slow_operations": ("Operations that took too long, and are in the log", metrics.slow_operations),
        "writes_failed": ("Writes that failed, or whose fate nobody knew", metrics.writes_failed),
        "writes_refused": ("Writes not taken: too many, no leader, no room", metrics.writes_refused),
        "disk_full": ("How often the disk became full", metrics.disk_full),
        "snapshots_failed": ("Snapshots that could not be written", metrics.snapshots_failed),
    }
    for name, (text, value) in values.items():
        family = CounterMetricFamily(_PREFIX + name, text, labels=_LABELS)
        family.add_metric((status.member,), float(value))
        yield family


def _histograms(status: StoreStatus, metrics: Metrics) -> Iterator[Metric]:
    values = {
        "fsync_seconds": ("Syncs of the log", metrics.fsync),
        "append_seconds": ("Writes to the log, without their sync", metrics.append),
        "commit_seconds": ("From the proposal of a group of writes to its application here", metrics.commit),
        "apply_seconds": ("Applications of one entry", metrics.apply),
        "snapshot_seconds": ("Snapshots written", metrics.snapshot),
    }
    for name, (text, histogram) in values.items():
        family = HistogramMetricFamily(_PREFIX + name, text, labels=_LABELS)
        family.add_metric((status.member,), list(_buckets(histogram)), histogram.sum)
        yield family


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    """Prometheus's buckets count everything below their bound."""
    below = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        below += count
        yield "+Inf" if bound == float("inf") else str(bound), below
