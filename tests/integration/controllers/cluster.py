"""A small cluster for the controllers' tests: a real server, all controllers, and this file as scheduler and kubelets.

`Kubelet` binds each pod to a node in turn, makes it ready when it is let, and removes it when it is asked to go.
`Cluster` keeps the caches the tests look at; `until` waits for a state of them and never sleeps.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import (
    ConfigMap,
    Deployment,
    EndpointSlice,
    Event,
    Namespace,
    Node,
    Pod,
    PodCondition,
    ReplicaSet,
    Service,
    ServiceAccount,
)
from orchestrator.client import Client, Informer
from orchestrator.clock import Clock, FakeClock
from orchestrator.controllers import controllers
from orchestrator.runtime import Supervision

K = TypeVar("K", bound=KubeObject)

PATIENCE = 20.0
KINDS = (Pod, ReplicaSet, Deployment, EndpointSlice, Service, Node, Namespace, ServiceAccount, ConfigMap, Event)


class FlowingClock(FakeClock):
    """Flows like real time, and can be moved ahead: hours pass when a test wants them to."""

    async def flow(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.advance(0.01)


class Kubelet:
    """Binds, starts and ends pods, each as soon as it is seen to need it."""

    def __init__(self, client: Client, pods: Informer[Pod], clock: Clock) -> None:
        self._client = client
        self._pods = pods
        self._clock = clock
        self._work: asyncio.Queue[str] = asyncio.Queue()
        self._turns = itertools.count()
        self._addresses = (f"10.244.{a}.{b}" for a in range(256) for b in range(1, 255))
        self.nodes: Sequence[str] = ("n1", "n2", "n3")
        # Which pods come up, and which go when they are asked to.
        self.starts: Callable[[Pod], bool] = lambda pod: True
        self.ends: Callable[[Pod], bool] = lambda pod: True

    def wake(self) -> None:
        """Look at all pods again: the rules have changed."""
        for pod in self._pods.list():
            self._work.put_nowait(f"{pod.metadata.namespace}/{pod.metadata.name}")

    async def run(self) -> None:
        end = self._pods.subscribe(
            lambda _, new: self._work.put_nowait(f"{new.metadata.namespace}/{new.metadata.name}") if new else None
        )
        try:
            while True:
                pod = self._pods.get_by_key(await self._work.get())
                if pod is not None:
                    try:
                        await self._tend(pod)
                    except (errors.Conflict, errors.NotFound):
                        continue  # seen too late: the change that made it so wakes us again
        finally:
            end()

    async def _tend(self, pod: Pod) -> None:
        if pod.metadata.HasField("deletion_timestamp"):
            if self.ends(pod):
                await self._client.delete(
                    Pod,
                    pod.metadata.name,
                    namespace=pod.metadata.namespace,
                    grace_period_seconds=0,
                    uid=pod.metadata.uid,
                )
        elif not pod.spec.node_name:
            await self._client.bind(pod, self.nodes[next(self._turns) % len(self.nodes)])
        elif pod.status.phase == "Pending" and self.starts(pod):
            await self.set_ready(pod, ready=True)

    async def set_ready(self, pod: Pod, *, ready: bool) -> None:
        changed = clone(pod)
        changed.status.phase = "Running"
        if not changed.status.pod_ip:
            changed.status.pod_ip = next(self._addresses)
            changed.status.pod_ips.add(ip=changed.status.pod_ip)
        kept = [each for each in changed.status.conditions if each.type != "Ready"]
        moment = to_timestamp(self._clock.now().replace(microsecond=0))
        kept.append(PodCondition(type="Ready", status=str(ready), last_transition_time=moment))
        del changed.status.conditions[:]
        changed.status.conditions.extend(kept)
        await self._client.update(changed, subresource="status")


class Cluster:
    """What the tests look at and act on."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client = client
        self.clock = clock
        self._informers: dict[type, Informer[Any]] = {kind: Informer(client, kind) for kind in KINDS}
        self._changed = asyncio.Event()
        self.kubelet = Kubelet(client, self.informer(Pod), clock)

    def informer(self, kind: type[K]) -> Informer[K]:
        informer: Informer[K] = self._informers[kind]
        return informer

    def all(self, kind: type[K], namespace: str | None = "default") -> list[K]:
        return sorted(self.informer(kind).list(namespace), key=lambda each: each.metadata.name)

    def get(self, kind: type[K], name: str, namespace: str = "default") -> K:
        found = self.informer(kind).get(namespace, name)
        assert found is not None, f"no {kind.__name__} {name}"
        return found

    async def until(self, predicate: Callable[[], bool], why: str = "") -> None:
        """Wait until the caches show it."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not predicate():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not so after {PATIENCE:g} s: {why}\n{self.story()}") from None

    def story(self) -> str:
        """What there is, for the reader of a failed test."""
        kinds = (self.informer(Deployment), self.informer(ReplicaSet), self.informer(Pod))
        lines = [
            f"{type(each).__name__} {each.metadata} {each.status}" for informer in kinds for each in informer.list()
        ]
        return "\n".join(line.replace("\n", " ")[:1500] for line in lines)

    async def patch(self, kind: type[K], name: str, change: dict[str, object]) -> K:
        return await self.client.patch(kind, name, change, namespace="default")

    async def seen(self, obj: KubeObject) -> None:
        """Wait until the caches include the revision of that object."""
        async with asyncio.timeout(PATIENCE):
            await self._informers[type(obj)].reached(int(obj.metadata.resource_version))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Cluster]:
        supervision = Supervision(controllers(self.client, self.clock), self.clock, random.Random(1))
        tasks = [asyncio.create_task(informer.run()) for informer in self._informers.values()]
        for informer in self._informers.values():
            informer.subscribe(lambda old, new: self._changed.set())
        async with asyncio.timeout(PATIENCE):
            for informer in self._informers.values():
                await informer.synced()
        if isinstance(self.clock, FlowingClock):
            tasks.append(asyncio.create_task(self.clock.flow()))
        tasks.append(asyncio.create_task(self.kubelet.run()))
        tasks.append(asyncio.create_task(supervision.run()))
        try:
            yield self
            restarts = {name: state.restarts for name, state in supervision.states.items() if state.restarts}
            assert not restarts, f"controllers failed: {restarts}"
        finally:
            for task in reversed(tasks):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
