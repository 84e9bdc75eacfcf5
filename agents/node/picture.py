"""One pod's picture of the runtime, and how it is kept true.

The agent's own operations enter what they did, so planning needs no questions to the runtime. What happened from
outside comes as news of single containers and is looked up one by one; when news may have been lost, the whole pod is
looked at, at a moment when nothing is under way that would be seen half done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from agents.node import operations
from agents.node.operations import Node
from agents.node.runtime_state import ContainerRecord, Listing, PodRuntime, SandboxRecord, agrees, group
from agents.node.sandbox_config import POD_UID
from orchestrator.api.v1 import Pod

# The runtime notes the end of a container a moment after it has told of it: so long, so often is it asked again.
_SETTLING = 0.005
_SETTLING_TRIES = 200


class Picture:
    """`runtime` is what is known now; `changed` is called after each entry."""

    def __init__(self, node: Node, runtime: PodRuntime, changed: Callable[[], None]) -> None:
        self._node = node
        self._changed = changed
        self._news: set[str] = set()
        self._stale = False
        self.runtime = runtime
        # Counts the entries.
        self.version = 0

    def agrees_with(self, listing: Listing | None) -> bool:
        """Whether a list of the runtime shows what is known."""
        return agrees(self.runtime, listing or Listing(self.runtime.uid, "", "", (), ()))

    def add_news(self, container_id: str) -> None:
        """Something has happened to this container or sandbox."""
        self._news.add(container_id)

    def doubt(self) -> None:
        """Something may have happened: look at everything when nothing is under way."""
        self._stale = True

    def enter(self, runtime: PodRuntime) -> None:
        """What an operation has made of it."""
        self.runtime = runtime
        self.version += 1
        self._changed()

    def enter_sandbox(self, pod: Pod, record: SandboxRecord) -> None:
        """A new sandbox; the networks of its predecessors have been taken down."""
        runtime = named(self.runtime, pod)
        for older in runtime.sandboxes:
            runtime = runtime.with_sandbox(replace(older, ready=False))
        self.enter(runtime.with_sandbox(record))

    def enter_container(self, container_id: str, record: ContainerRecord | None) -> None:
        """How a container is now; None: it has vanished."""
        if record is None:
            self.enter(self.runtime.without_container(container_id))
            return
        before = self.runtime.container(container_id)
        if before is not None and before.exited and not record.exited:
            # An answer that was overtaken by a later one.
            return
        self.enter(self.runtime.with_container(record))

    async def refresh(self, pod: Pod | None, under_way: Collection[str]) -> None:
        """Looks up the news; `under_way` are the keys of the operations ("stop:<id>", ...). Raises CriError."""
        if self._stale and not under_way:
            self._stale = False
            self._news.clear()
            await self._look(pod)
            return
        for container_id in list(self._news):
            if f"stop:{container_id}" in under_way or f"remove:{container_id}" in under_way:
                # The operation will tell.
                self._news.discard(container_id)
                continue
            record = self.runtime.container(container_id)
            if record is not None:
                self._news.discard(container_id)
                await self._refresh_container(pod, record)
            elif any(each.id == container_id for each in self.runtime.sandboxes):
                self._news.discard(container_id)
                await self._refresh_sandbox(container_id)
            elif not under_way:
                # Neither known nor about to be.
                self._news.discard(container_id)

    async def _look(self, pod: Pod | None) -> None:
        runtime, labels = self._node.runtime, {POD_UID: self.runtime.uid}
        listings = group(await runtime.list_pod_sandboxes(labels=labels), await runtime.list_containers(labels=labels))
        listed = listings.get(self.runtime.uid)
        if listed is None:
            self.runtime = PodRuntime(self.runtime.uid, self.runtime.name, self.runtime.namespace)
        else:
            self.runtime = await operations.look_at_pod(self._node, listed, pod, self.runtime)

    async def _refresh_container(self, pod: Pod | None, record: ContainerRecord) -> None:
        if not record.running:
            return
        for _ in range(_SETTLING_TRIES):
            found = await operations.look_at_container(self._node, pod, record.id, record.sandbox_id)
            if found is None or not found.running:
                # It may have ended with its sandbox; it must not be started again in one that is dying.
                sandbox = await operations.look_at_sandbox(self._node, record.sandbox_id)
                if sandbox is not None:
                    self.runtime = self.runtime.with_sandbox(sandbox)
                self.enter_container(record.id, found)
                return
            await self._node.clock.sleep(_SETTLING)
        self._stale = True

    async def _refresh_sandbox(self, sandbox_id: str) -> None:
        for _ in range(_SETTLING_TRIES):
            found = await operations.look_at_sandbox(self._node, sandbox_id)
            if found is None:
                self.enter(self.runtime.without_sandbox(sandbox_id))
                return
            if not found.ready:
                self.enter(self.runtime.with_sandbox(found))
                return
            await self._node.clock.sleep(_SETTLING)
        self._stale = True


def named(runtime: PodRuntime, pod: Pod) -> PodRuntime:
    return replace(runtime, name=pod.metadata.name, namespace=pod.metadata.namespace)
