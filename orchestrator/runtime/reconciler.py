"""The reconciler: the shell around every controller. Observes through informers, has the controller decide, acts.

A controller says which informers it looks at, which keys a changed object concerns, what there is to see of a key,
and what to do about it; the last is a pure function. Everything else is here, once: queueing, workers, applying,
retries, logs.

Promises. A key is decided by one worker at a time, always on the whole current state. After a plan has been carried
out, no decision about its key is made before the informers show the plan's result, so nothing is done twice, and no
controller needs to remember what it expects. When a write got no answer, the informers list anew before the key is
decided again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject
from orchestrator.client import Informer
from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.runtime import metrics
from orchestrator.runtime.events import EventRecorder
from orchestrator.runtime.plan import ApplyError, Batcher, Plan, Unanswered, apply_plan
from orchestrator.runtime.queue import WorkQueue

S = TypeVar("S")

# Informers of different kinds stand in one sequence; each knows its own kind.
AnyInformer = Informer[Any]

RESYNC_SECONDS = 600.0


class Controller(Protocol[S]):
    """One subject to keep as it should be. `S` is what it has to see to decide about one key."""

    @property
    def name(self) -> str: ...

    def informers(self) -> Sequence[AnyInformer]:
        """What it looks at; the same informers at every call."""
        ...

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        """The keys to look at again when an object of that informer has come, changed or gone."""
        ...

    def observe(self, key: str) -> S | None:
        """What the caches show for a key; None when there is nothing to decide."""
        ...

    def decide(self, seen: S, now: datetime) -> Plan:
        """What to do. Pure: the same answer for the same view."""
        ...


class Reconciler(Generic[S]):
    """A service that keeps a controller's subject as it should be."""

    def __init__(
        self,
        controller: Controller[S],
        client: Batcher,
        clock: Clock,
        *,
        workers: int = 4,
        rng: random.Random | None = None,
        resync_seconds: float = RESYNC_SECONDS,
    ) -> None:
        self.name = controller.name
        self._controller = controller
        self._client = client
        self._clock = clock
        self._workers = workers
        self._rng = rng or random.Random()
        self._resync_seconds = resync_seconds
        self._logger = logging.getLogger(controller.name)

    async def run(self, ready: Callable[[], None]) -> None:
        """Run until cancelled. A run begins from nothing: informers list, every key is looked at once."""
        queue: WorkQueue[str] = WorkQueue(self._clock, self._rng)
        recorder = EventRecorder(self._client, self.name, self._clock, self._rng)
        depth = metrics.queue_depth.labels(self.name)
        depth.set_function(lambda: len(queue))
        informers = self._controller.informers()
        with ExitStack() as subscriptions:
            for informer in informers:
                subscriptions.callback(informer.subscribe(self._waker(informer, queue)))
            async with asyncio.TaskGroup() as tasks:
                for informer in informers:
                    tasks.create_task(informer.run(), name=f"{self.name} informer")
                for informer in informers:
                    await informer.synced()
                ready()
                self._add_all(queue.add)
                tasks.create_task(queue.run(), name=f"{self.name} queue")
                tasks.create_task(recorder.run(), name=f"{self.name} events")
                tasks.create_task(self._resync(queue), name=f"{self.name} resync")
                for number in range(self._workers):
                    tasks.create_task(self._work(queue, recorder), name=f"{self.name} worker {number}")

    def _waker(
        self, informer: AnyInformer, queue: WorkQueue[str]
    ) -> Callable[[KubeObject | None, KubeObject | None], None]:
        def wake(old: KubeObject | None, new: KubeObject | None) -> None:
            # The old state too: it may have concerned another key.
            for obj in (old, new):
                if obj is not None:
                    for key in self._controller.keys(informer, obj):
                        queue.add(key)

        return wake

    def _add_all(self, add: Callable[[str], None]) -> None:
        for informer in self._controller.informers():
            for obj in informer.list():
                for key in self._controller.keys(informer, obj):
                    add(key)

    async def _resync(self, queue: WorkQueue[str]) -> None:
        """The safety net under the events: look at everything now and then, spread over a tenth of the interval."""
        spread = self._resync_seconds / 10
        while True:
            await self._clock.sleep(self._resync_seconds * (0.9 + 0.2 * self._rng.random()))
            self._add_all(lambda key: queue.add_after(key, spread * self._rng.random()))

    async def _work(self, queue: WorkQueue[str], recorder: EventRecorder) -> None:
        while True:
            key = await queue.get()
            try:
                with self._measured():
                    outcome = await self._reconcile(key, recorder)
            except (ApplyError, errors.ApiError) as error:
                delay = queue.add_backoff(key)
                self._logger.warning("reconcile failed", extra=fields(key=key, error=error, retry_seconds=delay))
            except Unanswered as error:
                delay = queue.add_backoff(key)
                self._logger.info("no answer", extra=fields(key=key, error=error, retry_seconds=delay))
                await self._see_anew()
            except Exception:
                # A fault in a controller concerns this key; the others go on.
                delay = queue.add_backoff(key)
                self._logger.exception("controller failed", extra=fields(key=key, retry_seconds=delay))
            else:
                if outcome.look_again:
                    queue.add_backoff(key)
                else:
                    queue.forget(key)
                    if outcome.requeue_after is not None:
                        queue.add_after(key, outcome.requeue_after)
            finally:
                queue.done(key)

    async def _reconcile(self, key: str, recorder: EventRecorder) -> _Outcome:
        """Decide and act once, and wait until the caches show the result."""
        seen = self._controller.observe(key)
        if seen is None:
            return _Outcome()
        plan = self._controller.decide(seen, self._clock.now())
        applied = await apply_plan(self._client, plan, recorder)
        for informer in self._controller.informers():
            revision = applied.revisions.get(informer.kind)
            if revision is not None:
                await informer.reached(revision)
        applied.raise_errors()
        return _Outcome(applied.look_again, plan.requeue_after)

    async def _see_anew(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for informer in self._controller.informers():
                tasks.create_task(informer.refresh())

    @contextmanager
    def _measured(self) -> Iterator[None]:
        began = self._clock.monotonic()
        result = "error"
        try:
            yield
            result = "success"
        finally:
            metrics.reconciles.labels(self.name, result).inc()
            metrics.reconcile_seconds.labels(self.name).observe(self._clock.monotonic() - began)


class _Outcome(NamedTuple):
    """When a key is due again: soon since its view was old, after some seconds, or when something changes."""

    look_again: bool = False
    requeue_after: float | None = None
