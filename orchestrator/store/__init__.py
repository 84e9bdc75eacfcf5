"""A revisioned, replicated key-value store, the cluster's only memory. It knows keys, bytes and revisions, no kind."""

from __future__ import annotations

from orchestrator.store.errors import (
    Compacted,
    FutureRevision,
    InvalidTxn,
    NothingWritten,
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
from orchestrator.store.open import open_store
from orchestrator.store.replicated import ReplicatedStore
from orchestrator.store.settings import Settings

__all__ = [
    "Compacted",
    "Compare",
    "Delete",
    "Event",
    "FutureRevision",
    "InvalidTxn",
    "KeyValue",
    "NothingWritten",
    "Operation",
    "Put",
    "RangeResult",
    "ReplicatedStore",
    "Settings",
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
    "open_store",
]
