"""The operations of a plan, carried out: one call of this file each, against the runtime and the file system.

An operation either gives the record of what it has made or ended, or raises: `ConfigError` for a pod that can't be run
as it is, `CriError` for the runtime's refusal, `ApiError` when the API can't tell what the pod draws from. What it has
begun in the runtime when it fails is found there again by the next look.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.errors import CriError, CriNotFoundError
from agents.cri.v1 import runtime_pb2 as cri
from agents.node.container_config import container_config, log_path
from agents.node.dns import Dns
from agents.node.environment import resolve_environment
from agents.node.errors import ConfigError
from agents.node.hooks import run_hook
from agents.node.image_supply import ImageSupply, Say
from agents.node.mounts import container_mounts, termination_message_file
from agents.node.plan import CreateSandbox, Kill, Start
from agents.node.probe_handlers import Target
from agents.node.runtime_state import (
    CRASHES,
    ContainerRecord,
    Listing,
    PodRuntime,
    SandboxRecord,
    container_record,
    pod_runtime,
    sandbox_record,
)
from agents.node.sandbox_config import pod_log_directory, sandbox_config
from agents.node.sources import Sources
from agents.node.termination_message import termination_message
from agents.node.volumes import Volumes
from orchestrator.api.v1 import Container, Pod
from orchestrator.clock import Clock
from orchestrator.paths import Paths

# What is left for the stop signal when a preStop hook has used the grace period up.
LEAST_SECONDS_AFTER_HOOK = 2


@dataclass(frozen=True, slots=True)
class Node:
    """What the pods of one node share."""

    name: str
    paths: Paths
    runtime: CriClient
    clock: Clock
    sources: Sources
    volumes: Volumes
    images: ImageSupply
    dns: Dns
    cgroup_parent: str
    host_ips: Sequence[str]
    allocatable: Mapping[str, str]
    memory: int
    # Sandboxes being made at a time: more would only make all of them slower.
    sandbox_slots: asyncio.Semaphore
    # Which pod a container or sandbox of the runtime belongs to, by id.
    owners: dict[str, str] = field(default_factory=dict)

    @property
    def seccomp_directory(self) -> Path:
        return self.paths.lib / "seccomp"

    def log_directory(self, pod: Pod) -> Path:
        return pod_log_directory(self.paths.pod_logs, pod)

    def sandbox_config(self, pod: Pod, attempt: int) -> cri.PodSandboxConfig:
        return sandbox_config(
            pod,
            attempt=attempt,
            log_directory=self.log_directory(pod),
            dns=self.dns,
            cgroup_parent=self.cgroup_parent,
            seccomp_directory=self.seccomp_directory,
        )


def find_container(pod: Pod, name: str) -> Container | None:
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        if container.name == name:
            return container
    return None


async def create_sandbox(node: Node, pod: Pod, action: CreateSandbox, committed: Callable[[], None]) -> SandboxRecord:
    """A running sandbox with its network; the volumes are ready before it. Calls `committed` before the first change
    in the runtime."""
    await prepare_volumes(node, pod, ())
    config = node.sandbox_config(pod, action.attempt)
    async with node.sandbox_slots:
        committed()
        for older in action.replaces:
            await node.runtime.stop_pod_sandbox(older)
        async with asyncio.TaskGroup() as group:
            # Known already when the first containers ask for them.
            for reference in _first_images(pod):
                group.create_task(_look(node, reference))
            starting = group.create_task(_caught(node.runtime.run_pod_sandbox(config)))
        created = starting.result()
        if isinstance(created, CriError):
            raise created
    node.owners[created] = pod.metadata.uid
    return sandbox_record(await node.runtime.pod_sandbox_status(created))


async def start_container(
    node: Node,
    pod: Pod,
    container: Container,
    action: Start,
    runtime: PodRuntime,
    say: Say,
    made: Callable[[ContainerRecord], None],
    committed: Callable[[], None],
) -> ContainerRecord:
    """A running container, its postStart hook done. `made` is called as soon as it runs."""
    image = await node.images.ensure(container, say)
    pod_ips = node.host_ips if pod.spec.host_network else runtime.ips
    config = await _container_config(node, pod, container, action, image, pod_ips, say)
    sandbox = runtime.sandbox
    if sandbox is None or sandbox.id != action.sandbox_id:
        raise ConfigError("the sandbox has gone", "ContainerCreating")
    committed()
    created = await node.runtime.create_container(action.sandbox_id, config, node.sandbox_config(pod, sandbox.attempt))
    node.owners[created] = pod.metadata.uid
    say("Normal", "Created", f"Created container: {container.name}")
    try:
        await node.runtime.start_container(created)
    except CriError as error:
        say("Warning", "Failed", f"Error: {error.message}")
        record = await look_at_container(node, pod, created, action.sandbox_id)
        if record is None or not record.exited:
            raise
        return replace(record, message=record.message or error.message)
    say("Normal", "Started", f"Started container {container.name}")
    record = container_record(await node.runtime.container_status(created), action.sandbox_id)
    if not container.lifecycle.HasField("post_start"):
        return await _with_message(node, pod, record)
    made(record)
    target = Target(container, created, pod_ips[0] if pod_ips else "")
    outcome = await run_hook(node.runtime, node.clock, container.lifecycle.post_start, target)
    if not outcome.succeeded:
        say("Warning", "FailedPostStartHook", f"PostStartHook failed: {outcome.message}")
        say("Normal", "Killing", f"FailedPostStartHook: container {container.name}, will be restarted")
        await node.runtime.stop_container(created, _seconds(pod))
    return await look_at_container(node, pod, created, action.sandbox_id) or record


async def stop_container(
    node: Node,
    pod: Pod | None,
    record: ContainerRecord,
    action: Kill,
    pod_ips: Sequence[str],
    say: Say,
    *,
    with_hook: bool = True,
) -> ContainerRecord | None:
    """The container when it has ended; None when it has vanished. Its preStop hook runs within the grace period."""
    container = None if pod is None else find_container(pod, record.name)
    left = (action.deadline - node.clock.now()).total_seconds()
    least = 0
    if with_hook:
        say("Normal", "Killing", action.why or f"Stopping container {record.name}")
    if with_hook and left > 0 and container is not None and container.lifecycle.HasField("pre_stop"):
        target = Target(container, record.id, pod_ips[0] if pod_ips else "")
        outcome = await run_hook(node.runtime, node.clock, container.lifecycle.pre_stop, target, left)
        least = LEAST_SECONDS_AFTER_HOOK
        if not outcome.succeeded:
            say("Warning", "FailedPreStopHook", f"PreStopHook failed: {outcome.message}")
        left = (action.deadline - node.clock.now()).total_seconds()
    try:
        await node.runtime.stop_container(record.id, max(least, math.ceil(left)))
    except CriNotFoundError:
        return None
    return await look_at_container(node, pod, record.id, record.sandbox_id)


async def look_at_container(node: Node, pod: Pod | None, container_id: str, sandbox_id: str) -> ContainerRecord | None:
    """What the runtime has of a container now; None when it has nothing."""
    try:
        status = await node.runtime.container_status(container_id)
    except CriNotFoundError:
        return None
    return await _with_message(node, pod, container_record(status, sandbox_id))


async def look_at_sandbox(node: Node, sandbox_id: str) -> SandboxRecord | None:
    try:
        return sandbox_record(await node.runtime.pod_sandbox_status(sandbox_id))
    except CriNotFoundError:
        return None


async def look_at_pod(node: Node, listing: Listing, pod: Pod | None, known: PodRuntime | None = None) -> PodRuntime:
    """Everything the runtime has of a listed pod. What is known to have ended is not asked for again."""
    ended = {record.id: record for record in known.containers if record.exited} if known is not None else {}
    sandboxes = await asyncio.gather(*(look_at_sandbox(node, each.id) for each in listing.sandboxes))
    found = [ended[each.id] for each in listing.containers if each.id in ended]
    asked = await asyncio.gather(
        *(
            look_at_container(node, pod, each.id, each.pod_sandbox_id)
            for each in listing.containers
            if each.id not in ended
        )
    )
    node.owners.update((sandbox.id, listing.uid) for sandbox in listing.sandboxes)
    node.owners.update((container.id, listing.uid) for container in listing.containers)
    return pod_runtime(
        listing,
        [each for each in sandboxes if each is not None],
        [*found, *(each for each in asked if each is not None)],
    )


async def remove_sandbox(node: Node, sandbox_id: str) -> None:
    """Stops and removes it with its containers. Can be repeated."""
    await node.runtime.stop_pod_sandbox(sandbox_id)
    await node.runtime.remove_pod_sandbox(sandbox_id)
    node.owners.pop(sandbox_id, None)


async def remove_container(node: Node, pod: Pod | None, record: ContainerRecord) -> None:
    """Removes a dead container with its log and its last message."""
    await node.runtime.remove_container(record.id)
    node.owners.pop(record.id, None)
    if pod is not None:
        await asyncio.to_thread(_remove_files, _files_of(node, pod, record))


async def remove_files(node: Node, runtime: PodRuntime) -> None:
    """Removes all files of a pod that is gone from the runtime: volumes and logs."""
    await node.volumes.remove(runtime.uid)
    if runtime.name and runtime.namespace:
        directory = node.paths.pod_logs / f"{runtime.namespace}_{runtime.name}_{runtime.uid}"
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def prepare_volumes(node: Node, pod: Pod, pod_ips: Sequence[str]) -> dict[str, Path]:
    if not pod.spec.volumes:
        return {}
    return await node.volumes.prepare(pod, pod_ips=pod_ips, host_ips=node.host_ips, allocatable=node.allocatable)


async def _container_config(
    node: Node, pod: Pod, container: Container, action: Start, image: cri.Image, pod_ips: Sequence[str], say: Say
) -> cri.ContainerConfig:
    try:
        places = await prepare_volumes(node, pod, pod_ips)
        environment = await resolve_environment(
            pod,
            container,
            node.sources,
            pod_ips=pod_ips,
            host_ips=node.host_ips,
            allocatable=node.allocatable,
        )
        mounts = await asyncio.to_thread(
            container_mounts,
            pod,
            container,
            attempt=action.attempt,
            volumes=places,
            environment=environment,
            directory=node.volumes.directory(pod.metadata.uid),
            pod_ips=pod_ips,
        )
        config = container_config(
            pod,
            container,
            attempt=action.attempt,
            image=image,
            environment=environment,
            mounts=mounts,
            node_memory=node.memory,
            seccomp_directory=node.seccomp_directory,
        )
    except ConfigError as error:
        say("Warning", "Failed" if error.reason.startswith("Create") else error.reason, f"Error: {error.message}")
        raise
    config.annotations[CRASHES] = str(action.crashes)
    return config


async def _with_message(node: Node, pod: Pod | None, record: ContainerRecord) -> ContainerRecord:
    container = find_container(pod, record.name) if pod is not None else None
    if pod is None or container is None or not record.exited:
        return record
    log_file = node.log_directory(pod) / log_path(record.name, record.attempt)
    words = await termination_message(container, record, node.volumes.directory(pod.metadata.uid), log_file)
    return replace(record, message=words) if words else record


def _first_images(pod: Pod) -> Iterable[str]:
    containers = pod.spec.init_containers[:1] if pod.spec.init_containers else pod.spec.containers
    return {each.image for each in containers if each.image_pull_policy != "Always"}


async def _look(node: Node, reference: str) -> None:
    try:
        await node.images.look(reference)
    except CriError:
        # The container's start asks again, and tells.
        return


async def _caught(call: Awaitable[str]) -> str | CriError:
    """A failure as a value: it must not cancel its siblings in a task group."""
    try:
        return await call
    except CriError as error:
        return error


def _seconds(pod: Pod) -> int:
    return pod.spec.termination_grace_period_seconds if pod.spec.HasField("termination_grace_period_seconds") else 30


def _files_of(node: Node, pod: Pod, record: ContainerRecord) -> list[Path]:
    log = node.log_directory(pod) / log_path(record.name, record.attempt)
    message = termination_message_file(node.volumes.directory(pod.metadata.uid), record.name, record.attempt)
    return [log, message, *log.parent.glob(f"{log.name}.*")]


def _remove_files(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
