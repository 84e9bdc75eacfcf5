"""Who waits for a node, and until when.

A pod is active (to be decided in the next cycle) or resting until a certain time. One that no node would take rests for
minutes, but comes back much sooner when something happens that could help it: the rules that refused it say what that
is. One whose binding went wrong comes back by itself. A pod that fails again and again comes back later each time,
so a full cluster is not searched over and over.

Times are seconds of a monotonic clock and are passed in. Pure, but for remembering.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from orchestrator.scheduler.decide import Candidate
from orchestrator.scheduler.plugins import DEPENDENT_ON_PODS

# After something happened that may help: at most about as long as the pod has waited already, so that a pod created
# while the first node starts runs as soon as the node does.
FIRST_RETRY = 0.05
# After an error: the server should be left alone for a while.
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 10.0
# The safety net: nobody rests longer, whatever events were thought not to matter.
LONGEST_REST = 300.0


class Change(enum.Enum):
    """What may let a refused pod run after all."""

    NODE = "a node came, went or changed"
    ROOM = "a pod has gone from a node"


@dataclass(slots=True)
class Waiting:
    """One pod that waits. `refused_by`: the rules that refused nodes, None when something else went wrong."""

    key: str
    candidate: Candidate
    refusals: int = 0
    errors: int = 0
    refused_at: float = 0.0
    refused_by: frozenset[str] | None = None
    message: str = ""
    said_at: float = 0.0

    @property
    def uid(self) -> str:
        return self.candidate.uid

    @property
    def soonest(self) -> float:
        """When it may be tried again after its last refusal, if something happened."""
        return self.refused_at + _doubled(FIRST_RETRY, self.refusals)

    def told(self, message: str, now: float) -> bool:
        """Whether people should hear this: it is new, or has not been said for minutes. Remembers that they did."""
        if message == self.message and now < self.said_at + LONGEST_REST:
            return False
        self.message, self.said_at = message, now
        return True

    def helped_by(self, change: Change) -> bool:
        if self.refused_by is None:
            return False
        return change is Change.NODE or bool(self.refused_by & DEPENDENT_ON_PODS)


class Pending:
    """All pods that wait, by uid. One that was taken is in neither place until it is refused, retried or removed."""

    def __init__(self) -> None:
        self._all: dict[str, Waiting] = {}
        self._active: dict[str, None] = {}
        self._resting: dict[str, float] = {}

    def put(self, key: str, candidate: Candidate) -> bool:
        """A pod without a node was seen; True if it is to be decided: one that is known stays where it is."""
        known = self._all.get(candidate.uid)
        if known is not None and known.candidate == candidate:
            return False
        self._all[candidate.uid] = Waiting(key, candidate)
        self._resting.pop(candidate.uid, None)
        self._active[candidate.uid] = None
        return True

    def remove(self, uid: str) -> None:
        """The pod is gone or has a node."""
        self._all.pop(uid, None)
        self._active.pop(uid, None)
        self._resting.pop(uid, None)

    def take(self, limit: int, now: float) -> list[Waiting]:
        """The next pods to decide, by rank."""
        for uid, due in list(self._resting.items()):
            if due <= now:
                del self._resting[uid]
                self._active[uid] = None
        taken = sorted((self._all[uid] for uid in self._active), key=lambda pod: pod.candidate.rank)[:limit]
        for pod in taken:
            del self._active[pod.uid]
        return taken

    def refuse(self, pod: Waiting, plugins: frozenset[str], now: float) -> None:
        """No node will do for the pod: it rests until something helps."""
        if self._all.get(pod.uid) is pod:
            pod.refusals += 1
            pod.refused_at, pod.refused_by = now, plugins
            self._resting[pod.uid] = now + LONGEST_REST

    def retry(self, pod: Waiting, now: float) -> None:
        """Something went wrong that has nothing to do with the nodes: the pod comes back after a while."""
        if self._all.get(pod.uid) is pod:
            pod.errors += 1
            pod.refused_by = None
            self._resting[pod.uid] = now + _doubled(FIRST_BACKOFF, pod.errors)

    def wake(self, change: Change) -> bool:
        """Let come back who may be helped by a change, each when it may; True if there is one."""
        found = False
        for uid, due in self._resting.items():
            pod = self._all[uid]
            if pod.helped_by(change):
                self._resting[uid] = min(due, pod.soonest)
                found = True
        return found

    def next_due(self) -> float | None:
        """When `take` will have something: 0 for now, None for not before the next event."""
        if self._active:
            return 0.0
        return min(self._resting.values(), default=None)


def _doubled(first: float, times: int) -> float:
    return min(LONGEST_BACKOFF, first * 2.0 ** min(times - 1, 16))
