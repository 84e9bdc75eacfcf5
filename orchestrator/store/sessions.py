"""Which groups of writes have been applied, so that one proposed again is not applied again.

Part of the replicated state: it changes only by applying entries, so every member decides alike, and it is in every
snapshot. A member numbers its groups within one run of its process and says below which number it will propose none
again; so what has to be remembered is short. A few runs of each member are remembered, because an entry of an earlier
run may still be on its way when the next one begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from orchestrator.store.command import Origin

RUNS_KEPT = 8
"""Runs remembered of each member, the latest in the log."""


@dataclass(slots=True)
class Session:
    """One run of one member: everything below `settled` counts as applied, and so do these numbers."""

    member: str
    incarnation: int
    settled: int = 0
    applied: set[int] = field(default_factory=set)


class Sessions:
    def __init__(self, sessions: Iterable[Session] = ()) -> None:
        self._runs: dict[str, list[Session]] = {}
        for session in sessions:
            self._runs.setdefault(session.member, []).append(session)

    def admit(self, origin: Origin) -> bool:
        """Whether the group is to be applied; it then counts as applied."""
        session = self._session(origin)
        if origin.settled > session.settled:
            session.settled = origin.settled
            session.applied = {number for number in session.applied if number >= origin.settled}
        if origin.number < session.settled or origin.number in session.applied:
            return False
        session.applied.add(origin.number)
        return True

    def has_applied(self, member: str, incarnation: int, number: int) -> bool:
        for session in self._runs.get(member, ()):
            if session.incarnation == incarnation:
                return number < session.settled or number in session.applied
        return False

    def dump(self) -> Sequence[Session]:
        """Copies of all, to be written into a snapshot, oldest run of a member first."""
        return [
            Session(each.member, each.incarnation, each.settled, set(each.applied))
            for runs in self._runs.values()
            for each in runs
        ]

    def _session(self, origin: Origin) -> Session:
        runs = self._runs.setdefault(origin.member, [])
        for session in runs:
            if session.incarnation == origin.incarnation:
                return session
        session = Session(origin.member, origin.incarnation)
        runs.append(session)
        del runs[:-RUNS_KEPT]
        return session
