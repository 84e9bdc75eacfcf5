"""What can go wrong in the store, each with the fact the caller needs to go on.

The store knows no API, so these are not API errors; the server translates them (Compacted becomes Expired,
ValueTooLarge becomes RequestEntityTooLarge, StoreUnavailable becomes ServiceUnavailable).
"""

from __future__ import annotations


class StoreError(Exception):
    """The common ancestor of everything the store raises."""


class Compacted(StoreError):
    """The asked revision is older than the history that is kept: list again and watch from there."""

    def __init__(self, compacted_revision: int) -> None:
        super().__init__(f"the history up to revision {compacted_revision} has been compacted")
        self.compacted_revision = compacted_revision


class FutureRevision(StoreError):
    """The asked revision has not been written yet."""

    def __init__(self, asked: int, current: int) -> None:
        super().__init__(f"revision {asked} lies in the future: the store is at revision {current}")
        self.asked = asked
        self.current = current


class WatcherTooSlow(StoreError):
    """The reader fell behind by more than its backlog holds and was cut; it can resume after `delivered_revision`."""

    def __init__(self, delivered_revision: int, backlog: int) -> None:
        super().__init__(
            f"the watcher fell more than {backlog} events behind: resume after revision {delivered_revision}"
        )
        self.delivered_revision = delivered_revision
        self.backlog = backlog


class StoreUnavailable(StoreError):
    """The store cannot answer: it is closed, has no leader, or its disk failed. A write's fate is then unknown."""


class NothingWritten(StoreUnavailable):
    """The store cannot answer now, and what was to be written certainly was not."""


class StoreBusy(NothingWritten):
    """Too many writes wait already; this one was not taken and may be tried again."""


class DiskFull(NothingWritten):
    """There is no room on this member's disk; it takes writes again by itself once there is."""


class StoreRefused(StoreError):
    """A member's door did not let the call in, or could not read it; nothing was done."""


class StoreLocked(StoreUnavailable):
    """Another process has this directory open."""


class StoreCorrupt(StoreError):
    """What is on the disk is not what was written. Nothing was changed; the message says which file and where."""


class WrongIdentity(StoreCorrupt):
    """The directory belongs to another member or another cluster. Nothing was changed."""


class MembershipError(StoreError):
    """The members cannot be changed in this way now; they are as they were."""


class UnknownMember(MembershipError):
    """There is no member of that name."""


class MemberExists(MembershipError):
    """There is a member of that name or address already, or it has its vote already."""


class MemberNotReady(MembershipError):
    """The learner has not caught up: with a vote it would only be waited for. Try again later."""


class ChangeInProgress(MembershipError):
    """Members are changed one at a time, and another change is not finished. Try again."""


class QuorumAtRisk(MembershipError):
    """After the change too few of the members with a vote would be reachable for the store to go on."""


class ValueTooLarge(StoreError):
    """A value, a key or a whole txn is over its limit. Nothing was written."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(f"{what} is {size} bytes: the limit is {limit} bytes")
        self.size = size
        self.limit = limit


class InvalidTxn(StoreError):
    """A txn that makes no sense: an empty key, or two operations on one key."""


class LeaseError(StoreError):
    """The common ancestor of what can be wrong with a lease. Nothing was changed."""


class UnknownLease(LeaseError):
    """There is no such lease: it has ended, or never was."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"there is no lease {lease}: it has ended, or never was")
        self.lease = lease


class TooManyLeases(LeaseError):
    """As many leases as the store keeps are in use already."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"there are {limit} leases already, which is the limit")
        self.limit = limit


class InvalidLease(LeaseError):
    """A lease that makes no sense: one that lasts no time, or for ever."""
