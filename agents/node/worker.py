"""One pod's worker: looks, plans, begins operations, reports; again whenever something has happened.

There is one worker for each pod, so nothing is ever done to a pod twice at a time, and pods don't wait for each other.
Operations run beside the worker (`execution.py`): a container that takes its grace period to stop keeps nobody from
noticing that another one has crashed. The decisions are `plan.py`'s and `status.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agents.cri.errors import CriError
from agents.node import operations
from agents.node.announcements import announcements
from agents.node.execution import Execution
from agents.node.notes import Notes, Verdict
from agents.node.operations import Node, find_container
from agents.node.outcome import is_deleted
from agents.node.picture import Picture, named
from agents.node.plan import Actions, plan_orphan, plan_pod
from agents.node.probe_handlers import Target
from agents.node.probe_state import ProbeKind
from agents.node.probes import PodProbes
from agents.node.runtime_state import ContainerRecord, Listing, PodRuntime
from agents.node.status import OWN_CONDITIONS, pod_status, status_due
from agents.node.status_writer import StatusWriter
from orchestrator.api import errors
from orchestrator.api.kinds import clone, key_of
from orchestrator.api.v1 import ContainerStatus, Pod, PodStatus
from orchestrator.client import Client
from orchestrator.clock import within
from orchestrator.logs import fields
from orchestrator.runtime.events import EventRecorder
from orchestrator.runtime.plan import EventRecord

log = logging.getLogger("node.pod")

# Seconds after a fault, doubling: what goes wrong at once again must not spin.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


class PodWorker:
    """`update` and `container_changed` wake it; `run` returns when the pod is gone from API, runtime and disk."""

    def __init__(
        self,
        node: Node,
        client: Client,
        runtime: PodRuntime,
        statuses: StatusWriter,
        recorder: EventRecorder,
        rng: random.Random,
    ) -> None:
        self._node = node
        self._client = client
        self._uid = runtime.uid
        self._statuses = statuses
        self._recorder = recorder
        self._woken = asyncio.Event()
        self._picture = Picture(node, runtime, self._woken.set)
        self._probes = PodProbes(node.runtime, node.clock, rng, changed=self._woken.set, failed=self._probe_failed)
        # They ran before this agent did: their probes go on where they were.
        self._adopted = {record.id for record in runtime.running}
        self._pod: Pod | None = None
        self._last_pod: Pod | None = None
        self._reported: PodStatus | None = None
        self._refused: Verdict | None = None
        self._deletion_seen: datetime | None = None
        self._execution: Execution | None = None
        self._pause = 0.0

    @property
    def pod(self) -> Pod | None:
        return self._pod

    @property
    def busy(self) -> bool:
        return self._execution is not None and bool(self._execution.under_way)

    @property
    def version(self) -> int:
        """Grows whenever the picture of the runtime has changed."""
        return self._picture.version

    def update(self, pod: Pod | None) -> None:
        """The API has this now; None: the pod is gone."""
        vanished = pod is None and self._pod is not None and not is_deleted(self._pod)
        if vanished or ((pod is None or is_deleted(pod)) and self._deletion_seen is None):
            self._deletion_seen = self._node.clock.now()
        self._pod = pod
        self._last_pod = pod or self._last_pod
        self._woken.set()

    def refuse(self, verdict: Verdict) -> None:
        """The node doesn't take the pod, or doesn't keep it."""
        self._refused = verdict
        self._woken.set()

    def container_changed(self, container_id: str) -> None:
        """Something has happened to this container or sandbox of the pod."""
        self._picture.add_news(container_id)
        self._woken.set()

    def agrees_with(self, listing: Listing | None) -> bool:
        """Whether a list of the runtime shows what this worker knows."""
        return self._picture.agrees_with(listing)

    def look_again(self) -> None:
        """What is known of the runtime may be wrong."""
        self._picture.doubt()
        self._woken.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            execution = Execution(self._node, self._picture, tasks, self._say, self._woken.set)
            self._execution = execution
            try:
                await self._work(execution)
            finally:
                execution.cancel()
                await self._probes.close()
        self._statuses.forget(self._uid)

    async def _work(self, execution: Execution) -> None:
        while True:
            self._woken.clear()
            due: datetime | None = None
            try:
                actions = await self._sync(execution)
                if actions.finish and await self._finish():
                    return
                due = actions.look_again_at
                self._pause = 0.0
            except CriError as error:
                log.info("the runtime does not answer", extra=self._fields(error.message))
                self._back_off()
            except errors.ApiError as error:
                log.info("the server does not answer", extra=self._fields(error.message))
                self._back_off()
            except Exception as error:
                log.exception("a fault in a pod's worker", extra=self._fields(str(error)))
                self._back_off()
            await self._wait(due)

    def _back_off(self) -> None:
        self._picture.doubt()
        self._pause = min(_LONGEST_PAUSE, self._pause * 2) if self._pause else _FIRST_PAUSE

    async def _wait(self, due: datetime | None) -> None:
        """Until woken or `due`; after a fault, until the pause is over."""
        if self._pause:
            await self._node.clock.sleep(self._pause)
        elif due is None:
            await self._woken.wait()
        elif not self._woken.is_set():
            seconds = max(0.0, (due - self._node.clock.now()).total_seconds())
            with contextlib.suppress(TimeoutError):
                await within(self._node.clock, seconds, self._woken.wait())

    async def _sync(self, execution: Execution) -> Actions:
        await self._picture.refresh(self._last_pod, execution.under_way)
        now, runtime, pod = self._node.clock.now(), self._picture.runtime, self._view()
        if pod is None:
            actions = plan_orphan(runtime, self._notes(execution), now)
            execution.begin(None, actions)
            await self._probes.close()
            return actions
        actions = plan_pod(pod, runtime, self._notes(execution), now)
        execution.begin(pod, actions)
        await self._adjust_probes(pod, runtime, execution)
        notes = self._notes(execution)
        status = pod_status(pod, runtime, notes, now, host_ips=self._node.host_ips)
        if self._pod is not None:
            for reason, message in announcements(pod, status):
                self._say("Warning", reason, message)
            self._reported = status
            self._statuses.offer(self._pod, status)
        moments = [each for each in (actions.look_again_at, status_due(notes, now)) if each is not None]
        return replace(actions, look_again_at=min(moments, default=None))

    def _view(self) -> Pod | None:
        """The API's pod with the status this agent has reported last, which may still be on its way."""
        if self._pod is None or self._reported is None:
            return self._pod
        view = clone(self._pod)
        conditions = [each for each in self._reported.conditions if each.type in OWN_CONDITIONS]
        conditions += [each for each in self._pod.status.conditions if each.type not in OWN_CONDITIONS]
        view.status.CopyFrom(self._reported)
        view.status.ClearField("conditions")
        view.status.conditions.extend(conditions)
        return view

    def _notes(self, execution: Execution) -> Notes:
        notes = Notes(health=self._probes.health(), refused=self._refused, deletion_seen=self._deletion_seen)
        return execution.annotate(notes)

    async def _adjust_probes(self, pod: Pod, runtime: PodRuntime, execution: Execution) -> None:
        wanted = []
        for record in runtime.running:
            container = find_container(pod, record.name)
            ending = execution.is_stopping(record.id) and not is_deleted(pod)
            if container is None or ending or execution.is_starting(record.name):
                continue
            wanted.append(record.id)
            known = _reported_of(pod, record)
            self._probes.begin(
                Target(container, record.id, next(iter(self._ips(pod, runtime)), "")),
                adopted=record.id in self._adopted,
                started=known is not None and known.started,
                ready=known is not None and known.ready,
            )
        await self._probes.keep(wanted)

    def _ips(self, pod: Pod, runtime: PodRuntime) -> Sequence[str]:
        return self._node.host_ips if pod.spec.host_network else runtime.ips

    def _probe_failed(self, container_id: str, kind: ProbeKind, message: str) -> None:
        self._say("Warning", "Unhealthy", f"{kind.value} probe failed: {message}")

    async def _finish(self) -> bool:
        """Removes the pod's files, and then the API's object. True when nothing is left of it anywhere."""
        runtime = self._picture.runtime
        await operations.remove_files(self._node, runtime if self._last_pod is None else named(runtime, self._last_pod))
        pod = self._pod
        if pod is not None:
            # Gone, or another of the same name: the informer will say so.
            with contextlib.suppress(errors.NotFound, errors.Conflict):
                await self._client.delete(
                    Pod, pod.metadata.name, namespace=pod.metadata.namespace, grace_period_seconds=0, uid=self._uid
                )
            log.info("pod removed", extra=fields(pod=key_of(pod), uid=self._uid))
        # With a finalizer it stays for a while; nothing is left to do here until it goes.
        while self._pod is not None:
            await self._woken.wait()
            self._woken.clear()
        return True

    def _say(self, kind: str, reason: str, message: str) -> None:
        if self._last_pod is not None:
            self._recorder.record(EventRecord(self._last_pod, kind, reason, message))

    def _fields(self, error: str) -> dict[str, object]:
        return fields(pod=self._uid if self._last_pod is None else key_of(self._last_pod), error=error)


def _reported_of(pod: Pod, record: ContainerRecord) -> ContainerStatus | None:
    """What the API has of this very container."""
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if status.container_id.endswith(record.id):
            return status
    return None
