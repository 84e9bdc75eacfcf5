"""Brings the statuses of this node's pods to the API: the newest of each, many pods in one request.

Each pod has at most one write under way; what changes meanwhile is written afterwards, in one step. A write names the
version it was made from, so it never wipes out what somebody else has just written into the status: after a Conflict
the pod's worker sees the newer object and offers anew. While the API is away everything waits, and only the last of
each pod is written when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from orchestrator.api import errors
from orchestrator.api.kinds import clone, key_of
from orchestrator.api.v1 import Pod, PodStatus
from orchestrator.client import Client, Update
from orchestrator.client.backoff import Backoff
from orchestrator.client.client import UNANSWERED
from orchestrator.clock import Clock
from orchestrator.logs import fields

log = logging.getLogger("node.status")

BATCH = 64


@dataclass(slots=True)
class _Entry:
    """`base`: the newest version known. `sent` was stored as `stored`, which may be worded differently."""

    base: Pod
    wanted: PodStatus
    sent: PodStatus | None = None
    stored: PodStatus | None = None
    # A write from this version met a Conflict: wait for a newer one.
    outdated: int = 0

    @property
    def version(self) -> int:
        return _version(self.base)

    @property
    def due(self) -> bool:
        if self.version <= self.outdated or self.wanted == self.base.status:
            return False
        return not (self.wanted == self.sent and self.base.status == self.stored)


class StatusWriter:
    """`offer` from the workers, `run` beside them."""

    def __init__(self, client: Client, clock: Clock, rng: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._entries: dict[str, _Entry] = {}
        self._dirty: dict[str, None] = {}
        self._something = asyncio.Event()

    def offer(self, pod: Pod, status: PodStatus) -> None:
        """This is how the pod is doing; `pod` is the newest the informer has."""
        uid = pod.metadata.uid
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod, status)
        else:
            entry.wanted = status
            if _version(pod) > entry.version:
                entry.base = pod
        if entry.due:
            self._dirty[uid] = None
            self._something.set()

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._entries.pop(uid, None)
        self._dirty.pop(uid, None)

    async def run(self) -> None:
        backoff = Backoff(self._rng)
        while True:
            await self._something.wait()
            uids = list(self._dirty)[:BATCH]
            for uid in uids:
                del self._dirty[uid]
            if not self._dirty:
                self._something.clear()
            try:
                await self._write(uids)
                backoff.reset()
            except (*UNANSWERED, errors.TooManyRequests) as error:
                delay = backoff.next()
                log.info("statuses wait for the server", extra=fields(error=error.message, again_in=round(delay, 2)))
                self._again(uids)
                await self._clock.sleep(delay)

    async def _write(self, uids: list[str]) -> None:
        chosen = [(uid, entry) for uid in uids if (entry := self._entries.get(uid)) is not None and entry.due]
        if not chosen:
            return
        updates = [(uid, entry, _with_status(entry.base, entry.wanted)) for uid, entry in chosen]
        results = await self._client.batch([Update(pod, "status") for _, _, pod in updates])
        held_up: errors.ApiError | None = None
        for (uid, entry, pod), result in zip(updates, results, strict=True):
            match result:
                case Pod():
                    entry.sent, entry.stored = pod.status, result.status
                    if _version(result) > entry.version:
                        entry.base = result
                case errors.Conflict():
                    entry.outdated = _version(pod)
                case errors.NotFound():
                    self.forget(uid)
                case errors.ApiError() if isinstance(result, (*UNANSWERED, errors.TooManyRequests)):
                    held_up = result
                case errors.ApiError():
                    log.warning("status refused", extra=fields(pod=key_of(pod), error=result.message))
                    entry.outdated = _version(pod)
        if held_up is not None:
            raise held_up
        self._again(uids)

    def _again(self, uids: list[str]) -> None:
        for uid in uids:
            entry = self._entries.get(uid)
            if entry is not None and entry.due:
                self._dirty[uid] = None
                self._something.set()


def _with_status(base: Pod, status: PodStatus) -> Pod:
    pod = clone(base)
    pod.status.CopyFrom(status)
    return pod


def _version(pod: Pod) -> int:
    return int(pod.metadata.resource_version or 0)
