"""Which files a volume made of API objects consists of: configMap, secret, downwardAPI, projected. Pure.

The objects are fetched by the caller (`references` says which ones); what comes out is a set of paths with contents
and modes, to be written by `atomic_directory.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agents.node.downward import Facts, field_value, resource_value
from agents.node.errors import ConfigError
from orchestrator.api.v1 import ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume

_DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class ProjectedFile:
    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class References:
    """Objects by name; None for one that does not exist."""

    config_maps: Mapping[str, ConfigMap | None] = field(default_factory=dict)
    secrets: Mapping[str, Secret | None] = field(default_factory=dict)


def is_projection(volume: Volume) -> bool:
    """Whether the volume's files come from API objects. Such a volume is read-only for containers."""
    return any(volume.HasField(name) for name in ("config_map", "secret", "downward_api", "projected"))


def is_sensitive(volume: Volume) -> bool:
    """Whether the files must not reach the disk."""
    return volume.HasField("secret") or volume.HasField("projected")


def references(volumes: Iterable[Volume]) -> tuple[set[str], set[str]]:
    """The names of the ConfigMaps and of the Secrets that volumes refer to."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for volume in volumes:
        if volume.HasField("config_map"):
            config_maps.add(volume.config_map.name)
        if volume.HasField("secret"):
            secrets.add(volume.secret.secret_name)
        for source in volume.projected.sources:
            if source.HasField("config_map"):
                config_maps.add(source.config_map.name)
            if source.HasField("secret"):
                secrets.add(source.secret.name)
    return config_maps, secrets


def volume_files(pod: Pod, volume: Volume, found: References, facts: Facts) -> dict[str, ProjectedFile]:
    """The files by their path in the volume. Raises ConfigError when an object or a key is missing."""
    if volume.HasField("config_map"):
        config_map = volume.config_map
        mode = config_map.default_mode if config_map.HasField("default_mode") else _DEFAULT_MODE
        return _of_config_map(found, config_map.name, config_map.items, config_map.optional, mode)
    if volume.HasField("secret"):
        secret = volume.secret
        mode = secret.default_mode if secret.HasField("default_mode") else _DEFAULT_MODE
        return _of_secret(found, secret.secret_name, secret.items, secret.optional, mode)
    if volume.HasField("downward_api"):
        downward = volume.downward_api
        mode = downward.default_mode if downward.HasField("default_mode") else _DEFAULT_MODE
        return _of_pod(pod, downward.items, facts, mode)
    projected = volume.projected
    mode = projected.default_mode if projected.HasField("default_mode") else _DEFAULT_MODE
    files: dict[str, ProjectedFile] = {}
    for source in projected.sources:
        if source.HasField("config_map"):
            wanted = source.config_map
            files |= _of_config_map(found, wanted.name, wanted.items, wanted.optional, mode)
        elif source.HasField("secret"):
            chosen = source.secret
            files |= _of_secret(found, chosen.name, chosen.items, chosen.optional, mode)
        elif source.HasField("downward_api"):
            files |= _of_pod(pod, source.downward_api.items, facts, mode)
        # Tokens and certificates are accepted and have no effect, as their user was told: most pods never look at them.
    return files


def _of_config_map(
    found: References, name: str, items: Iterable[KeyToPath], optional: bool, mode: int
) -> dict[str, ProjectedFile]:
    config_map = found.config_maps.get(name)
    if config_map is None:
        return _absent("configmap", name, optional)
    content = {key: value.encode() for key, value in config_map.data.items()} | dict(config_map.binary_data)
    return _chosen(content, items, optional, mode, f"configmap references non-existent config key: {{}} (in {name})")


def _of_secret(
    found: References, name: str, items: Iterable[KeyToPath], optional: bool, mode: int
) -> dict[str, ProjectedFile]:
    secret = found.secrets.get(name)
    if secret is None:
        return _absent("secret", name, optional)
    return _chosen(dict(secret.data), items, optional, mode, f"references non-existent secret key: {{}} (in {name})")


def _absent(kind: str, name: str, optional: bool) -> dict[str, ProjectedFile]:
    if optional:
        return {}
    raise ConfigError(f'{kind} "{name}" not found', "FailedMount")


def _chosen(
    content: Mapping[str, bytes], items: Iterable[KeyToPath], optional: bool, mode: int, missing: str
) -> dict[str, ProjectedFile]:
    chosen = list(items)
    if not chosen:
        return {key: ProjectedFile(value, mode) for key, value in content.items()}
    files: dict[str, ProjectedFile] = {}
    for item in chosen:
        if item.key not in content:
            if optional:
                continue
            raise ConfigError(missing.format(item.key), "FailedMount")
        files[_path(item.path)] = ProjectedFile(content[item.key], item.mode if item.HasField("mode") else mode)
    return files


def _of_pod(pod: Pod, items: Iterable[DownwardAPIVolumeFile], facts: Facts, mode: int) -> dict[str, ProjectedFile]:
    files: dict[str, ProjectedFile] = {}
    for item in items:
        if item.HasField("field_ref"):
            text = field_value(pod, item.field_ref.field_path, facts)
        else:
            text = resource_value(pod, None, item.resource_field_ref, facts)
        files[_path(item.path)] = ProjectedFile(text.encode(), item.mode if item.HasField("mode") else mode)
    return files


def _path(path: str) -> str:
    """The API checks it; writing outside the volume must not hang on that alone."""
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise ConfigError(f'"{path}" is no path inside a volume', "FailedMount")
    return "/".join(part for part in parts if part not in ("", "."))
