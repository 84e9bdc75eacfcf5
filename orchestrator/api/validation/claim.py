"""Claims of volumes: a size and ways of access; once made, a claim may only grow."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, not_supported, required
from orchestrator.api.v1 import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    TypedLocalObjectReference,
    TypedObjectReference,
)
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.resources import amounts
from orchestrator.api.validation.rules import Faults, above_zero, amount_of, named, shown

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_UNCHANGEABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def claim(obj: PersistentVolumeClaim) -> Faults:
    yield from claim_spec(obj.spec, "spec")


def claim_spec(spec: PersistentVolumeClaimSpec, path: str) -> Faults:
    if not spec.access_modes:
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from access_modes(spec.access_modes, f"{path}.accessModes")
    if spec.HasField("selector"):
        yield from label_selector(spec.selector, f"{path}.selector")
    storage = f"{path}.resources[storage]"
    if "storage" not in spec.resources.requests:
        yield required(storage)
    else:
        yield from above_zero(storage, spec.resources.requests["storage"])
    others = {name: amount for name, amount in spec.resources.requests.items() if name != "storage"}
    yield from amounts(others, f"{path}.resources.requests")
    yield from amounts(spec.resources.limits, f"{path}.resources.limits")
    if spec.storage_class_name:
        yield from named(names.subdomain, f"{path}.storageClassName", spec.storage_class_name)
    if spec.HasField("volume_mode") and spec.volume_mode not in VOLUME_MODES:
        yield not_supported(f"{path}.volumeMode", spec.volume_mode, VOLUME_MODES)
    yield from _sources(spec, path)
    if spec.volume_attributes_class_name:
        here = f"{path}.volumeAttributesClassName"
        yield from named(names.subdomain, here, spec.volume_attributes_class_name)


def access_modes(modes: Sequence[str], path: str) -> Faults:
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield not_supported(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        yield forbidden(path, "may not use ReadWriteOncePod with other access modes")


def claim_update(new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> Faults:
    after, before = _comparable(new, old), _comparable(old, old)
    if after != before:
        yield forbidden("spec", _UNCHANGEABLE)
    yield from _shrinking(new, old)


def _comparable(claim: PersistentVolumeClaim, old: PersistentVolumeClaim) -> PersistentVolumeClaimSpec:
    """The spec without what may be changed, given how far the claim is."""
    spec = PersistentVolumeClaimSpec()
    spec.CopyFrom(claim.spec)
    if not old.spec.volume_name:
        spec.ClearField("volume_name")  # binding writes it
    if old.status.phase == "Bound":
        spec.resources.ClearField("requests")
        spec.ClearField("volume_attributes_class_name")
    if not old.spec.HasField("storage_class_name"):
        spec.ClearField("storage_class_name")  # the default class may come later
    if not spec.resources.ListFields():
        spec.ClearField("resources")
    return spec


def _shrinking(new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> Faults:
    wanted = amount_of(new.spec.resources.requests.get("storage", ""))
    before = amount_of(old.spec.resources.requests.get("storage", ""))
    there = amount_of(old.status.capacity.get("storage", ""))
    if wanted is None or before is None or not wanted < before or old.status.phase != "Bound":
        return
    if there is None or wanted < there:
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def claim_status(status: PersistentVolumeClaimStatus) -> Faults:
    yield from amounts(status.capacity, "status.capacity")
    yield from amounts(status.allocated_resources, "status.allocatedResources")
    yield from access_modes(status.access_modes, "status.accessModes")


def _sources(spec: PersistentVolumeClaimSpec, path: str) -> Faults:
    if spec.HasField("data_source"):
        yield from _source(spec.data_source, f"{path}.dataSource")
    if spec.HasField("data_source_ref"):
        yield from _source(spec.data_source_ref, f"{path}.dataSourceRef")
    reference = spec.data_source_ref
    if spec.HasField("data_source") and spec.HasField("data_source_ref"):
        if reference.namespace:
            why = "may not be specified when dataSourceRef.namespace is specified"
            yield invalid(f"{path}.dataSource", shown(spec.data_source), why)
        elif (spec.data_source.kind, spec.data_source.name, spec.data_source.api_group) != (
            reference.kind,
            reference.name,
            reference.api_group,
        ):
            yield invalid(path, shown(spec.data_source), "must match dataSourceRef")


def _source(source: TypedLocalObjectReference | TypedObjectReference, path: str) -> Faults:
    if not source.name:
        yield required(f"{path}.name")
    if not source.kind:
        yield required(f"{path}.kind")
    if source.api_group:
        yield from named(names.subdomain, f"{path}.apiGroup", source.api_group)
    elif source.kind and source.kind != "PersistentVolumeClaim":
        yield invalid(path, source.kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
