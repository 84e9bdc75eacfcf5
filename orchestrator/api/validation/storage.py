"""Storage classes, attachments and CSI drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.api import names
from orchestrator.api.errors import duplicate, forbidden, invalid, not_supported, required, too_long
from orchestrator.api.v1 import (
    CSIDriver,
    CSINode,
    CSINodeDriver,
    CSIStorageCapacity,
    CSITokenRequest,
    StorageClass,
    TopologySelectorTerm,
)
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.rules import (
    IMMUTABLE,
    Faults,
    given,
    immutable,
    name_required,
    named,
    not_negative,
    quantity,
    repeats,
    shown,
    without,
)

PARAMETERS_LIMIT = 512
PARAMETERS_SIZE = 256 * 1024
NODE_ID_LENGTH = 192
SHORTEST_TOKEN_LIFE = 10 * 60
LONGEST_TOKEN_LIFE = 1 << 32
_DRIVER_LENGTH = 63
_RECLAIM_POLICIES = ("Delete", "Retain")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLES = ("Ephemeral", "Persistent")
_SHORTEST_UPDATE_PERIOD = 10


def storage_class(obj: StorageClass) -> Faults:
    if obj.provisioner:
        yield from named(names.qualified_name, "provisioner", obj.provisioner.lower())
    else:
        yield required("provisioner")
    yield from _parameters(obj.parameters)
    if obj.HasField("reclaim_policy") and obj.reclaim_policy not in _RECLAIM_POLICIES:
        yield not_supported("reclaimPolicy", obj.reclaim_policy, _RECLAIM_POLICIES)
    if obj.volume_binding_mode not in _BINDING_MODES:
        yield not_supported("volumeBindingMode", obj.volume_binding_mode, _BINDING_MODES)
    yield from _topologies(obj.allowed_topologies, "allowedTopologies")


def storage_class_update(new: StorageClass, old: StorageClass) -> Faults:
    if new.parameters != old.parameters:
        yield forbidden("parameters", "updates to parameters are forbidden.")
    if new.provisioner != old.provisioner:
        yield forbidden("provisioner", "updates to provisioner are forbidden.")
    if new.reclaim_policy != old.reclaim_policy:
        yield forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.")
    yield from immutable("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)


def csi_driver(obj: CSIDriver) -> Faults:
    if len(obj.metadata.name) > _DRIVER_LENGTH:
        yield too_long("metadata.name", _DRIVER_LENGTH)
    spec = obj.spec
    for name, field in (
        ("attachRequired", "attach_required"),
        ("podInfoOnMount", "pod_info_on_mount"),
        ("storageCapacity", "storage_capacity"),
    ):
        if given(spec, field) is None:
            yield required(f"spec.{name}")
    if spec.HasField("fs_group_policy") and spec.fs_group_policy not in _GROUP_POLICIES:
        yield not_supported("spec.fsGroupPolicy", spec.fs_group_policy, _GROUP_POLICIES)
    yield from _token_requests(spec.token_requests, "spec.tokenRequests")
    for mode in spec.volume_lifecycle_modes:
        if mode not in _LIFECYCLES:
            yield not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLES)
    if spec.HasField("node_allocatable_update_period_seconds"):
        period = spec.node_allocatable_update_period_seconds
        if period < _SHORTEST_UPDATE_PERIOD:
            why = f"must be greater than or equal to {_SHORTEST_UPDATE_PERIOD} seconds"
            yield invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, why)


def csi_driver_update(new: CSIDriver, old: CSIDriver) -> Faults:
    yield from immutable("spec.attachRequired", new.spec.attach_required, old.spec.attach_required)
    before, after = list(old.spec.volume_lifecycle_modes), list(new.spec.volume_lifecycle_modes)
    yield from immutable("spec.volumeLifecycleModes", after, before)


def csi_node(obj: CSINode) -> Faults:
    drivers = obj.spec.drivers
    for index, driver in enumerate(drivers):
        yield from _node_driver(driver, f"spec.drivers[{index}]")
    for index in repeats(driver.name for driver in drivers):
        yield duplicate(f"spec.drivers[{index}].name", drivers[index].name)


def csi_node_update(new: CSINode, old: CSINode) -> Faults:
    """A driver may come or go; one that stays is as it was, but for how many volumes it takes."""
    before: dict[str, list[CSINodeDriver]] = {}
    for its in old.spec.drivers:
        before.setdefault(its.name, []).append(without(its, ("allocatable",)))
    for index, driver in enumerate(new.spec.drivers):
        known = before.get(driver.name)
        if known and without(driver, ("allocatable",)) not in known:
            yield invalid(f"spec.drivers[{index}]", shown(driver), IMMUTABLE)


def csi_storage_capacity(obj: CSIStorageCapacity) -> Faults:
    yield from name_required(names.subdomain, "storageClassName", obj.storage_class_name)
    if obj.HasField("node_topology"):
        yield from label_selector(obj.node_topology, "nodeTopology")
    if obj.HasField("capacity"):
        yield from quantity("capacity", obj.capacity)
    if obj.HasField("maximum_volume_size"):
        yield from quantity("maximumVolumeSize", obj.maximum_volume_size)


def csi_storage_capacity_update(new: CSIStorageCapacity, old: CSIStorageCapacity) -> Faults:
    yield from immutable("nodeTopology", new.node_topology, old.node_topology)
    yield from immutable("storageClassName", new.storage_class_name, old.storage_class_name)


def driver_name(name: str, path: str) -> Faults:
    """The name by which a CSI driver knows itself."""
    if not name:
        yield required(path)
        return
    if len(name) > _DRIVER_LENGTH:
        yield too_long(path, _DRIVER_LENGTH)
    yield from (invalid(path, name, problem) for problem in names.subdomain(name.lower()))


def _parameters(parameters: Mapping[str, str]) -> Faults:
    if len(parameters) > PARAMETERS_LIMIT:
        yield too_long("parameters", PARAMETERS_LIMIT)
        return
    size = 0
    for key in sorted(parameters):
        if not key:
            yield invalid("parameters", key, "field can not be empty.")
        size += len(key.encode()) + len(parameters[key].encode())
    if size > PARAMETERS_SIZE:
        yield too_long("parameters", PARAMETERS_SIZE)


def _topologies(terms: Sequence[TopologySelectorTerm], path: str) -> Faults:
    for index, term in enumerate(terms):
        here = f"{path}[{index}].matchLabelExpressions"
        for position, expression in enumerate(term.match_label_expressions):
            yield from name_required(names.qualified_name, f"{here}[{position}].key", expression.key)
            if not expression.values:
                yield required(f"{here}[{position}].values")
            for place in repeats(expression.values):
                yield duplicate(f"{here}[{position}].values[{place}]", expression.values[place])
        for position in repeats(expression.key for expression in term.match_label_expressions):
            yield duplicate(f"{here}[{position}].key", term.match_label_expressions[position].key)
    for index in repeats(term.SerializeToString(deterministic=True) for term in terms):
        yield duplicate(f"{path}[{index}]", shown(terms[index]))


def _token_requests(requests: Sequence[CSITokenRequest], path: str) -> Faults:
    for index, request in enumerate(requests):
        if request.HasField("expiration_seconds"):
            yield from token_life(f"{path}[{index}].expirationSeconds", request.expiration_seconds)
    for index in repeats(request.audience for request in requests):
        yield duplicate(f"{path}[{index}].audience", requests[index].audience)


def token_life(path: str, seconds: int) -> Faults:
    """How long a token may be good."""
    if seconds < SHORTEST_TOKEN_LIFE:
        yield invalid(path, seconds, "may not specify a duration less than 10 minutes")
    if seconds > LONGEST_TOKEN_LIFE:
        yield invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


def _node_driver(driver: CSINodeDriver, path: str) -> Faults:
    yield from driver_name(driver.name, f"{path}.name")
    if not driver.node_id:
        yield required(f"{path}.nodeID")
    elif len(driver.node_id) > NODE_ID_LENGTH:
        yield invalid(f"{path}.nodeID", driver.node_id, f"must be {NODE_ID_LENGTH} characters or less")
    for index, key in enumerate(driver.topology_keys):
        yield from name_required(names.qualified_name, f"{path}.topologyKeys[{index}]", key)
    for index in repeats(driver.topology_keys):
        yield duplicate(f"{path}.topologyKeys[{index}]", driver.topology_keys[index])
    yield from not_negative(f"{path}.allocatable.count", driver.allocatable.count)
