"""Tables of volumes, claims, and what provides them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from orchestrator.api.printing import UNSET, Printers, add, age_of, truth
from orchestrator.api.v1 import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)

PRINTERS: Printers = {}
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_OLD_DEFAULT_CLASS = "storageclass.beta.kubernetes.io/is-default-class"
# In this order.
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: Iterable[str]) -> str:
    given = set(modes)
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _phase(metadata: ObjectMeta, phase: str) -> str:
    return "Terminating" if metadata.HasField("deletion_timestamp") else phase


def _volume(obj: PersistentVolume, now: datetime, wide: bool) -> Sequence[str]:
    spec = obj.spec
    claim = spec.claim_ref
    return (
        obj.metadata.name,
        spec.capacity.get("storage", "0"),
        _modes(spec.access_modes),
        spec.persistent_volume_reclaim_policy,
        _phase(obj.metadata, obj.status.phase),
        f"{claim.namespace}/{claim.name}" if spec.HasField("claim_ref") else "",
        spec.storage_class_name,
        spec.volume_attributes_class_name or UNSET,
        obj.status.reason,
        age_of(obj, now),
        spec.volume_mode or UNSET,
    )


def _claim(obj: PersistentVolumeClaim, now: datetime, wide: bool) -> Sequence[str]:
    spec = obj.spec
    bound = bool(spec.volume_name)
    return (
        obj.metadata.name,
        _phase(obj.metadata, obj.status.phase),
        spec.volume_name,
        obj.status.capacity.get("storage", "0") if bound else "",
        _modes(obj.status.access_modes) if bound else "",
        spec.storage_class_name,
        spec.volume_attributes_class_name or UNSET,
        age_of(obj, now),
        spec.volume_mode or UNSET,
    )


def _storage_class(obj: StorageClass, now: datetime, wide: bool) -> Sequence[str]:
    annotations = obj.metadata.annotations
    default = "true" in (annotations.get(DEFAULT_CLASS), annotations.get(_OLD_DEFAULT_CLASS))
    return (
        f"{obj.metadata.name} (default)" if default else obj.metadata.name,
        obj.provisioner,
        obj.reclaim_policy or "Delete",
        obj.volume_binding_mode or "Immediate",
        truth(obj.allow_volume_expansion),
        age_of(obj, now),
    )


def _attachment(obj: VolumeAttachment, now: datetime, wide: bool) -> Sequence[str]:
    spec = obj.spec
    volume, attached = spec.source.persistent_volume_name, truth(obj.status.attached)
    return obj.metadata.name, spec.attacher, volume, spec.node_name, attached, age_of(obj, now)


def _driver(obj: CSIDriver, now: datetime, wide: bool) -> Sequence[str]:
    spec = obj.spec
    return (
        obj.metadata.name,
        truth(spec.attach_required if spec.HasField("attach_required") else True),
        truth(spec.pod_info_on_mount),
        truth(spec.storage_capacity),
        ",".join(request.audience for request in spec.token_requests) or UNSET,
        truth(spec.requires_republish),
        ",".join(spec.volume_lifecycle_modes) or "<none>",
        age_of(obj, now),
    )


def _node(obj: CSINode, now: datetime, wide: bool) -> Sequence[str]:
    return obj.metadata.name, str(len(obj.spec.drivers)), age_of(obj, now)


def _capacity(obj: CSIStorageCapacity, now: datetime, wide: bool) -> Sequence[str]:
    return obj.metadata.name, obj.storage_class_name, obj.capacity if obj.HasField("capacity") else UNSET


add(
    PRINTERS,
    "persistentvolumes",
    (
        "NAME",
        "CAPACITY",
        "ACCESS MODES",
        "RECLAIM POLICY",
        "STATUS",
        "CLAIM",
        "STORAGECLASS",
        "VOLUMEATTRIBUTESCLASS",
        "REASON",
        "AGE",
        "VOLUMEMODE",
    ),
    _volume,
    ("VOLUMEMODE",),
)
add(
    PRINTERS,
    "persistentvolumeclaims",
    (
        "NAME",
        "STATUS",
        "VOLUME",
        "CAPACITY",
        "ACCESS MODES",
        "STORAGECLASS",
        "VOLUMEATTRIBUTESCLASS",
        "AGE",
        "VOLUMEMODE",
    ),
    _claim,
    ("VOLUMEMODE",),
)
add(
    PRINTERS,
    "storageclasses.storage.k8s.io",
    ("NAME", "PROVISIONER", "RECLAIMPOLICY", "VOLUMEBINDINGMODE", "ALLOWVOLUMEEXPANSION", "AGE"),
    _storage_class,
)
add(
    PRINTERS,
    "volumeattachments.storage.k8s.io",
    ("NAME", "ATTACHER", "PV", "NODE", "ATTACHED", "AGE"),
    _attachment,
)
add(
    PRINTERS,
    "csidrivers.storage.k8s.io",
    (
        "NAME",
        "ATTACHREQUIRED",
        "PODINFOONMOUNT",
        "STORAGECAPACITY",
        "TOKENREQUESTS",
        "REQUIRESREPUBLISH",
        "MODES",
        "AGE",
    ),
    _driver,
)
add(PRINTERS, "csinodes.storage.k8s.io", ("NAME", "DRIVERS", "AGE"), _node)
add(PRINTERS, "csistoragecapacities.storage.k8s.io", ("NAME", "STORAGECLASSNAME", "CAPACITY"), _capacity)
