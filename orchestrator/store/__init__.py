"""A revisioned, replicated key-value store: the cluster's only memory. It knows keys, bytes and revisions, and no kind."""

from __future__ import annotations

from orchestrator.store.errors import (
    Compacted,
    FutureRevision,
    InvalidTxn,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    ValueTooLarge,
    WatcherTooSlow,
)
from orchestrator.store.interface import (
    Compare,
    Delete,
    Event,
    KeyValue,
    Operation,
    Put,
    RangeResult,
    Store,
    StoreStatus,
    TxnResult,
    Watch,
)

__all__ = [
    "Compacted",
    "Compare",
    "Delete",
    "Event",
    "FutureRevision",
    "InvalidTxn",
    "KeyValue",
    "Operation",
    "Put",
    "RangeResult",
    "Store",
    "StoreBusy",
    "StoreCorrupt",
    "StoreError",
    "StoreLocked",
    "StoreStatus",
    "StoreUnavailable",
    "TxnResult",
    "ValueTooLarge",
    "Watch",
    "WatcherTooSlow",
]
