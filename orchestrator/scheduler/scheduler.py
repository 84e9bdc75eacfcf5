"""The scheduler's shell: watches nodes and pods, has `decide` place what waits, binds with one batch.

Nothing is delayed to gather a larger batch: a cycle begins as soon as a pod waits and takes all that wait then. A pod
that was placed counts on its node at once (it is assumed there), before the watch shows the binding; if the binding is
refused, it is taken off again. What can't be placed is reported and rests until something changes that could help.

Promises. A pod is bound at most once: the server refuses a second binding. When a binding got no answer, the pods are
listed anew before anything is decided about it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.api import errors
from orchestrator.api.kinds import key_of
from orchestrator.api.v1 import Node, Pod
from orchestrator.client import Bind, Client, Informer
from orchestrator.client.client import UNANSWERED
from orchestrator.clock import Clock, within
from orchestrator.logs import fields
from orchestrator.runtime import EventRecord, EventRecorder
from orchestrator.scheduler.decide import Candidate, decide
from orchestrator.scheduler.pending import Change, Pending, Waiting
from orchestrator.scheduler.reporting import Reporter
from orchestrator.scheduler.shape import shape_of
from orchestrator.scheduler.snapshot import Nodes

log = logging.getLogger("scheduler")

COMPONENT = "default-scheduler"
# As many bindings as go into one request. More pods than that would hold up the event loop, which others share.
CYCLE_LIMIT = 256
UNSCHEDULABLE = "Unschedulable"
GATED = "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"
FINISHED = frozenset({"Succeeded", "Failed"})


class Scheduler:
    """A service. Only one of a cluster should run: whoever starts it wraps it in an election."""

    name = "scheduler"

    def __init__(self, client: Client, clock: Clock, *, rng: random.Random | None = None) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng or random.Random()
        self._nodes = Informer(client, Node, clock=clock)
        self._pods = Informer(client, Pod, clock=clock)

    async def run(self, ready: Callable[[], None]) -> None:
        """Run until cancelled. A run begins from nothing but what the informers list."""
        recorder = EventRecorder(self._client, COMPONENT, self._clock, self._rng)
        reporter = Reporter(self._client, self._pods.get_by_key, self._clock, self._rng)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run(), name="scheduler nodes")
            tasks.create_task(self._pods.run(), name="scheduler pods")
            await self._nodes.synced()
            await self._pods.synced()
            tasks.create_task(recorder.run(), name="scheduler events")
            tasks.create_task(reporter.run(), name="scheduler conditions")
            run = _Run(self._client, self._clock, self._rng, self._pods, recorder, reporter)
            for node in self._nodes.list():
                run.node_changed(None, node)
            for pod in self._pods.list():
                run.pod_changed(None, pod)
            unsubscribe = (self._nodes.subscribe(run.node_changed), self._pods.subscribe(run.pod_changed))
            ready()
            try:
                await run.cycles()
            finally:
                for each in unsubscribe:
                    each()


@dataclass(frozen=True, slots=True)
class _Placement:
    waiting: Waiting
    pod: Pod
    node_name: str


class _Run:
    """The state of one run of the scheduler."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        rng: random.Random,
        pods: Informer[Pod],
        recorder: EventRecorder,
        reporter: Reporter,
    ) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._pods = pods
        self._recorder = recorder
        self._reporter = reporter
        self._nodes = Nodes()
        self._pending = Pending()
        # Placed by this run, binding not seen yet.
        self._assumed: set[str] = set()
        self._something = asyncio.Event()

    # What informers tell

    def node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None:
            helps = self._nodes.put_node(new)
        else:
            # It refuses pods no longer, and the message counts it.
            helps = old is not None and self._nodes.remove_node(old.metadata.name)
        if helps:
            self._wake(Change.NODE)

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._leave(old.metadata.uid)
        if new is None:
            return
        uid = new.metadata.uid
        if new.status.phase in FINISHED:
            self._leave(uid)
        elif new.spec.node_name:
            self._assumed.discard(uid)
            self._pending.remove(uid)
            self._reporter.forget(uid)
            self._nodes.put_pod(uid, new.spec.node_name, shape_of(new))
        elif uid not in self._assumed:
            self._consider(new)

    def _consider(self, pod: Pod) -> None:
        """A pod without a node: is it ours to place, and now?"""
        uid = pod.metadata.uid
        if pod.metadata.HasField("deletion_timestamp") or pod.spec.scheduler_name not in ("", COMPONENT):
            self._pending.remove(uid)
            self._reporter.forget(uid)
        elif pod.spec.scheduling_gates:
            self._pending.remove(uid)
            self._reporter.say(pod, GATED, GATED_MESSAGE)
        else:
            created = pod.metadata.creation_timestamp.seconds
            candidate = Candidate(uid, shape_of(pod), pod.spec.priority, created)
            if self._pending.put(key_of(pod), candidate):
                # What was said was said of another state: of a pod with gates, perhaps.
                self._reporter.forget(uid)
                self._something.set()
            else:
                self._reporter.changed(uid)

    def _leave(self, uid: str) -> None:
        """The pod neither waits nor takes anything of a node any more."""
        self._assumed.discard(uid)
        self._pending.remove(uid)
        self._reporter.forget(uid)
        if self._nodes.remove_pod(uid):
            self._wake(Change.ROOM)

    def _wake(self, change: Change) -> None:
        if self._pending.wake(change):
            self._something.set()

    # Cycles

    async def cycles(self) -> None:
        """Decide and bind whenever a pod is due, until cancelled."""
        while True:
            await self._due()
            waiting = self._pending.take(CYCLE_LIMIT, self._clock.monotonic())
            if waiting:
                await self._cycle(waiting)

    async def _due(self) -> None:
        """Return when a pod may be due."""
        due = self._pending.next_due()
        wait = None if due is None else due - self._clock.monotonic()
        if wait is None:
            await self._something.wait()
        elif wait > 0:
            try:
                await within(self._clock, wait, self._happened())
            except TimeoutError:
                return
        self._something.clear()

    async def _happened(self) -> None:
        await self._something.wait()

    async def _cycle(self, waiting: Sequence[Waiting]) -> None:
        pods = {each.uid: pod for each in waiting if (pod := self._current(each)) is not None}
        present = [each for each in waiting if each.uid in pods]
        decisions = decide(self._nodes, [each.candidate for each in present], self._rng.getrandbits(32))
        placements: list[_Placement] = []
        now = self._clock.monotonic()
        for each in present:
            pod = pods[each.uid]
            node_name = decisions.placed.get(each.uid)
            if node_name is not None:
                self._assumed.add(each.uid)
                self._nodes.put_pod(each.uid, node_name, each.candidate.shape)
                self._reporter.forget(each.uid)
                placements.append(_Placement(each, pod, node_name))
                continue
            refusal = decisions.refused[each.uid]
            self._pending.refuse(each, refusal.plugins, now)
            self._reporter.say(pod, UNSCHEDULABLE, refusal.message)
            if each.told(refusal.message, now):
                self._recorder.record(EventRecord(pod, "Warning", "FailedScheduling", refusal.message))
                log.info("no node for pod", extra=fields(pod=each.key, reason=refusal.message))
        if placements:
            await self._bind(placements)

    def _current(self, waiting: Waiting) -> Pod | None:
        """The pod as it is now; None when it has gone."""
        pod = self._pods.get_by_key(waiting.key)
        if pod is not None and pod.metadata.uid == waiting.uid:
            return pod
        self._pending.remove(waiting.uid)
        return None

    async def _bind(self, placements: Sequence[_Placement]) -> None:
        results: Sequence[object]
        try:
            results = await self._client.batch([Bind(each.pod, each.node_name) for each in placements])
        except UNANSWERED as error:
            results = [error] * len(placements)
        unanswered: list[_Placement] = []
        for each, result in zip(placements, results, strict=True):
            match result:
                case errors.ApiError() if isinstance(result, UNANSWERED):
                    unanswered.append(each)
                case errors.NotFound():
                    # The pod is gone; the watch will show it.
                    self._not_bound(each)
                case errors.ApiError():
                    message = f"binding rejected: {result.message}"
                    self._recorder.record(EventRecord(each.pod, "Warning", "FailedScheduling", message))
                    self._not_bound(each)
                case _:
                    self._bound(each)
        if unanswered:
            log.info("no answer to bindings", extra=fields(pods=len(unanswered)))
            await self._pods.refresh()
            for each in unanswered:
                pod = self._pods.get_by_key(each.waiting.key)
                if pod is not None and pod.metadata.uid == each.waiting.uid and pod.spec.node_name == each.node_name:
                    self._bound(each)
                else:
                    self._not_bound(each)

    def _bound(self, placement: _Placement) -> None:
        """The server has it; the pod stays assumed until the watch has shown it."""
        key, node_name = placement.waiting.key, placement.node_name
        self._pending.remove(placement.waiting.uid)
        message = f"Successfully assigned {key} to {node_name}"
        self._recorder.record(EventRecord(placement.pod, "Normal", "Scheduled", message))
        log.info("bound pod", extra=fields(pod=key, node=node_name))

    def _not_bound(self, placement: _Placement) -> None:
        """Take an assumed pod off its node; it is tried again later, unless the watch has told what became of it."""
        waiting = placement.waiting
        if waiting.uid not in self._assumed:
            return
        self._assumed.discard(waiting.uid)
        self._nodes.remove_pod(waiting.uid)
        self._pending.retry(waiting, self._clock.monotonic())
        self._wake(Change.ROOM)
        # It may have changed while it was assumed, when changes were not looked at.
        pod = self._current(waiting)
        if pod is not None:
            self.pod_changed(None, pod)
