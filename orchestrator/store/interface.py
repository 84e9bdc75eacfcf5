"""The store as everything above sees it: keys, bytes and revisions.

Keys are ordered text, values are bytes that the store never looks into. Every txn that changes something gets the next
revision: revisions are dense, never reused, and all writes of one txn share one. An empty store is at revision 1, so
the first write is revision 2.

Promises: a txn that returned is on disk (and on a majority, where there are several members); a read sees every txn
that returned before it began; a watch delivers every event of its prefix once, in order, never half a revision.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from orchestrator.store.membership import MemberList
from orchestrator.store.metrics import Metrics


class KeyValue(NamedTuple):
    """One version of one key. A tuple, as there are many: it is made in a fraction of a dataclass's time."""

    key: str
    value: bytes
    create_revision: int
    """The revision that made the key; a deleted and remade key gets a new one."""
    mod_revision: int
    """The revision that wrote this version."""
    lease: int = 0
    """The lease this version ends with; 0: it stays."""


@dataclass(frozen=True, slots=True)
class Compare:
    """The condition that the key's last write was `mod_revision`; 0: that the key does not exist."""

    key: str
    mod_revision: int


class Put(NamedTuple):
    key: str
    value: bytes
    lease: int = 0
    """The key is deleted when this lease ends; 0: it stays. Every put decides anew."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the key; removing what is not there changes nothing and is no error."""

    key: str


Operation = Put | Delete


class TxnResult(NamedTuple):
    """What a txn did. `revision` is the txn's own, or the store's current one when nothing was changed."""

    succeeded: bool
    revision: int
    conflicts: tuple[KeyValue | None, ...]
    """For each failed compare, in order, what is there instead; None: the key does not exist."""


@dataclass(frozen=True, slots=True)
class RangeResult:
    """A page of a range, as of `revision`."""

    items: Sequence[KeyValue]
    revision: int
    more: bool
    count: int
    """All keys under the prefix at that revision, also those outside this page."""


@dataclass(slots=True)
class Event:
    """One key's change. One instance is shared by all watchers: nobody changes it but through `cached`."""

    key: str
    value: bytes | None
    """The new value; None: the key was deleted."""
    revision: int
    previous: KeyValue | None
    """What was there before; None: the key was created."""
    cached: object | None = None
    """Belongs to the reader above, who keeps the decoded or encoded form here so that it is made once."""


class Batch(list[Event]):
    """Consecutive events of one prefix. One instance is shared by all watchers that are equally far."""

    __slots__ = ("cached",)

    def __init__(self, events: Iterable[Event] = ()) -> None:
        super().__init__(events)
        self.cached: object | None = None
        """Like an event's, for the form of the whole batch."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """For health, metrics and people."""

    member: str
    leader: str | None
    is_leader: bool
    term: int
    revision: int
    compacted_revision: int
    keys: int
    db_size: int
    """Bytes of all current keys and values."""
    history_size: int
    """Bytes of the past versions still kept."""
    history_events: int
    """Changes that a watch can still begin before."""
    leases: int
    log_size: int
    """Bytes of the log's segments on disk."""
    log_first_index: int
    log_last_index: int
    commit_index: int
    applied_index: int
    snapshot_index: int
    """The log index the last snapshot covers; 0: there is none."""
    watchers: int
    fsyncs: int
    fsync_seconds: float
    """The time spent in all fsyncs since the start."""
    pending_writes: int
    failure: str | None
    """Why the store has stopped for good; None while it works."""
    alarms: Sequence[str] = ()
    """What is wrong with this member although it works: "nospace" when its disk is full."""
    snapshot_age: float = 0.0
    """Seconds since the last snapshot was taken, or found at the start; 0: there is none."""


class Watch(Protocol):
    """An asynchronous iterator over batches of events, in revision order; a revision is never split."""

    @property
    def progress(self) -> int:
        """Every event of the prefix up to this revision has been delivered."""

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    async def __anext__(self) -> Batch:
        """Wait for the next batch; ends after `close`.

        Raises WatcherTooSlow, StoreUnavailable, Compacted when the reader stayed so far behind that the history it
        was to read is gone, and the first time FutureRevision.
        """

    def close(self) -> None:
        """Stop; a waiting reader's iteration ends. Closing twice is fine."""


class Store(Protocol):
    """A revisioned, ordered, watchable map that survives whatever happens to its process."""

    async def get(self, key: str, *, revision: int = 0, serializable: bool = False) -> KeyValue | None:
        """The key's version at `revision` (0: now). Raises Compacted, FutureRevision, StoreUnavailable.

        A `revision` that this member has not heard of is waited for; FutureRevision means that nobody has written it.
        """

    async def range(
        self, prefix: str, *, start_after: str = "", limit: int = 0, revision: int = 0, serializable: bool = False
    ) -> RangeResult:
        """The keys that begin with `prefix`, in order, at one revision; from behind `start_after`, at most `limit`.

        Raises what `get` raises. A page costs what is in it, at a past revision too, plus a look at what was made and
        deleted since then.
        """

    async def txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> TxnResult:
        """If all compares hold, do all operations at one revision, else none. Returns when it is durable.

        Raises ValueTooLarge, InvalidTxn, UnknownLease, StoreBusy (not written) and StoreUnavailable (fate unknown).
        """

    def watch(self, prefix: str, *, after: int) -> Watch:
        """Every event of the prefix with a revision above `after`, from history first, then as it happens.

        Raises at once: Compacted when `after` is older than the history, StoreUnavailable. Where `after` is a revision
        that this member has not heard of, the first `__anext__` waits for it, or finds that it does not exist.
        """

    async def reach(self, revision: int) -> None:
        """Return when this member can answer at `revision`, which may come from another member.

        Raises FutureRevision when no member has written it, StoreUnavailable.
        """

    async def grant_lease(self, ttl: float) -> int:
        """A new lease, which ends `ttl` seconds after it was granted or kept last; its keys are deleted then.

        It never ends early. It may end late: by what the members were all down, and by about a minute for each time
        they were all started anew. Raises InvalidLease, TooManyLeases, StoreBusy, StoreUnavailable.
        """

    async def keep_lease(self, lease: int) -> float:
        """Begin the lease's time anew; returns its seconds. Raises UnknownLease, StoreBusy, StoreUnavailable."""

    async def revoke_lease(self, lease: int) -> None:
        """End the lease now: its keys are deleted at one revision. Raises UnknownLease, StoreBusy, StoreUnavailable."""

    async def compact(self, revision: int) -> None:
        """Forget what was overwritten or deleted up to `revision`. Compacting again to an older one does nothing."""

    def status(self) -> StoreStatus: ...

    def metrics(self) -> Metrics:
        """What is counted and timed; the same object every time."""

    async def wait_ready(self) -> None:
        """Wait until the store can answer. Raises StoreUnavailable when it never will."""

    async def wait_failed(self) -> str:
        """Wait until the store has failed for good, and say why: the process should then exit and be started again."""

    async def close(self) -> None:
        """Finish what was begun, flush, release the directory. Closing twice is fine."""


class ClusterStore(Store, Protocol):
    """A store of several members, asked on any of them; what only the leader can do is passed on to it.

    All of these raise StoreUnavailable: before a change means NothingWritten, a plain one that its fate is unknown; the
    list of members then tells.
    """

    async def members(self, *, serializable: bool = False) -> MemberList:
        """Who belongs to the store. `serializable`: as far as this member knows, without asking the leader."""

    async def add_member(self, name: str, address: str) -> MemberList:
        """Take a member in, as a learner; it is started with `Members.join`. Raises MembershipError."""

    async def promote_member(self, name: str) -> MemberList:
        """Give a learner a vote. Raises MembershipError: MemberNotReady until it has caught up."""

    async def remove_member(self, name: str) -> MemberList:
        """Take a member out for good: if it runs, it stops. Raises MembershipError."""

    async def move_member(self, name: str, address: str) -> MemberList:
        """The member is reached at another address from now on. Raises MembershipError."""

    async def transfer_leadership(self, name: str = "") -> MemberList:
        """Have this member lead; empty: whichever has most. Returns when it does. Raises MembershipError."""

    async def save_snapshot(self) -> bytes:
        """Everything, as of now, in the form of a snapshot's file. Raises StoreUnavailable."""
