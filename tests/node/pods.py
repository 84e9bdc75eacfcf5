"""Runs pods on the lab's containerd by the node agent's own functions, without the agent."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.containerd import cgroup_parent
from agents.cri.v1 import runtime_pb2 as cri
from agents.node.container_config import container_config
from agents.node.dns import Dns, Resolver
from agents.node.environment import resolve_environment
from agents.node.mounts import container_mounts
from agents.node.sandbox_config import pod_log_directory, sandbox_config
from agents.node.volumes import Volumes
from orchestrator.api.v1 import ConfigMap, Container, Pod, Secret, Service
from orchestrator.paths import Paths
from tests.node.conftest import BUSYBOX_IMAGE

NODE_MEMORY = 4 << 30


@dataclass
class Objects:
    """Sources: what the API would have."""

    config_maps: dict[str, ConfigMap] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        return self.config_maps.get(name)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        return self.secrets.get(name)

    async def services(self, namespace: str) -> Sequence[Service]:
        return ()


def make_pod(name: str = "web", /, **containers: Sequence[str]) -> Pod:
    """A pod of busybox containers: `make_pod(main=["sleep", "60"])`."""
    pod = Pod()
    pod.metadata.name = name
    pod.metadata.namespace = "default"
    pod.metadata.uid = str(uuid.uuid4())
    for each, command in containers.items():
        pod.spec.containers.add(
            name=each, image=BUSYBOX_IMAGE, command=command, termination_message_path="/dev/termination-log"
        )
    return pod


class PodRunner:
    """Starts what a pod says."""

    def __init__(self, paths: Paths, runtime: CriClient, objects: Objects | None = None) -> None:
        self.paths = paths
        self.runtime = runtime
        self.volumes = Volumes(paths, objects or Objects())
        self.objects = objects or Objects()
        self.sandboxes: dict[str, tuple[str, cri.PodSandboxConfig]] = {}
        self.ips: dict[str, Sequence[str]] = {}

    async def start(self, pod: Pod) -> dict[str, str]:
        """Runs sandbox and containers; returns the containers' ids by name."""
        config = sandbox_config(
            pod,
            attempt=0,
            log_directory=pod_log_directory(self.paths.pod_logs, pod),
            dns=Dns(Resolver(("192.0.2.53",), ("example.org",))),
            cgroup_parent=cgroup_parent(systemd=False),
            seccomp_directory=self.paths.lib / "seccomp",
        )
        sandbox = await self.runtime.run_pod_sandbox(config)
        self.sandboxes[pod.metadata.uid] = sandbox, config
        status = await self.runtime.pod_sandbox_status(sandbox)
        self.ips[pod.metadata.uid] = [status.network.ip]
        return {container.name: await self.start_container(pod, container) for container in pod.spec.containers}

    async def start_container(self, pod: Pod, container: Container, attempt: int = 0) -> str:
        sandbox, config = self.sandboxes[pod.metadata.uid]
        ips = self.ips[pod.metadata.uid]
        facts: Mapping[str, str] = {"cpu": "2", "memory": "4Gi"}
        places = await self.volumes.prepare(pod, pod_ips=ips, host_ips=["192.0.2.1"], allocatable=facts)
        environment = await resolve_environment(
            pod, container, self.objects, pod_ips=ips, host_ips=["192.0.2.1"], allocatable=facts
        )
        mounts = container_mounts(
            pod,
            container,
            attempt=attempt,
            volumes=places,
            environment=environment,
            directory=self.volumes.directory(pod.metadata.uid),
            pod_ips=ips,
        )
        image = await self.runtime.image_status(container.image)
        assert image is not None
        wanted = container_config(
            pod,
            container,
            attempt=attempt,
            image=image,
            environment=environment,
            mounts=mounts,
            node_memory=NODE_MEMORY,
            seccomp_directory=self.paths.lib / "seccomp",
        )
        created = await self.runtime.create_container(sandbox, wanted, config)
        await self.runtime.start_container(created)
        return created

    async def run(self, container_id: str, script: str) -> str:
        """The output of a shell script in a container; it must succeed."""
        answer = await self.runtime.exec_sync(container_id, ["sh", "-c", script], 10)
        assert answer.exit_code == 0, answer.stderr.decode()
        return answer.stdout.decode()

    async def exited(self, container_id: str) -> cri.ContainerStatus:
        """How a container ended."""
        async with asyncio.timeout(20):
            while True:
                status = await self.runtime.container_status(container_id)
                if status.state == cri.CONTAINER_EXITED:
                    return status
                await asyncio.sleep(0.01)

    def log_file(self, pod: Pod, container: str, attempt: int = 0) -> Path:
        return pod_log_directory(self.paths.pod_logs, pod) / container / f"{attempt}.log"

    async def stop(self, pod: Pod) -> None:
        sandbox, _ = self.sandboxes.pop(pod.metadata.uid)
        await self.runtime.stop_pod_sandbox(sandbox)
        await self.runtime.remove_pod_sandbox(sandbox)
        await self.volumes.remove(pod.metadata.uid)
