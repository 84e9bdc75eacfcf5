"""Volumes of the cluster: one source, which stays, a size and ways of access."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, not_supported, required
from orchestrator.api.schema import descriptor_of, option
from orchestrator.api.v1 import (
    CSIPersistentVolumeSource,
    PersistentVolume,
    PersistentVolumeSpec,
    SecretReference,
    options_pb2,
)
from orchestrator.api.validation.claim import VOLUME_MODES, access_modes
from orchestrator.api.validation.rules import Faults, above_zero, immutable, name_required, named
from orchestrator.api.validation.scheduling import node_selector_terms
from orchestrator.api.validation.storage import driver_name

_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_NOT_SOURCES = frozenset({"claim_ref", "node_affinity"})
# The fields without which a source makes no sense; `always` marks them, and some that have a meaning when empty.
_MAY_BE_EMPTY = frozenset({"lun"})


def persistent_volume(obj: PersistentVolume) -> Faults:
    yield from volume_spec(obj.spec, "spec")


def volume_spec(spec: PersistentVolumeSpec, path: str, *, inline: bool = False) -> Faults:
    """`inline`: it is part of an attachment, and has no object, no claim and no class."""
    if not spec.access_modes:
        yield required(f"{path}.accessModes")
    yield from access_modes(spec.access_modes, f"{path}.accessModes")
    if not inline:
        yield from _capacity(spec, f"{path}.capacity")
        if spec.persistent_volume_reclaim_policy not in _RECLAIM_POLICIES:
            here = f"{path}.persistentVolumeReclaimPolicy"
            yield not_supported(here, spec.persistent_volume_reclaim_policy, _RECLAIM_POLICIES)
    yield from _affinity(spec, f"{path}.nodeAffinity")
    yield from _source(spec, path, inline=inline)
    if spec.storage_class_name:
        yield from named(names.subdomain, f"{path}.storageClassName", spec.storage_class_name)
    if spec.HasField("volume_mode") and spec.volume_mode not in VOLUME_MODES:
        yield not_supported(f"{path}.volumeMode", spec.volume_mode, VOLUME_MODES)
    if spec.HasField("volume_attributes_class_name"):
        yield from name_required(
            names.subdomain, f"{path}.volumeAttributesClassName", spec.volume_attributes_class_name
        )


def persistent_volume_update(new: PersistentVolume, old: PersistentVolume) -> Faults:
    if dict(_sources(new.spec)) != dict(_sources(old.spec)):
        yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    yield from immutable("spec.volumeMode", new.spec.volume_mode, old.spec.volume_mode)
    if old.spec.HasField("node_affinity"):
        yield from immutable("spec.nodeAffinity", new.spec.node_affinity, old.spec.node_affinity)


def _capacity(spec: PersistentVolumeSpec, path: str) -> Faults:
    if not spec.capacity:
        yield required(path)
    elif "storage" not in spec.capacity or len(spec.capacity) > 1:
        yield not_supported(path, {name: spec.capacity[name] for name in sorted(spec.capacity)}, ["storage"])
    for name in sorted(spec.capacity):
        yield from above_zero(f"{path}[{name}]", spec.capacity[name])


def _affinity(spec: PersistentVolumeSpec, path: str) -> Faults:
    if not spec.HasField("node_affinity"):
        if spec.HasField("local"):
            yield required(path, "Local volume requires node affinity")
        return
    if not spec.node_affinity.HasField("required"):
        yield required(f"{path}.required", "must specify required node constraints")
        return
    terms = spec.node_affinity.required.node_selector_terms
    yield from node_selector_terms(terms, f"{path}.required.nodeSelectorTerms")


def _sources(spec: PersistentVolumeSpec) -> Iterator[tuple[str, Message]]:
    """The sources that are set, by JSON name. Fields of the spec that are messages and no source are known."""
    for field, value in spec.ListFields():
        if field.message_type is not None and not field.is_repeated and field.name not in _NOT_SOURCES:
            yield field.json_name, value


def _source(spec: PersistentVolumeSpec, path: str, *, inline: bool) -> Faults:
    given = list(_sources(spec))
    if not given:
        yield required(path, "must specify a volume type")
        return
    for name, _ in given[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 volume type")
    name, source = given[0]
    here = f"{path}.{name}"
    if inline and name != "csi":
        yield forbidden(here, "may only specify csi for an inline volume")
    if name == "csi":
        yield from _csi(spec.csi, here)
    else:
        yield from _complete(source, here)
    if name == "hostPath" and spec.host_path.path == "/" and spec.persistent_volume_reclaim_policy == "Recycle":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        yield forbidden(f"{path}.persistentVolumeReclaimPolicy", why)
    if name == "nfs" and spec.nfs.path and not spec.nfs.path.startswith("/"):
        yield invalid(f"{here}.path", spec.nfs.path, "must be an absolute path")
    if name in {"hostPath", "local"}:
        folder = spec.host_path.path if name == "hostPath" else spec.local.path
        if ".." in folder.split("/"):
            yield invalid(f"{here}.path", folder, "must not contain '..'")


def _complete(source: Message, path: str) -> Faults:
    """Every field that Kubernetes always shows is one that the source can't do without."""
    for field in descriptor_of(source).fields:
        if not option(field, options_pb2.always) or field.name in _MAY_BE_EMPTY:
            continue
        if not getattr(source, field.name):
            yield required(f"{path}.{field.json_name}")


def _csi(source: CSIPersistentVolumeSource, path: str) -> Faults:
    yield from driver_name(source.driver, f"{path}.driver")
    if not source.volume_handle:
        yield required(f"{path}.volumeHandle")
    for field, value in source.ListFields():
        if isinstance(value, SecretReference):
            for part in ("name", "namespace"):
                if not getattr(value, part):
                    yield required(f"{path}.{field.json_name}.{part}")
