"""What a node says of itself in the API: what it is, what it has, whether pods can be run on it. Pure.

The words are Kubernetes' own, "kubelet" included: people and programs look for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.machine import Machine, Usage
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import ContainerImage, Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo

MAX_PODS = 110
# What pods can't have: the agent, the runtime and the kernel need room to react when memory gets short.
_RESERVED_MEMORY = 100 << 20
_RESERVED_DISK = 0.1
# A disk is short when less than this part of it is free, and less than so many bytes.
_SHORT_DISK_PART = 0.1
_SHORT_DISK = 1 << 30
_SHORT_PART = 0.05
_IMAGES_TOLD = 50
_OURS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the container runtime says of itself; `fault` when it doesn't answer."""

    version: str = ""
    conditions: Sequence[cri.RuntimeCondition] = ()
    images: Sequence[cri.Image] = ()
    fault: str = ""

    @property
    def not_ready(self) -> str:
        """Why no pods can be run; empty when they can."""
        if self.fault:
            return f"container runtime is down: {self.fault}"
        for condition in self.conditions:
            if not condition.status:
                what = "network " if condition.type == "NetworkReady" else ""
                return (
                    f"container runtime {what}not ready: {condition.type}=false "
                    f"reason:{condition.reason} message:{condition.message}"
                )
        return ""


@dataclass(frozen=True, slots=True)
class Identity:
    """How the node is reached, and what its agent is."""

    name: str
    address: str
    port: int
    version: str


def labels(identity: Identity, machine: Machine) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": identity.name,
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/os": "linux",
    }


def capacity(machine: Machine, disk_size: int) -> dict[str, str]:
    found = {
        "cpu": str(machine.cpus),
        "memory": _kibibytes(machine.memory),
        "ephemeral-storage": _kibibytes(disk_size),
        "pods": str(MAX_PODS),
    }
    if machine.huge_pages:
        found[f"hugepages-{_page_name(machine.huge_page)}"] = _kibibytes(machine.huge_pages)
    return found


def allocatable(machine: Machine, disk_size: int) -> dict[str, str]:
    """Capacity without what the machine itself needs. Huge pages are taken out of the memory."""
    return capacity(machine, disk_size) | {
        "memory": _kibibytes(max(machine.memory - machine.huge_pages - _RESERVED_MEMORY, 0)),
        "ephemeral-storage": _kibibytes(int(disk_size * (1 - _RESERVED_DISK))),
    }


def node_status(
    known: NodeStatus, identity: Identity, machine: Machine, usage: Usage, runtime: Runtime, now: datetime
) -> NodeStatus:
    """The status to have in the API; `known` is the one it has, which says when conditions changed."""
    status = NodeStatus(
        capacity=capacity(machine, usage.disk.size),
        allocatable=allocatable(machine, usage.disk.size),
        conditions=_conditions(known, usage, runtime, now),
        addresses=[
            NodeAddress(type="InternalIP", address=identity.address),
            NodeAddress(type="Hostname", address=identity.name),
        ],
        images=_images(runtime.images) if not runtime.fault else known.images,
        node_info=NodeSystemInfo(
            machine_id=machine.machine_id,
            system_uuid=machine.system_uuid,
            boot_id=machine.boot_id,
            kernel_version=machine.kernel,
            os_image=machine.os_image,
            container_runtime_version=runtime.version or known.node_info.container_runtime_version,
            kubelet_version=identity.version,
            operating_system="linux",
            architecture=machine.architecture,
        ),
        volumes_in_use=known.volumes_in_use,
        volumes_attached=known.volumes_attached,
    )
    status.daemon_endpoints.kubelet_endpoint.port = identity.port
    status.node_info.swap.capacity = machine.swap
    return status


def is_ready(status: NodeStatus) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in status.conditions)


def differs(known: NodeStatus, wanted: NodeStatus) -> bool:
    """Whether there is news besides the time."""
    return _without_heartbeats(known) != _without_heartbeats(wanted)


def new_node(identity: Identity, machine: Machine, status: NodeStatus) -> Node:
    node = Node(status=status)
    node.metadata.name = identity.name
    node.metadata.labels.update(labels(identity, machine))
    return node


def missing_labels(node: Node, identity: Identity, machine: Machine) -> Mapping[str, str]:
    """The labels the node has to have and hasn't."""
    wanted = labels(identity, machine)
    return {name: value for name, value in wanted.items() if node.metadata.labels.get(name) != value}


def _conditions(known: NodeStatus, usage: Usage, runtime: Runtime, now: datetime) -> list[NodeCondition]:
    fault = runtime.not_ready
    wanted = [
        _pressure("MemoryPressure", usage.memory_available < _RESERVED_MEMORY, *_MEMORY_WORDS),
        _pressure("DiskPressure", _disk_is_short(usage), *_DISK_WORDS),
        _pressure("PIDPressure", _threads_are_short(usage), *_PID_WORDS),
        NodeCondition(type="Ready", status="False", reason="KubeletNotReady", message=fault)
        if fault
        else NodeCondition(
            type="Ready", status="True", reason="KubeletReady", message="kubelet is posting ready status"
        ),
    ]
    before = {condition.type: condition for condition in known.conditions}
    for condition in wanted:
        last = before.get(condition.type)
        condition.last_heartbeat_time.CopyFrom(_stamp(now))
        if last is not None and last.status == condition.status and last.HasField("last_transition_time"):
            condition.last_transition_time.CopyFrom(last.last_transition_time)
        else:
            condition.last_transition_time.CopyFrom(_stamp(now))
    return [condition for condition in known.conditions if condition.type not in _OURS] + wanted


# The reason and the message when all is well, and when it isn't.
_MEMORY_WORDS = (
    ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
)
_DISK_WORDS = (
    ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("KubeletHasDiskPressure", "kubelet has disk pressure"),
)
_PID_WORDS = (
    ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
)


def _pressure(kind: str, short: bool, well: tuple[str, str], bad: tuple[str, str]) -> NodeCondition:
    reason, message = bad if short else well
    return NodeCondition(type=kind, status="True" if short else "False", reason=reason, message=message)


def _disk_is_short(usage: Usage) -> bool:
    # A part alone would call a large disk short that has room for years.
    disk = usage.disk
    short = disk.free < disk.size * _SHORT_DISK_PART and disk.free < _SHORT_DISK
    return short or (disk.inodes > 0 and disk.inodes_free < disk.inodes * _SHORT_PART)


def _threads_are_short(usage: Usage) -> bool:
    return usage.threads_limit > 0 and usage.threads > usage.threads_limit * (1 - _SHORT_PART)


def _images(images: Iterable[cri.Image]) -> list[ContainerImage]:
    """The largest ones: where they are is worth knowing."""
    largest = sorted(images, key=lambda image: (-image.size, image.id))[:_IMAGES_TOLD]
    return [ContainerImage(names=[*image.repo_digests, *image.repo_tags], size_bytes=image.size) for image in largest]


def _without_heartbeats(status: NodeStatus) -> NodeStatus:
    copy = NodeStatus()
    copy.CopyFrom(status)
    for condition in copy.conditions:
        condition.ClearField("last_heartbeat_time")
    return copy


def _kibibytes(size: int) -> str:
    return f"{size >> 10}Ki"


def _page_name(size: int) -> str:
    return f"{size >> 30}Gi" if size >= 1 << 30 else f"{size >> 20}Mi"


def _stamp(moment: datetime) -> Timestamp:
    return to_timestamp(moment.replace(microsecond=0))
