"""Leases as part of the replicated state: which there are, what hangs on each, and how much time the log gives it.

A lease's time is not measured here, as the state has no clock: `lease_keeper` does that, and the leader's has the last
word by proposing an end. `renewals` makes that word exact: an end or a remaining time that was decided before a renewal
speaks of another count, and means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.store.errors import UnknownLease


@dataclass(slots=True)
class Lease:
    """Times are milliseconds."""

    id: int
    ttl: int
    remaining: int
    """Of the time since the last renewal; as far as the log has been told."""
    renewals: int = 0
    keys: set[str] = field(default_factory=set)


class Leases:
    def __init__(self, leases: Iterable[Lease] = (), *, granted: int = 0) -> None:
        self._by_id = {lease.id: lease for lease in leases}
        self.granted = granted
        """The last id given to a lease; ids are never given twice."""
        self._touched = set(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._by_id.values())

    def __contains__(self, id: int) -> bool:
        return id in self._by_id

    def find(self, id: int) -> Lease | None:
        return self._by_id.get(id)

    def get(self, id: int) -> Lease:
        """Raises UnknownLease."""
        lease = self._by_id.get(id)
        if lease is None:
            raise UnknownLease(id)
        return lease

    def grant(self, ttl: int) -> Lease:
        self.granted += 1
        lease = Lease(self.granted, ttl, ttl)
        self._by_id[lease.id] = lease
        self._touched.add(lease.id)
        return lease

    def keep(self, id: int) -> Lease:
        """Raises UnknownLease."""
        lease = self.get(id)
        lease.renewals += 1
        lease.remaining = lease.ttl
        self._touched.add(id)
        return lease

    def note(self, id: int, renewals: int, remaining: int) -> None:
        """That much is left of a lease, unless it has been renewed since that was found."""
        lease = self._by_id.get(id)
        if lease is not None and lease.renewals == renewals:
            lease.remaining = min(lease.remaining, remaining)
            self._touched.add(id)

    def end(self, id: int) -> Lease:
        """Raises UnknownLease."""
        lease = self.get(id)
        del self._by_id[id]
        self._touched.add(id)
        return lease

    def attach(self, id: int, key: str) -> None:
        self._by_id[id].keys.add(key)

    def detach(self, id: int, key: str) -> None:
        lease = self._by_id.get(id)
        if lease is not None:
            lease.keys.discard(key)

    def take_touched(self) -> Sequence[int]:
        """The leases that were granted, renewed, noted or ended since the last call."""
        if not self._touched:
            return ()
        touched, self._touched = self._touched, set()
        return tuple(touched)

    def dump(self) -> Sequence[Lease]:
        """Copies without their keys, which name their lease themselves, to be written into a snapshot."""
        return [Lease(each.id, each.ttl, each.remaining, each.renewals) for each in self._by_id.values()]
