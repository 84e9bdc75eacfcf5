"""Attachments of volumes to nodes: one volume, one node, and neither changes."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import forbidden, required
from orchestrator.api.v1 import VolumeAttachment, VolumeAttachmentSource
from orchestrator.api.validation.persistent_volume import volume_spec
from orchestrator.api.validation.rules import Faults, immutable, name_required
from orchestrator.api.validation.storage import driver_name

_EXACTLY_ONE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def volume_attachment(obj: VolumeAttachment) -> Faults:
    yield from driver_name(obj.spec.attacher, "spec.attacher")
    yield from _source(obj.spec.source, "spec.source")
    yield from name_required(names.subdomain, "spec.nodeName", obj.spec.node_name)


def volume_attachment_update(new: VolumeAttachment, old: VolumeAttachment) -> Faults:
    yield from immutable("spec", new.spec, old.spec)


def _source(source: VolumeAttachmentSource, path: str) -> Faults:
    by_name, inline = source.HasField("persistent_volume_name"), source.HasField("inline_volume_spec")
    if not by_name and not inline:
        yield required(path, _EXACTLY_ONE)
    elif by_name and inline:
        yield forbidden(path, _EXACTLY_ONE)
    elif by_name and not source.persistent_volume_name:
        yield required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName")
    elif inline:
        yield from volume_spec(source.inline_volume_spec, f"{path}.inlineVolumeSpec", inline=True)
