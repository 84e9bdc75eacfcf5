"""Volumes of pods: each has a name and exactly one source, and paths inside stay inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from orchestrator.api import names
from orchestrator.api.errors import duplicate, forbidden, invalid, not_supported, required
from orchestrator.api.v1 import (
    DownwardAPIVolumeFile,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    KeyToPath,
    ProjectedVolumeSource,
    Volume,
    VolumeProjection,
)
from orchestrator.api.validation.environment import VOLUME_FIELDS, field_reference, resource_reference
from orchestrator.api.validation.rules import Faults, name_required, quantity, relative_path, repeats, within

_HOST_PATH_TYPES = frozenset(
    {"", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"}
)
_MEDIUMS = ("", "Memory", "HugePages")
_PAGES = "HugePages-"
_LARGEST_MODE = 0o777
_SHORTEST_TOKEN_LIFE = 600


def volumes(entries: Sequence[Volume], path: str) -> Faults:
    for index, volume in enumerate(entries):
        here = f"{path}[{index}]"
        yield from name_required(names.label, f"{here}.name", volume.name)
        yield from _source(volume, here)
    for index in repeats(volume.name for volume in entries):
        yield duplicate(f"{path}[{index}].name", entries[index].name)


def _source(volume: Volume, path: str) -> Faults:
    given = [field.json_name for field, _ in volume.ListFields() if field.message_type is not None]
    if not given:
        yield required(path, "must specify a volume type")
    for extra in given[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
    if volume.HasField("host_path"):
        yield from _host_path(volume.host_path, f"{path}.hostPath")
    if volume.HasField("empty_dir"):
        yield from _empty_dir(volume.empty_dir, f"{path}.emptyDir")
    if volume.HasField("secret"):
        if not volume.secret.secret_name:
            yield required(f"{path}.secret.secretName")
        yield from _mode(f"{path}.secret.defaultMode", volume.secret.default_mode)
        yield from _items(volume.secret.items, f"{path}.secret.items")
    if volume.HasField("config_map"):
        if not volume.config_map.name:
            yield required(f"{path}.configMap.name")
        yield from _mode(f"{path}.configMap.defaultMode", volume.config_map.default_mode)
        yield from _items(volume.config_map.items, f"{path}.configMap.items")
    if volume.HasField("downward_api"):
        yield from _mode(f"{path}.downwardAPI.defaultMode", volume.downward_api.default_mode)
        yield from _files(volume.downward_api.items, f"{path}.downwardAPI.items")
    if volume.HasField("projected"):
        yield from _projected(volume.projected, f"{path}.projected")
    yield from _missing_names(volume, path)


def _missing_names(volume: Volume, path: str) -> Faults:
    """Sources that are accepted but not mounted: what they can't do without."""
    if volume.HasField("persistent_volume_claim") and not volume.persistent_volume_claim.claim_name:
        yield required(f"{path}.persistentVolumeClaim.claimName")
    if volume.HasField("nfs"):
        if not volume.nfs.server:
            yield required(f"{path}.nfs.server")
        if not volume.nfs.path:
            yield required(f"{path}.nfs.path")
        elif not volume.nfs.path.startswith("/"):
            yield invalid(f"{path}.nfs.path", volume.nfs.path, "must be an absolute path")
    if volume.HasField("csi") and not volume.csi.driver:
        yield required(f"{path}.csi.driver")
    if volume.HasField("ephemeral") and not volume.ephemeral.HasField("volume_claim_template"):
        yield required(f"{path}.ephemeral.volumeClaimTemplate")


def _host_path(source: HostPathVolumeSource, path: str) -> Faults:
    if not source.path:
        yield required(f"{path}.path")
    elif ".." in source.path.split("/"):
        yield invalid(f"{path}.path", source.path, "must not contain '..'")
    if source.type not in _HOST_PATH_TYPES:
        yield not_supported(f"{path}.type", source.type, _HOST_PATH_TYPES)


def _empty_dir(source: EmptyDirVolumeSource, path: str) -> Faults:
    if source.HasField("size_limit"):
        yield from quantity(f"{path}.sizeLimit", source.size_limit)
    if source.medium.startswith(_PAGES):
        # The size becomes an option of the mount.
        yield from quantity(f"{path}.medium", source.medium.removeprefix(_PAGES))
    elif source.medium not in _MEDIUMS:
        yield not_supported(f"{path}.medium", source.medium, _MEDIUMS)


def _mode(path: str, mode: int) -> Faults:
    if not 0 <= mode <= _LARGEST_MODE:
        yield invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _items(items: Iterable[KeyToPath], path: str) -> Faults:
    for index, item in enumerate(items):
        here = f"{path}[{index}]"
        if not item.key:
            yield required(f"{here}.key")
        yield from _file_path(f"{here}.path", item.path)
        if item.HasField("mode"):
            yield from _mode(f"{here}.mode", item.mode)


def _file_path(path: str, value: str) -> Faults:
    """Where a file goes; names that begin with two dots are kept for swapping all files at once."""
    if not value:
        yield required(path)
        return
    faults = list(relative_path(path, value))
    yield from faults
    if not faults and value.startswith(".."):
        yield invalid(path, value, "must not start with '..'")


def _files(files: Sequence[DownwardAPIVolumeFile], path: str) -> Faults:
    for index, file in enumerate(files):
        here = f"{path}[{index}]"
        yield from _file_path(f"{here}.path", file.path)
        if file.HasField("field_ref"):
            if file.HasField("resource_field_ref"):
                yield invalid(here, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
            yield from field_reference(file.field_ref, f"{here}.fieldRef", VOLUME_FIELDS)
        elif file.HasField("resource_field_ref"):
            yield from resource_reference(file.resource_field_ref, f"{here}.resourceFieldRef", in_volume=True)
        else:
            yield required(here, "one of fieldRef and resourceFieldRef is required")
        if file.HasField("mode"):
            yield from _mode(f"{here}.mode", file.mode)


def _projected(source: ProjectedVolumeSource, path: str) -> Faults:
    yield from _mode(f"{path}.defaultMode", source.default_mode)
    for index, projection in enumerate(source.sources):
        yield from _projection(projection, f"{path}.sources[{index}]")
    targets = [target for projection in source.sources for target in _targets(projection)]
    for index in repeats(targets):
        yield invalid(path, targets[index], "conflicting duplicate paths")


def _projection(projection: VolumeProjection, path: str) -> Faults:
    given = [field.json_name for field, _ in projection.ListFields()]
    if not given:
        yield required(path, "must specify a projection source")
    for extra in given[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 volume type per source")
    if projection.HasField("secret"):
        if not projection.secret.name:
            yield required(f"{path}.secret.name")
        yield from _items(projection.secret.items, f"{path}.secret.items")
    if projection.HasField("config_map"):
        if not projection.config_map.name:
            yield required(f"{path}.configMap.name")
        yield from _items(projection.config_map.items, f"{path}.configMap.items")
    if projection.HasField("downward_api"):
        yield from _files(projection.downward_api.items, f"{path}.downwardAPI.items")
    if projection.HasField("service_account_token"):
        token = projection.service_account_token
        here = f"{path}.serviceAccountToken"
        yield from _file_path(f"{here}.path", token.path)
        if token.HasField("expiration_seconds"):
            yield from within(f"{here}.expirationSeconds", token.expiration_seconds, _SHORTEST_TOKEN_LIFE, 2**32)


def _targets(projection: VolumeProjection) -> Iterator[str]:
    """The files that are known to appear, without those that depend on the keys of another object."""
    yield from (item.path for item in projection.secret.items)
    yield from (item.path for item in projection.config_map.items)
    yield from (file.path for file in projection.downward_api.items)
    if projection.HasField("service_account_token"):
        yield projection.service_account_token.path
