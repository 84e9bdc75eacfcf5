"""Pods and nodes for the scheduler's tests, from the few things that matter to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.api.v1 import Container, ContainerPort, Node, ObjectMeta, OwnerReference, Pod, PodSpec, Taint
from orchestrator.scheduler.decide import Candidate, Decisions, decide
from orchestrator.scheduler.shape import shape_of
from orchestrator.scheduler.snapshot import Nodes


def make_node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    pods: str = "110",
    labels: Mapping[str, str] | None = None,
    taints: Sequence[tuple[str, str, str]] = (),
    unschedulable: bool = False,
    extended: Mapping[str, str] | None = None,
) -> Node:
    node = Node(metadata=ObjectMeta(name=name, labels=labels or {}))
    node.status.allocatable.update({"cpu": cpu, "memory": memory, "pods": pods, **(extended or {})})
    node.spec.unschedulable = unschedulable
    node.spec.taints.extend(Taint(key=key, value=value, effect=effect) for key, value, effect in taints)
    return node


def make_container(requests: Mapping[str, str] | None = None, *, host_port: int = 0, restart: str = "") -> Container:
    container = Container(name="c", image="registry.test/web:v1")
    container.resources.requests.update(requests or {})
    if host_port:
        container.ports.append(ContainerPort(container_port=80, host_port=host_port))
    if restart:
        container.restart_policy = restart
    return container


def make_pod(
    name: str = "web", *, host_port: int = 0, extended: Mapping[str, str] | None = None, **requests: str
) -> Pod:
    pod = Pod(metadata=ObjectMeta(name=name, namespace="default", uid=f"uid-{name}"))
    pod.spec.CopyFrom(PodSpec(containers=[make_container({**requests, **(extended or {})}, host_port=host_port)]))
    return pod


def with_required(key: str, operator: str, *values: str, field: bool = False) -> Pod:
    """A pod with one required term of one requirement, on a label or on a field of the node."""
    pod = make_pod()
    required = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    term = required.node_selector_terms.add()
    (term.match_fields if field else term.match_expressions).add(key=key, operator=operator, values=values)
    return pod


def with_preferred(weight: int, key: str, *values: str) -> Pod:
    pod = make_pod()
    preferred = pod.spec.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution.add(weight=weight)
    preferred.preference.match_expressions.add(key=key, operator="In", values=values)
    return pod


def owned(pod: Pod, owner: str) -> Pod:
    """The pod as one that `owner` controls."""
    pod.metadata.owner_references.append(OwnerReference(kind="ReplicaSet", name=owner, uid=owner, controller=True))
    return pod


def snapshot(*nodes: Node) -> Nodes:
    known = Nodes()
    for node in nodes:
        known.put_node(node)
    return known


def place(nodes: Nodes, *pods: Pod, seed: int = 0) -> Decisions:
    """Decide about pods, in the order given unless their priorities say otherwise."""
    return decide(nodes, [Candidate(pod.metadata.uid, shape_of(pod), pod.spec.priority) for pod in pods], seed)
