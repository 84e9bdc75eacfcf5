"""A revisioned, replicated key-value store, the cluster's only memory. It knows keys, bytes and revisions, no kind."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from orchestrator.store.errors import (
    ChangeInProgress,
    Compacted,
    FutureRevision,
    InvalidLease,
    InvalidTxn,
    LeaseError,
    MemberExists,
    MemberNotReady,
    MembershipError,
    NothingWritten,
    QuorumAtRisk,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    TooManyLeases,
    UnknownLease,
    UnknownMember,
    ValueTooLarge,
    WatcherTooSlow,
    WrongIdentity,
)
from orchestrator.store.interface import (
    Batch,
    ClusterStore,
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
from orchestrator.store.membership import Configuration, MemberInfo, MemberList, Members, MemberStatus, Timing

if TYPE_CHECKING:
    from orchestrator.store.open import open_store
    from orchestrator.store.replicated import ReplicatedStore
    from orchestrator.store.settings import Settings

__all__ = [
    "Batch",
    "ChangeInProgress",
    "ClusterStore",
    "Compacted",
    "Compare",
    "Configuration",
    "Delete",
    "Event",
    "FutureRevision",
    "InvalidLease",
    "InvalidTxn",
    "KeyValue",
    "LeaseError",
    "MemberExists",
    "MemberInfo",
    "MemberList",
    "MemberNotReady",
    "MemberStatus",
    "Members",
    "MembershipError",
    "NothingWritten",
    "Operation",
    "Put",
    "QuorumAtRisk",
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
    "Timing",
    "TooManyLeases",
    "TxnResult",
    "UnknownLease",
    "UnknownMember",
    "ValueTooLarge",
    "Watch",
    "WatcherTooSlow",
    "WrongIdentity",
    "open_store",
]

# What takes a store of one's own: who only asks another's, as a command line does, need not load it.
_HEAVY = {
    "open_store": "orchestrator.store.open",
    "ReplicatedStore": "orchestrator.store.replicated",
    "Settings": "orchestrator.store.settings",
}


def __getattr__(name: str) -> object:
    if name in _HEAVY:
        return getattr(importlib.import_module(_HEAVY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
