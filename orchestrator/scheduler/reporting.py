"""What people are told about pods that wait: the PodScheduled condition and the events.

Telling never holds up deciding: `say` only takes note, `run` writes. A condition is written when it changes, and only
on the state of the pod it was decided for: a pod that has changed meanwhile is looked at again when the watch shows the
change, so a binding is never overwritten by an older refusal. Of several things said about a pod, the last is written.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.api import errors
from orchestrator.api.kinds import clone, key_of
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Pod
from orchestrator.client import Update
from orchestrator.client.backoff import Backoff
from orchestrator.client.client import UNANSWERED
from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.runtime.plan import Batcher

log = logging.getLogger("scheduler")

POD_SCHEDULED = "PodScheduled"
BATCH = 200


@dataclass(frozen=True, slots=True)
class Report:
    """Why a pod has no node: a word for machines and a sentence for people."""

    key: str
    uid: str
    reason: str
    message: str


class Reporter:
    """Writes conditions of waiting pods; `run` is a task beside the scheduler's own.

    `known` gives the state of a pod that the watch has shown last, by its key.
    """

    def __init__(self, client: Batcher, known: Callable[[str], Pod | None], clock: Clock, rng: random.Random) -> None:
        self._client = client
        self._known = known
        self._clock = clock
        self._rng = rng
        self._due: dict[str, Report] = {}
        # Refused because the pod had changed; due when the watch shows that change.
        self._held: dict[str, Report] = {}
        self._something = asyncio.Event()

    def say(self, pod: Pod, reason: str, message: str) -> None:
        """Have this written, in place of what was said about the pod before."""
        report = Report(key_of(pod), pod.metadata.uid, reason, message)
        self._held.pop(report.uid, None)
        self._due[report.uid] = report
        self._something.set()

    def forget(self, uid: str) -> None:
        """The pod is gone, or has a node."""
        self._due.pop(uid, None)
        self._held.pop(uid, None)

    def changed(self, uid: str) -> None:
        """The watch shows a newer state of the pod."""
        report = self._held.pop(uid, None)
        if report is not None:
            self._due.setdefault(uid, report)
            self._something.set()

    async def run(self) -> None:
        """Write what is said, until cancelled."""
        backoff = Backoff(self._rng)
        while True:
            await self._something.wait()
            batch = [self._due.pop(uid) for uid in list(self._due)[:BATCH]]
            if not self._due:
                self._something.clear()
            try:
                await self._write(batch)
                backoff.reset()
            except UNANSWERED as error:
                log.info("conditions not written", extra=fields(pods=len(batch), error=error.message))
                for report in batch:
                    if report.uid not in self._held:
                        self._due.setdefault(report.uid, report)
                self._something.set()
                await self._clock.sleep(backoff.next())

    async def _write(self, batch: Sequence[Report]) -> None:
        """Raises what leaves it open whether all were written: writing again is harmless."""
        now = self._clock.now()
        reports: list[Report] = []
        updates: list[Update] = []
        for report in batch:
            pod = self._waiting(report)
            told = None if pod is None else with_condition(pod, report.reason, report.message, now)
            if told is not None:
                reports.append(report)
                updates.append(Update(told, "status"))
        if not updates:
            return
        unanswered: errors.ApiError | None = None
        for report, update, result in zip(reports, updates, await self._client.batch(updates), strict=True):
            match result:
                case errors.Conflict():
                    self._hold(report, update.obj.metadata.resource_version)
                case errors.ApiError() if isinstance(result, UNANSWERED):
                    unanswered = result
                case errors.ApiError() if not isinstance(result, errors.NotFound):
                    log.warning("condition refused", extra=fields(pod=report.key, error=result.message))
        if unanswered is not None:
            raise unanswered

    def _waiting(self, report: Report) -> Pod | None:
        """The pod as it is now, if it still waits."""
        pod = self._known(report.key)
        return pod if pod is not None and pod.metadata.uid == report.uid and not pod.spec.node_name else None

    def _hold(self, report: Report, written: str) -> None:
        """Keep a report for a newer state of the pod than `written`, unless there is a newer report."""
        pod = self._waiting(report)
        if pod is None or report.uid in self._due:
            return
        if pod.metadata.resource_version == written:
            self._held[report.uid] = report
        else:
            self._due[report.uid] = report
            self._something.set()


def with_condition(pod: Pod, reason: str, message: str, now: datetime) -> Pod | None:
    """The pod with PodScheduled=False for that reason; None when it says so already."""
    known = next((each for each in pod.status.conditions if each.type == POD_SCHEDULED), None)
    if known is not None and (known.status, known.reason, known.message) == ("False", reason, message):
        return None
    told = clone(pod)
    condition = next((each for each in told.status.conditions if each.type == POD_SCHEDULED), None)
    if condition is None:
        condition = told.status.conditions.add(type=POD_SCHEDULED)
    if condition.status != "False":
        condition.status = "False"
        condition.last_transition_time.CopyFrom(to_timestamp(now.replace(microsecond=0)))
    condition.reason, condition.message = reason, message
    return told
