"""Leader election by a Lease: of several processes that could do a work, one does it.

The holder renews the lease every few seconds. The others watch it, and one takes it over when it has not been renewed
for the lease's duration, measured by their own clock from when they last saw it change: the machines' clocks need not
agree. Writing with the version that was read lets exactly one win.

Promises. The work runs only while the lease is held. A holder that can't renew gives the work up at the renew
deadline, which is earlier than anyone else may take the lease over. A graceful stop ends the work first and then
gives the lease back, so the next one starts at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.v1 import Lease, ObjectMeta
from orchestrator.client.informer import Informer, Source
from orchestrator.clock import Clock, within
from orchestrator.logs import fields
from orchestrator.runtime import metrics

log = logging.getLogger("leader")

K = TypeVar("K", bound=KubeObject)

NAMESPACE = "kube-system"
LEASE_SECONDS = 15.0
RENEW_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0
ATTEMPTS = 3
"""To renew, each as long as the others, before the deadline."""


class LeaseClient(Source, Protocol):
    """The part of the client an election needs."""

    async def create(self, obj: K) -> K: ...

    async def update(self, obj: K) -> K: ...

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K: ...


class LeaderElection:
    """One candidate for one lease. `identity` tells candidates apart: it must differ between any two processes."""

    def __init__(
        self,
        client: LeaseClient,
        lease_name: str,
        identity: str,
        clock: Clock,
        *,
        rng: random.Random | None = None,
        lease_seconds: float = LEASE_SECONDS,
        renew_deadline_seconds: float = RENEW_DEADLINE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        if not retry_seconds < renew_deadline_seconds < lease_seconds:
            raise ValueError("leader election needs retry < renew deadline < lease duration")
        self.name = lease_name
        self.identity = identity
        self._client = client
        self._clock = clock
        self._rng = rng or random.Random()
        self._lease_seconds = lease_seconds
        self._renew_deadline = renew_deadline_seconds
        self._retry = retry_seconds
        self._leases = Informer(
            client,
            Lease,
            namespace=NAMESPACE,
            field_selector=f"metadata.name={lease_name}",
            clock=clock,
            rng=self._rng,
        )
        self._changed = asyncio.Event()
        # When this process last saw the lease change: the moment from which its duration counts.
        self._seen_at = clock.monotonic()
        self._seen_version = ""
        self._leading = False

    @property
    def leading(self) -> bool:
        return self._leading

    @property
    def holder(self) -> str:
        """Who holds the lease, as far as is known here; empty when nobody does."""
        lease = self._leases.get(NAMESPACE, self.name)
        return lease.spec.holder_identity if lease is not None else ""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease and work while it is held, again and again. Returns when the work returns by itself."""
        unsubscribe = self._leases.subscribe(self._note)
        watching = asyncio.ensure_future(self._leases.run())
        try:
            while True:
                lease, acquired_at = await self._acquire(watching)
                if await self._lead(lease, acquired_at, work):
                    return
        finally:
            unsubscribe()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _note(self, old: Lease | None, new: Lease | None) -> None:
        self._seen_at = self._clock.monotonic()
        self._changed.set()

    async def _acquire(self, watching: asyncio.Future[None]) -> tuple[Lease, float]:
        """Wait until the lease is free and take it. Returns it with the moment from which it counts as renewed."""
        await self._first(self._leases.synced(), watching)
        while True:
            self._changed.clear()
            lease = self._leases.get(NAMESPACE, self.name)
            wait = self._remaining(lease)
            if wait <= 0:
                asked_at = self._clock.monotonic()
                taken = await self._try(self._taken(lease))
                if taken is not None:
                    return taken, asked_at
                # Someone was faster, or the server is away: look again soon, or when the lease changes.
                wait = self._retry * (1 + 0.2 * self._rng.random())
            await self._first(self._changed.wait(), self._clock.sleep(wait), watching)

    def _remaining(self, lease: Lease | None) -> float:
        """How long the present holder may not be disturbed."""
        if lease is None or not lease.spec.holder_identity or lease.spec.holder_identity == self.identity:
            return 0.0
        duration = lease.spec.lease_duration_seconds or self._lease_seconds
        return self._seen_at + duration - self._clock.monotonic()

    async def _lead(self, lease: Lease, acquired_at: float, work: Callable[[], Awaitable[None]]) -> bool:
        """Work and renew until one of them ends. True when the work is done."""
        log.info("leading", extra=fields(lease=self.name, identity=self.identity))
        gauge = metrics.leading.labels(self.name)
        gauge.set(1)
        self._leading = True
        held = _Held(lease, acquired_at)
        working = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._renew(held))
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
                return True
            await renewing
            return False
        finally:
            # The work ends before anyone else may begin it.
            await _stop(working)
            await _stop(renewing)
            self._leading = False
            gauge.set(0)
            log.info("no longer leading", extra=fields(lease=self.name, identity=self.identity))
            await self._release(held)

    async def _renew(self, held: _Held) -> None:
        """Renew the lease again and again; return when it is lost or the deadline has passed."""
        while True:
            await self._clock.sleep(self._retry)
            deadline = held.renewed_at + self._renew_deadline
            while (left := deadline - self._clock.monotonic()) > 0:
                asked_at = self._clock.monotonic()
                try:
                    # Not all the time for one attempt: of several servers the next may answer where one is silent.
                    attempt = min(left, self._renew_deadline / ATTEMPTS)
                    held.lease = await within(self._clock, attempt, self._client.update(self._renewed(held.lease)))
                except (errors.Conflict, errors.NotFound):
                    if not await self._still_held(held, attempt):
                        log.warning("lease lost", extra=fields(lease=self.name, holder=self.holder))
                        held.lost = True
                        return
                except errors.ApiError as error:
                    log.info("lease not renewed", extra=fields(lease=self.name, error=error.message))
                    await self._clock.sleep(min(self._retry, max(0.0, deadline - self._clock.monotonic())))
                except TimeoutError:
                    log.info("lease not renewed", extra=fields(lease=self.name, error="no answer"))
                else:
                    held.renewed_at = asked_at
                    break
            if self._clock.monotonic() >= held.renewed_at + self._renew_deadline:
                log.warning("could not renew the lease before its deadline", extra=fields(lease=self.name))
                return

    async def _still_held(self, held: _Held, seconds: float) -> bool:
        """Read the lease after a conflict: a renewal whose answer was lost is still ours."""
        try:
            lease = await within(self._clock, seconds, self._client.get(Lease, self.name, NAMESPACE))
        except errors.NotFound:
            return False
        except (errors.ApiError, TimeoutError):
            # Not known yet: the deadline decides.
            await self._clock.sleep(min(self._retry, seconds))
            return True
        held.lease = lease
        return lease.spec.holder_identity == self.identity

    async def _release(self, held: _Held) -> None:
        """Give the lease back so that the next one need not wait. Best effort: it runs out by itself."""
        if held.lost:
            return
        lease = clone(held.lease)
        # Absent, not empty: that would be no valid identity.
        lease.spec.ClearField("holder_identity")
        lease.spec.lease_duration_seconds = 1
        lease.spec.renew_time.FromDatetime(self._clock.now())
        try:
            await within(self._clock, self._retry, self._client.update(lease))
        except (errors.ApiError, TimeoutError) as error:
            log.info("lease not given back", extra=fields(lease=self.name, error=error))

    async def _try(self, wanted: Lease) -> Lease | None:
        """Write the lease with this process as its holder; None when it can't be had now."""
        write = self._client.update(wanted) if wanted.metadata.resource_version else self._client.create(wanted)
        try:
            return await within(self._clock, self._renew_deadline, write)
        except (errors.Conflict, errors.AlreadyExists, errors.NotFound):
            return None
        except (errors.ApiError, TimeoutError) as error:
            log.info("lease not acquired", extra=fields(lease=self.name, error=error))
            return None

    def _taken(self, lease: Lease | None) -> Lease:
        now = self._clock.now()
        if lease is None:
            wanted = Lease(metadata=ObjectMeta(name=self.name, namespace=NAMESPACE))
        else:
            wanted = clone(lease)
            if lease.spec.holder_identity != self.identity:
                wanted.spec.lease_transitions = lease.spec.lease_transitions + 1
        wanted.spec.holder_identity = self.identity
        wanted.spec.lease_duration_seconds = round(self._lease_seconds)
        wanted.spec.acquire_time.FromDatetime(now)
        wanted.spec.renew_time.FromDatetime(now)
        return wanted

    def _renewed(self, lease: Lease) -> Lease:
        renewed = clone(lease)
        renewed.spec.renew_time.FromDatetime(self._clock.now())
        return renewed

    async def _first(self, *awaitables: Awaitable[object]) -> None:
        """Wait for the first of several; a failure of the watch ends the election."""
        waiting = [asyncio.ensure_future(each) for each in awaitables]
        watching = waiting[-1]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
        finally:
            for each in waiting[:-1]:
                await _stop(each)


class _Held:
    """The lease while it is held."""

    def __init__(self, lease: Lease, renewed_at: float) -> None:
        self.lease = lease
        self.renewed_at = renewed_at
        self.lost = False


async def _stop(task: asyncio.Future[None] | asyncio.Future[object]) -> None:
    """Cancel a task and wait for its end. What it raises while it ends concerns nobody else any more."""
    already = task.done()
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception) and not already:
        log.error("failed while stopping", exc_info=outcome)
