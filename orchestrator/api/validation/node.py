"""Nodes: taints, addresses, and what a node that exists keeps."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import duplicate, forbidden, required
from orchestrator.api.v1 import Node, NodeStatus
from orchestrator.api.validation.resources import amounts
from orchestrator.api.validation.rules import Faults, immutable, name_required, named, one_of, repeats, shown
from orchestrator.api.validation.scheduling import EFFECTS


def node(obj: Node) -> Faults:
    taints = obj.spec.taints
    for index, taint in enumerate(taints):
        here = f"spec.taints[{index}]"
        yield from name_required(names.qualified_name, f"{here}.key", taint.key)
        yield from named(names.label_value, f"{here}.value", taint.value)
        yield from one_of(f"{here}.effect", taint.effect, EFFECTS)
    for index in repeats((taint.key, taint.effect) for taint in taints):
        yield duplicate(f"spec.taints[{index}]", shown(taints[index]))
    for index, network in enumerate(obj.spec.pod_cidrs):
        yield from named(names.network, f"spec.podCIDRs[{index}]", network)
    yield from node_status(obj.status)


def node_status(status: NodeStatus) -> Faults:
    yield from amounts(status.capacity, "status.capacity")
    yield from amounts(status.allocatable, "status.allocatable")
    addresses = status.addresses
    for index, address in enumerate(addresses):
        if not address.address:
            yield required(f"status.addresses[{index}].address")
    for index in repeats((address.type, address.address) for address in addresses):
        yield duplicate(f"status.addresses[{index}]", shown(addresses[index]))


def node_update(new: Node, old: Node) -> Faults:
    before, after = old.spec, new.spec
    if list(before.pod_cidrs) and list(after.pod_cidrs) != list(before.pod_cidrs):
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    if before.provider_id and after.provider_id != before.provider_id:
        yield forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
    yield from immutable("spec.externalID", after.external_id, before.external_id)
