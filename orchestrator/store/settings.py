"""Everything about a store that can be tuned."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.store.command import Limits
from orchestrator.store.retention import Kept
from orchestrator.store.watch import Backlog


@dataclass(frozen=True, slots=True)
class Settings:
    member: str = "local"
    limits: Limits = field(default_factory=Limits)
    kept: Kept = field(default_factory=Kept)
    backlog: Backlog = field(default_factory=Backlog)
    pending_writes: int = 16_384
    pending_bytes: int = 64 << 20
    group_writes: int = 1024
    group_bytes: int = 4 << 20
    segment_size: int = 16 << 20
    slow_operation: float = 0.5
    """Seconds after which a write counts as slow, and the log says where the time went."""
    reserve: int = 4 << 20
    """Bytes of the disk kept back for the day it is full, when deletions and a smaller snapshot need some."""
    entries_in_memory: int = 256
    """Applied entries kept in memory; followers that are further behind are served from the segments."""
    bytes_in_memory: int = 8 << 20
    """And no more than so many bytes of them; it may be exceeded by as much again before they go."""
    snapshot_bytes: int = 32 << 20
    """A snapshot is taken when the log has grown by this much, and by the size of the data, since the last."""
    snapshot_entries: int = 50_000
    """Or by this many entries: they are replayed at the start, which takes about 20 microseconds each."""
