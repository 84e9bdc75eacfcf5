"""The store's numbers as Prometheus reads them."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.server.store_metrics import StoreCollector
from orchestrator.store import StoreStatus
from orchestrator.store.metrics import Metrics
from tests.unit.server.test_condition import WELL


class Counted:
    def __init__(self, status: StoreStatus, metrics: Metrics) -> None:
        self._status, self._metrics = status, metrics

    def status(self) -> StoreStatus:
        return self._status

    def metrics(self) -> Metrics:
        return self._metrics


def samples(*stores: Counted) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry(auto_describe=True)
    for store in stores:
        registry.register(StoreCollector(store))
    return {
        (sample.name, sample.labels.pop("member"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_numbers_of_a_member() -> None:
    metrics = Metrics(elections=2, log_bytes=4096)
    for seconds in (0.0001, 0.0002, 0.003, 99.0):
        metrics.fsync.observe(seconds)
    found = samples(Counted(replace(WELL, alarms=("nospace: the disk is full",)), metrics))
    assert found["navarch_store_has_leader", "n1"] == 1
    assert found["navarch_store_is_leader", "n1"] == 0
    assert found["navarch_store_revision", "n1"] == 9
    assert found["navarch_store_elections_total", "n1"] == 2
    assert found["navarch_store_log_written_bytes_total", "n1"] == 4096
    assert found["navarch_store_alarm", "n1", "nospace"] == 1
    assert found["navarch_store_fsync_seconds_count", "n1"] == 4
    assert found["navarch_store_fsync_seconds_bucket", "n1", "0.0001"] == 1
    assert found["navarch_store_fsync_seconds_bucket", "n1", "0.005"] == 3
    assert found["navarch_store_fsync_seconds_bucket", "n1", "+Inf"] == 4


def test_several_members_of_one_process_keep_apart() -> None:
    leader = replace(WELL, member="n2", is_leader=True)
    found = samples(Counted(WELL, Metrics()), Counted(leader, Metrics()))
    assert found["navarch_store_is_leader", "n1"] == 0
    assert found["navarch_store_is_leader", "n2"] == 1
