"""`bench pod_start`: from creating a pod to a watch that shows it Running; one after the other, and all at once.

Everything of a cluster is in between: server, store, scheduler, node agent, container runtime. The peer is the runtime
alone, called directly for pods made by the same functions, in turn with the others: what a pod costs at least here.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.containerd import cgroup_parent, uses_systemd_cgroups
from agents.cri.images import PAUSE_IMAGE
from agents.cri.v1 import runtime_pb2 as cri
from agents.node.container_config import container_config
from agents.node.dns import Dns
from agents.node.mounts import container_mounts
from agents.node.sandbox_config import pod_log_directory, sandbox_config
from cli.target import Target
from orchestrator.api.v1 import Container, ObjectMeta, Pod, PodSpec
from orchestrator.client import Client
from orchestrator.client.client import ChangeType
from orchestrator.paths import Paths
from tests.bench.figures import tell, tell_times

PODS = 20
PATIENCE_SECONDS = 60.0
_LABELS = {"bench": "pod-start"}


def make_pod(name: str, namespace: str) -> Pod:
    # The pause image is in every cluster, and its program starts faster than anything else could.
    spec = PodSpec(containers=[Container(name="main", image=PAUSE_IMAGE)])
    return Pod(metadata=ObjectMeta(name=name, namespace=namespace, labels=_LABELS), spec=spec)


@dataclass
class Watched:
    """When a watch has shown each pod Running, and gone."""

    running: dict[str, float] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self, client: Client, namespace: str, resource_version: str) -> None:
        watch = client.watch(Pod, namespace=namespace, label_selector="bench", resource_version=resource_version)
        async with aclosing(watch) as changes:
            async for change in changes:
                seen, name = time.monotonic(), change.object.metadata.name
                async with self.changed:
                    if change.type is ChangeType.DELETED:
                        self.gone.add(name)
                    elif change.object.status.phase == "Running":
                        self.running.setdefault(name, seen)
                    self.changed.notify_all()

    async def all_running(self, names: Sequence[str]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: all(name in self.running for name in names))

    async def all_gone(self, names: Sequence[str]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self.changed:
            await self.changed.wait_for(lambda: self.gone.issuperset(names))


@dataclass(frozen=True)
class RawRuntime:
    """Starts pods by the runtime's calls alone."""

    paths: Paths
    runtime: CriClient
    image: cri.Image
    dns: Dns
    cgroup_parent: str
    sandboxes: list[str] = field(default_factory=list)

    async def start(self, name: str) -> float:
        """Seconds from the first call to the answer of the last."""
        pod = make_pod(name, "raw")
        pod.metadata.uid = str(uuid.uuid4())
        sandbox, container = self._sandbox_config(pod), self._container_config(pod)
        began = time.monotonic()
        sandbox_id = await self.runtime.run_pod_sandbox(sandbox)
        container_id = await self.runtime.create_container(sandbox_id, container, sandbox)
        await self.runtime.start_container(container_id)
        took = time.monotonic() - began
        self.sandboxes.append(sandbox_id)
        return took

    async def remove_all(self) -> None:
        for sandbox in self.sandboxes:
            await self.runtime.stop_pod_sandbox(sandbox)
            await self.runtime.remove_pod_sandbox(sandbox)

    def _sandbox_config(self, pod: Pod) -> cri.PodSandboxConfig:
        config = sandbox_config(
            pod,
            attempt=0,
            log_directory=pod_log_directory(self.paths.pod_logs, pod),
            dns=self.dns,
            cgroup_parent=self.cgroup_parent,
            seccomp_directory=self.paths.lib / "seccomp",
        )
        # The node agent would take it for a pod that the API has forgotten, and remove it.
        config.labels.clear()
        return config

    def _container_config(self, pod: Pod) -> cri.ContainerConfig:
        container = pod.spec.containers[0]
        mounts = container_mounts(
            pod,
            container,
            attempt=0,
            volumes={},
            environment={},
            directory=self.paths.root / "bench" / pod.metadata.uid,
            pod_ips=["192.0.2.1"],
        )
        config = container_config(
            pod,
            container,
            attempt=0,
            image=self.image,
            environment={},
            mounts=mounts,
            node_memory=1 << 30,
            seccomp_directory=self.paths.lib / "seccomp",
        )
        config.labels.clear()
        return config


@asynccontextmanager
async def _raw_runtime(paths: Paths) -> AsyncIterator[RawRuntime]:
    async with CriClient(paths.containerd_socket) as runtime:
        image = await runtime.image_status(PAUSE_IMAGE)
        assert image is not None, f"{PAUSE_IMAGE} is not there"
        parent = cgroup_parent(systemd=await uses_systemd_cgroups(runtime))
        raw = RawRuntime(paths, runtime, image, Dns.of_node(), parent)
        try:
            yield raw
        finally:
            await raw.remove_all()


async def _measure(client: Client, namespace: str) -> None:
    watched = Watched()
    listing = await client.list(Pod, namespace=namespace)
    following = asyncio.create_task(watched.follow(client, namespace, listing.resource_version))
    names: list[str] = []

    async def start(name: str) -> float:
        names.append(name)
        began = time.monotonic()
        await client.create(make_pod(name, namespace))
        await watched.all_running([name])
        return watched.running[name] - began

    try:
        async with _raw_runtime(Paths(Path(sys.argv[1]))) as raw:
            # The first of each pays for what is loaded once.
            await raw.start("warm")
            await start("warm")
            alone: list[float] = []
            through: list[float] = []
            for number in range(PODS):
                alone.append(await raw.start(f"single-{number}"))
                through.append(await start(f"single-{number}"))
            tell_times("pod_start_single", through, alone)
            tell("pod_start_single_overhead_p50", 1000 * (statistics.median(through) - statistics.median(alone)), "ms")
            alone = await asyncio.gather(*(raw.start(f"burst-{number}") for number in range(PODS)))
            through = await asyncio.gather(*(start(f"burst-{number}") for number in range(PODS)))
            tell_times("pod_start_burst", through, alone)
            tell("pod_start_burst_all", max(through), "s", max(alone))
            await asyncio.gather(*(client.delete(Pod, name, namespace=namespace) for name in names))
            await watched.all_gone(names)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def main() -> None:
    Target(None, None, "").run(_measure)


if __name__ == "__main__":
    main()
