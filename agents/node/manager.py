"""Keeps one worker for each pod of this node, and hands them the news.

News comes from three sides: the API's pods (an informer for just this node's), the runtime's events, and a slow relist
that repairs what both may have missed. Nothing is done before both sides have been seen in full once, so an agent that
was started again takes its predecessor's containers for what they are, and removes only what the API really doesn't
have any more.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
from collections.abc import Callable, Mapping

from agents.cri.errors import CriError
from agents.cri.events import ContainerEvents, EventType, Resync
from agents.node import metrics, operations
from agents.node.admission import admit
from agents.node.errors import ConfigError
from agents.node.notes import Verdict
from agents.node.operations import Node
from agents.node.outcome import is_deleted
from agents.node.projection import is_projection
from agents.node.runtime_state import Listing, PodRuntime, group
from agents.node.status_writer import StatusWriter
from agents.node.worker import PodWorker
from orchestrator.api import errors
from orchestrator.api.kinds import key_of
from orchestrator.api.v1 import Pod
from orchestrator.client import Client, Informer
from orchestrator.logs import fields
from orchestrator.runtime.events import EventRecorder

log = logging.getLogger("node")

RELIST_SECONDS = 60.0
REFRESH_SECONDS = 30.0
MEASURE_SECONDS = 10.0
_AGAIN_SECONDS = 1.0


class PodManager:
    """All pods of one node. `labels` gives the node's labels, for the pods that ask for some."""

    def __init__(
        self,
        node: Node,
        client: Client,
        pods: Informer[Pod],
        recorder: EventRecorder,
        rng: random.Random,
        labels: Callable[[], Mapping[str, str]],
    ) -> None:
        self._node = node
        self._client = client
        self._pods = pods
        self._recorder = recorder
        self._rng = rng
        self._labels = labels
        self._statuses = StatusWriter(client, node.clock, rng)
        self._workers: dict[str, PodWorker] = {}
        self._refused: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._relist = asyncio.Event()

    @property
    def workers(self) -> Mapping[str, PodWorker]:
        """By the uid of the pod."""
        return self._workers

    async def run(self, ready: Callable[[], None]) -> None:
        """Until cancelled; calls `ready` when every pod has its worker. Containers go on when it ends."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._pods.run())
            tasks.create_task(self._statuses.run())
            tasks.create_task(self._follow_runtime())
            await self._pods.synced()
            await self._relist.wait()
            await self._adopt()
            unsubscribe = self._pods.subscribe(self._changed)
            try:
                # Those that were taken before count when it is decided about the others.
                for pod in sorted(self._pods.list(), key=lambda pod: not pod.status.HasField("start_time")):
                    self._changed(None, pod)
                ready()
                await asyncio.gather(
                    self._relist_regularly(), self._refresh_volumes(), self._limit_volumes(), self._sweep()
                )
            finally:
                unsubscribe()

    def _changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            gone = self._workers.get(old.metadata.uid)
            if gone is not None:
                gone.update(None)
        if new is None:
            return
        worker = self._workers.get(new.metadata.uid)
        if worker is None:
            worker = self._begin(PodRuntime(new.metadata.uid, new.metadata.name, new.metadata.namespace))
            self._admit(worker, new)
        worker.update(new)

    def _admit(self, worker: PodWorker, pod: Pod) -> None:
        # What has a start time was taken before.
        if pod.status.HasField("start_time") or is_deleted(pod):
            return
        uid = pod.metadata.uid
        others = [
            each.pod
            for other, each in self._workers.items()
            if other != uid and other not in self._refused and each.pod is not None
        ]
        refusal = admit(pod, others, self._node.allocatable, self._labels())
        if refusal is not None:
            log.info("pod refused", extra=fields(pod=key_of(pod), reason=refusal.reason, message=refusal.message))
            self._refused.add(uid)
            worker.update(pod)
            worker.refuse(refusal)

    def _begin(self, runtime: PodRuntime) -> PodWorker:
        worker = PodWorker(self._node, self._client, runtime, self._statuses, self._recorder, self._rng)
        self._workers[runtime.uid] = worker
        metrics.pods.set(len(self._workers))
        if self._tasks is not None:
            self._tasks.create_task(self._run(runtime.uid, worker), name=f"pod {runtime.uid}")
        return worker

    async def _run(self, uid: str, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            del self._workers[uid]
            metrics.pods.set(len(self._workers))
            self._refused.discard(uid)

    # The runtime

    async def _follow_runtime(self) -> None:
        async for event in ContainerEvents(self._node.runtime.channel, self._node.clock):
            match event:
                case Resync():
                    self._relist.set()
                case _ if event.type is EventType.EXITED:
                    worker = self._workers.get(self._node.owners.get(event.container_id, ""))
                    if worker is not None:
                        worker.container_changed(event.container_id)

    async def _listings(self) -> Mapping[str, Listing]:
        runtime = self._node.runtime
        return group(await runtime.list_pod_sandboxes(), await runtime.list_containers())

    async def _adopt(self) -> None:
        """Workers for what was here before this agent, with or without a pod in the API."""
        self._relist.clear()
        while True:
            try:
                listings = await self._listings()
                pods = {pod.metadata.uid: pod for pod in self._pods.list()}
                found = [
                    await operations.look_at_pod(self._node, listing, pods.get(uid))
                    for uid, listing in listings.items()
                ]
                break
            except CriError as error:
                log.warning("the runtime does not answer", extra=fields(error=error.message))
                await self._node.clock.sleep(_AGAIN_SECONDS)
        for runtime in found:
            worker = self._begin(runtime)
            if runtime.uid not in pods:
                log.info("a pod is gone from the API", extra=fields(uid=runtime.uid, pod=runtime.name))
                worker.update(None)

    async def _relist_regularly(self) -> None:
        while True:
            alarm = asyncio.ensure_future(self._node.clock.sleep(RELIST_SECONDS))
            asked = asyncio.ensure_future(self._relist.wait())
            try:
                await asyncio.wait((alarm, asked), return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
                asked.cancel()
                await asyncio.gather(alarm, asked, return_exceptions=True)
            self._relist.clear()
            try:
                await self._compare()
            except CriError as error:
                log.info("the runtime does not answer", extra=fields(error=error.message))

    async def _compare(self) -> None:
        """Lists everything, and lets those look whose picture differs in what a list shows."""
        versions = {uid: worker.version for uid, worker in self._workers.items()}
        listings = await self._listings()
        for uid, worker in list(self._workers.items()):
            if versions.get(uid) == worker.version and not worker.busy and not worker.agrees_with(listings.get(uid)):
                worker.look_again()
        for uid in listings.keys() - self._workers.keys():
            # Nobody's: begun by an agent that is gone, after this one had listed.
            runtime = PodRuntime(uid, listings[uid].name, listings[uid].namespace)
            worker = self._begin(runtime)
            worker.update(None)
            worker.look_again()

    # Files

    async def _refresh_volumes(self) -> None:
        """Brings files that come from ConfigMaps and Secrets up to date while their pods run.

        Reads them again: a node's pods draw from few of them, and each is read once however many pods use it.
        """
        while True:
            await self._node.clock.sleep(REFRESH_SECONDS)
            for worker in list(self._workers.values()):
                pod = worker.pod
                if pod is None or pod.status.phase != "Running" or not any(map(is_projection, pod.spec.volumes)):
                    continue
                ips = [each.ip for each in pod.status.pod_ips]
                try:
                    await self._node.volumes.refresh(
                        pod, pod_ips=ips, host_ips=self._node.host_ips, allocatable=self._node.allocatable
                    )
                except (ConfigError, errors.ApiError) as error:
                    log.info("volumes not refreshed", extra=fields(pod=key_of(pod), error=error))
                except OSError:
                    log.exception("volumes not refreshed", extra=fields(pod=key_of(pod)))

    async def _limit_volumes(self) -> None:
        """Ends pods whose emptyDirs hold more than they may."""
        while True:
            await self._node.clock.sleep(MEASURE_SECONDS)
            for worker in list(self._workers.values()):
                pod = worker.pod
                if pod is None or pod.status.phase != "Running" or is_deleted(pod):
                    continue
                try:
                    excess = await self._node.volumes.excess(pod)
                except OSError as error:
                    log.info("volumes not measured", extra=fields(pod=key_of(pod), error=error))
                    continue
                if excess:
                    log.info("pod evicted", extra=fields(pod=key_of(pod), message=excess))
                    worker.refuse(Verdict("Failed", "Evicted", excess))

    async def _sweep(self) -> None:
        """Removes the files of pods that neither API nor runtime know."""
        known = set(self._workers)
        for uid in await asyncio.to_thread(self._node.volumes.pod_uids):
            if uid not in known and uid not in self._workers:
                try:
                    await self._node.volumes.remove(uid)
                except OSError as error:
                    log.warning("files of a pod are left", extra=fields(uid=uid, error=error))
        directory = self._node.paths.pod_logs
        if not directory.is_dir():
            return
        for place in await asyncio.to_thread(lambda: list(directory.iterdir())):
            uid = place.name.rpartition("_")[2]
            if place.name.count("_") == 2 and uid not in known and uid not in self._workers:
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
