"""Volumes, claims and drivers: the phase they begin in, and two names of one data source."""

from __future__ import annotations

from orchestrator.api.defaults.rules import rule
from orchestrator.api.v1 import CSIDriverSpec, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec


@rule(PersistentVolume)
def _persistent_volume(volume: PersistentVolume) -> None:
    volume.status.phase = volume.status.phase or "Pending"


@rule(PersistentVolumeClaim)
def _claim(claim: PersistentVolumeClaim) -> None:
    claim.status.phase = claim.status.phase or "Pending"
    _same_source(claim.spec)


def _same_source(spec: PersistentVolumeClaimSpec) -> None:
    """Either name of the source stands for the other, but only the newer one reaches into another namespace."""
    if spec.HasField("data_source") and not spec.HasField("data_source_ref"):
        source = spec.data_source
        spec.data_source_ref.kind, spec.data_source_ref.name = source.kind, source.name
        if source.HasField("api_group"):
            spec.data_source_ref.api_group = source.api_group
    elif spec.HasField("data_source_ref") and not spec.HasField("data_source"):
        reference = spec.data_source_ref
        if reference.namespace:
            return
        spec.data_source.kind, spec.data_source.name = reference.kind, reference.name
        if reference.HasField("api_group"):
            spec.data_source.api_group = reference.api_group


@rule(CSIDriverSpec)
def _driver(spec: CSIDriverSpec) -> None:
    if not spec.volume_lifecycle_modes:
        spec.volume_lifecycle_modes.append("Persistent")
