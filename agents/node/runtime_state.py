"""What the container runtime has of one pod, as a value the deciders can read.

The runtime is the memory of the agent: which sandboxes and containers exist, the how-manieth of their kind they are,
how they ended. All of it is read from CRI messages and from the labels and annotations that the agent itself had put
there, so an agent that was killed and started again sees exactly what its predecessor saw.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.container_config import CONTAINER_NAME, HASH
from agents.node.sandbox_config import POD_NAME, POD_NAMESPACE, POD_UID

# How many times in a row the container had ended early before this one was started.
CRASHES = "navarch.dev/container.crashes"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class State(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    # The runtime itself has lost track of it.
    UNKNOWN = "unknown"


_STATES = {
    cri.CONTAINER_CREATED: State.CREATED,
    cri.CONTAINER_RUNNING: State.RUNNING,
    cri.CONTAINER_EXITED: State.EXITED,
    cri.CONTAINER_UNKNOWN: State.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """One sandbox. `attempt` counts those the pod has had."""

    id: str
    attempt: int
    ready: bool
    created_at: datetime
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One container, or what is left of it. `attempt` counts its restarts, `crashes` the early ends just before it."""

    id: str
    name: str
    attempt: int
    sandbox_id: str
    state: State
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_ref: str = ""
    hash: str = ""
    crashes: int = 0

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING

    @property
    def exited(self) -> bool:
        return self.state is State.EXITED


@dataclass(frozen=True, slots=True)
class PodRuntime:
    """Everything the runtime has of a pod; newest first in both lists."""

    uid: str
    name: str = ""
    namespace: str = ""
    sandboxes: tuple[SandboxRecord, ...] = ()
    containers: tuple[ContainerRecord, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.sandboxes and not self.containers

    @property
    def sandbox(self) -> SandboxRecord | None:
        """The newest one, whatever its state."""
        return self.sandboxes[0] if self.sandboxes else None

    @property
    def ips(self) -> tuple[str, ...]:
        sandbox = self.sandbox
        return sandbox.ips if sandbox is not None and sandbox.ready else ()

    @property
    def running(self) -> tuple[ContainerRecord, ...]:
        return tuple(record for record in self.containers if record.running)

    def of(self, name: str) -> tuple[ContainerRecord, ...]:
        """The containers of that name, newest first."""
        return tuple(record for record in self.containers if record.name == name)

    def latest(self, name: str) -> ContainerRecord | None:
        return next((record for record in self.containers if record.name == name), None)

    def current(self, name: str) -> ContainerRecord | None:
        """The newest one of that name if it is in the newest sandbox."""
        record = self.latest(name)
        sandbox = self.sandbox
        return record if record is not None and sandbox is not None and record.sandbox_id == sandbox.id else None

    def container(self, container_id: str) -> ContainerRecord | None:
        return next((record for record in self.containers if record.id == container_id), None)

    def with_sandbox(self, record: SandboxRecord) -> PodRuntime:
        others = [each for each in self.sandboxes if each.id != record.id]
        return replace(self, sandboxes=_newest_first([record, *others]))

    def with_container(self, record: ContainerRecord) -> PodRuntime:
        others = [each for each in self.containers if each.id != record.id]
        return replace(self, containers=_newest_containers_first([record, *others]))

    def without_sandbox(self, sandbox_id: str) -> PodRuntime:
        """Its containers go with it."""
        return replace(
            self,
            sandboxes=tuple(each for each in self.sandboxes if each.id != sandbox_id),
            containers=tuple(each for each in self.containers if each.sandbox_id != sandbox_id),
        )

    def without_container(self, container_id: str) -> PodRuntime:
        return replace(self, containers=tuple(each for each in self.containers if each.id != container_id))


def _newest_first(records: Iterable[SandboxRecord]) -> tuple[SandboxRecord, ...]:
    return tuple(sorted(records, key=lambda each: (each.attempt, each.created_at), reverse=True))


def _newest_containers_first(records: Iterable[ContainerRecord]) -> tuple[ContainerRecord, ...]:
    return tuple(sorted(records, key=lambda each: (each.attempt, each.created_at), reverse=True))


def moment(nanoseconds: int) -> datetime | None:
    """The runtime's times: nanoseconds since 1970, 0 for none."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000) if nanoseconds > 0 else None


def sandbox_record(sandbox: cri.PodSandbox | cri.PodSandboxStatus, ips: tuple[str, ...] = ()) -> SandboxRecord:
    """From a list's entry, which has no addresses, or from a status, which has."""
    if isinstance(sandbox, cri.PodSandboxStatus):
        network = sandbox.network
        ips = tuple(ip for ip in (network.ip, *(each.ip for each in network.additional_ips)) if ip)
    return SandboxRecord(
        id=sandbox.id,
        attempt=sandbox.metadata.attempt,
        ready=sandbox.state == cri.SANDBOX_READY,
        created_at=moment(sandbox.created_at) or _EPOCH,
        ips=ips,
    )


def container_record(status: cri.ContainerStatus, sandbox_id: str) -> ContainerRecord:
    return ContainerRecord(
        id=status.id,
        name=status.labels.get(CONTAINER_NAME, status.metadata.name),
        attempt=status.metadata.attempt,
        sandbox_id=sandbox_id,
        state=_STATES.get(status.state, State.UNKNOWN),
        created_at=moment(status.created_at) or _EPOCH,
        started_at=moment(status.started_at),
        finished_at=moment(status.finished_at),
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        image=status.image.image,
        image_ref=status.image_ref,
        hash=status.annotations.get(HASH, ""),
        crashes=_number(status.annotations.get(CRASHES, "")),
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """What the runtime listed of one pod, before the details are asked for."""

    uid: str
    name: str
    namespace: str
    sandboxes: tuple[cri.PodSandbox, ...]
    containers: tuple[cri.Container, ...]


def group(sandboxes: Iterable[cri.PodSandbox], containers: Iterable[cri.Container]) -> Mapping[str, Listing]:
    """By the uid of the pod. What has none was not started by a node agent, and is nobody's business here."""
    by_uid: defaultdict[str, list[cri.PodSandbox]] = defaultdict(list)
    inside: defaultdict[str, list[cri.Container]] = defaultdict(list)
    names: dict[str, tuple[str, str]] = {}
    for sandbox in sandboxes:
        uid = sandbox.labels.get(POD_UID, "")
        by_uid[uid].append(sandbox)
        names[uid] = sandbox.labels.get(POD_NAME, ""), sandbox.labels.get(POD_NAMESPACE, "")
    for container in containers:
        uid = container.labels.get(POD_UID, "")
        inside[uid].append(container)
        names.setdefault(uid, (container.labels.get(POD_NAME, ""), container.labels.get(POD_NAMESPACE, "")))
    return {
        uid: Listing(uid, name, namespace, tuple(by_uid[uid]), tuple(inside[uid]))
        for uid, (name, namespace) in names.items()
        if uid
    }


def agrees(runtime: PodRuntime, listing: Listing) -> bool:
    """Whether a list of the runtime shows just what is known: the same ids in the same states."""
    sandboxes = {each.id: each.state == cri.SANDBOX_READY for each in listing.sandboxes}
    containers = {each.id: _STATES.get(each.state, State.UNKNOWN) for each in listing.containers}
    return sandboxes == {each.id: each.ready for each in runtime.sandboxes} and containers == {
        each.id: each.state for each in runtime.containers
    }


def pod_runtime(
    listing: Listing, sandboxes: Iterable[SandboxRecord], containers: Iterable[ContainerRecord]
) -> PodRuntime:
    return PodRuntime(
        uid=listing.uid,
        name=listing.name,
        namespace=listing.namespace,
        sandboxes=_newest_first(sandboxes),
        containers=_newest_containers_first(containers),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
