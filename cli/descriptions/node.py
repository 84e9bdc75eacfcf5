"""A node in words: its condition, what it has, who runs there, and how much of it is spoken for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cli.descriptions.page import Page
from orchestrator.api.quantity import milli, whole
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Node, Pod

_RESOURCES: Sequence[tuple[str, Callable[[str], int], Callable[[int], str]]] = (
    ("cpu", milli, lambda amount: f"{amount}m"),
    ("memory", whole, lambda amount: f"{amount // (1 << 20)}Mi"),
)


def describe_node(page: Page, node: Node, pods: Sequence[Pod]) -> None:
    spec, status = node.spec, node.status
    page.value(
        "Taints", *(f"{taint.key}{'=' if taint.value else ''}{taint.value}:{taint.effect}" for taint in spec.taints)
    )
    page.value("Unschedulable", str(spec.unschedulable).lower())
    page.optional("PodCIDR", spec.pod_cidr)
    page.table(
        "Conditions",
        ("Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"),
        (
            (
                each.type,
                each.status,
                to_datetime(each.last_heartbeat_time).strftime("%Y-%m-%d %H:%M:%S"),
                to_datetime(each.last_transition_time).strftime("%Y-%m-%d %H:%M:%S"),
                each.reason,
                each.message,
            )
            for each in status.conditions
        ),
    )
    page.value("Addresses", *(f"{each.type}: {each.address}" for each in status.addresses))
    page.pairs("Capacity", status.capacity, ": ")
    page.pairs("Allocatable", status.allocatable, ": ")
    system = page.section("System Info")
    for field, value in status.node_info.ListFields():
        if isinstance(value, str):
            system.value(field.json_name[:1].upper() + field.json_name[1:], value)
    page.table(
        f"Pods ({len(pods)} in total)",
        ("Namespace", "Name", "CPU Requests", "Memory Requests"),
        (
            (
                pod.metadata.namespace,
                pod.metadata.name,
                *(shown(requested([pod], name, read)) for name, read, shown in _RESOURCES),
            )
            for pod in sorted(pods, key=lambda pod: (pod.metadata.namespace, pod.metadata.name))
        ),
    )
    page.table("Allocated resources", ("Resource", "Requests", "Share"), _allocated(node, pods))


def _allocated(node: Node, pods: Sequence[Pod]) -> Iterable[Sequence[str]]:
    for name, read, shown in _RESOURCES:
        amount, there = requested(pods, name, read), read(node.status.allocatable.get(name, "0"))
        yield name, shown(amount), f"{100 * amount // there}%" if there else "0%"


def requested(pods: Sequence[Pod], resource: str, read: Callable[[str], int]) -> int:
    """What the containers of pods request of a resource, in the unit of `read`."""
    containers = (container for pod in pods for container in pod.spec.containers)
    return sum(read(container.resources.requests.get(resource, "0")) for container in containers)
