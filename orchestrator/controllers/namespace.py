"""Namespace: when one is deleted, everything in it goes first, and then its finalizer.

What is in a namespace is asked of the server, not of caches: only then is it certain that nothing is left. While
something stays (a pod's grace period, somebody's finalizer), the namespace's conditions say what.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.api import errors
from orchestrator.api.conventions import NAMESPACE_FINALIZER
from orchestrator.api.kinds import Kind, KubeObject, all_kinds, clone
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Namespace, Pod
from orchestrator.client import Client
from orchestrator.clock import Clock
from orchestrator.controllers.informers import Informers
from orchestrator.logs import fields
from orchestrator.runtime import ApplyError, Deletion, Plan, Unanswered, WorkQueue, apply_plan

log = logging.getLogger("namespace-controller")

# How long to wait for what others have to finish, when no pod's end wakes us earlier.
LOOK_AGAIN_SECONDS = 1.0
_CONTENT = "NamespaceContentRemaining"
_FINALIZERS = "NamespaceFinalizersRemaining"


@dataclass(frozen=True, slots=True)
class Observed:
    namespace: Namespace
    contents: Mapping[Kind, Sequence[KubeObject]]  # of every namespaced kind


def decide(seen: Observed, now: datetime) -> Plan:
    """The deletions of what is not on its way out yet, and the conditions that say what is left."""
    remaining = {kind: objects for kind, objects in seen.contents.items() if objects}
    if not remaining:
        return Plan()
    fresh = [obj for objects in remaining.values() for obj in objects if not _leaves(obj)]
    told = _told(seen.namespace, remaining, now)
    return Plan(
        delete=[Deletion(obj) for obj in fresh],
        update_status=[told] if told.status != seen.namespace.status else [],
        requeue_after=LOOK_AGAIN_SECONDS,
    )


def _leaves(obj: KubeObject) -> bool:
    return obj.metadata.HasField("deletion_timestamp")


def _told(namespace: Namespace, remaining: Mapping[Kind, Sequence[KubeObject]], now: datetime) -> Namespace:
    counts = ", ".join(
        f"{kind.resource} has {len(remaining[kind])} resource instances"
        for kind in sorted(remaining, key=lambda kind: kind.resource)
    )
    held: dict[str, int] = {}
    for objects in remaining.values():
        for obj in objects:
            for finalizer in obj.metadata.finalizers:
                held[finalizer] = held.get(finalizer, 0) + 1
    told = clone(namespace)
    _set(told, _CONTENT, "True", "SomeResourcesRemain", f"Some resources are remaining: {counts}", now)
    if held:
        finalizers = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(held.items()))
        message = f"Some content in the namespace has finalizers remaining: {finalizers}"
        _set(told, _FINALIZERS, "True", "SomeFinalizersRemain", message, now)
    else:
        message = "All content-preserving finalizers finished"
        _set(told, _FINALIZERS, "False", "ContentHasNoFinalizers", message, now)
    return told


def _set(namespace: Namespace, kind: str, value: str, reason: str, message: str, now: datetime) -> None:
    known = next((each for each in namespace.status.conditions if each.type == kind), None)
    if known is None:
        known = namespace.status.conditions.add(type=kind)
    if known.status != value:
        known.last_transition_time.CopyFrom(to_timestamp(now.replace(microsecond=0)))
    known.status, known.reason, known.message = value, reason, message


class NamespaceController:
    """A service: watches namespaces, and works on those that are being deleted."""

    name = "namespace-controller"

    def __init__(self, informers: Informers, client: Client, clock: Clock, rng: random.Random) -> None:
        self._namespaces = informers.of(Namespace)
        self._pods = informers.of(Pod)
        self._client = client
        self._clock = clock
        self._rng = rng

    async def run(self, ready: Callable[[], None]) -> None:
        """Runs until cancelled."""
        queue: WorkQueue[str] = WorkQueue(self._clock, self._rng)

        def wake(name: str) -> None:
            namespace = self._namespaces.get("", name)
            if namespace is not None and _leaves(namespace):
                queue.add(name)

        ends = [
            self._namespaces.subscribe(lambda old, new: wake(new.metadata.name) if new is not None else None),
            self._pods.subscribe(lambda old, new: wake(old.metadata.namespace) if old and new is None else None),
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                for informer in (self._namespaces, self._pods):
                    tasks.create_task(informer.run())
                await self._namespaces.synced()
                await self._pods.synced()
                ready()
                for namespace in self._namespaces.list():
                    wake(namespace.metadata.name)
                tasks.create_task(queue.run())
                await self._work(queue)
        finally:
            for end in ends:
                end()

    async def _work(self, queue: WorkQueue[str]) -> None:
        while True:
            name = await queue.get()
            try:
                again = await self._empty(name)
            except (errors.ApiError, ApplyError, Unanswered) as error:
                delay = queue.add_backoff(name)
                log.info("not empty yet", extra=fields(namespace=name, error=error, retry_seconds=delay))
            else:
                queue.forget(name)
                if again is not None:
                    queue.add_after(name, again)
            finally:
                queue.done(name)

    async def _empty(self, name: str) -> float | None:
        """Takes the next step for a namespace; returns when to look again."""
        try:
            namespace = await self._client.get(Namespace, name)
        except errors.NotFound:
            return None
        if not _leaves(namespace) or NAMESPACE_FINALIZER not in namespace.spec.finalizers:
            return None
        contents = {
            kind: (await self._client.list(kind.message, namespace=name)).items
            for kind in all_kinds()
            if kind.namespaced
        }
        plan = decide(Observed(namespace, contents), self._clock.now())
        if plan == Plan():
            released = clone(namespace)
            kept = [each for each in namespace.spec.finalizers if each != NAMESPACE_FINALIZER]
            del released.spec.finalizers[:]
            released.spec.finalizers.extend(kept)
            await self._client.update(released, subresource="finalize")
            log.info("namespace is empty and goes", extra=fields(namespace=name))
            return None
        applied = await apply_plan(self._client, plan)
        applied.raise_errors()
        # What was only deleted needs no wait; the next look finds out.
        waits = any(_leaves(obj) for objects in contents.values() for obj in objects)
        return plan.requeue_after if waits else 0.0
