"""Environment variables of containers, and the references to a pod's own fields that volumes have too."""

from __future__ import annotations

import re
from collections.abc import Collection

from orchestrator.api import names
from orchestrator.api.errors import invalid, not_supported, required
from orchestrator.api.v1 import EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector
from orchestrator.api.validation.rules import Faults, name_required, named, quantity

ENVIRONMENT_FIELDS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
VOLUME_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"}
)
_RESOURCES = frozenset(
    f"{kind}.{resource}" for kind in ("limits", "requests") for resource in ("cpu", "memory", "ephemeral-storage")
)
_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]")
_ONE_SOURCE = "may not have more than one field specified at a time"


def variable(entry: EnvVar, path: str) -> Faults:
    yield from name_required(names.environment_name, f"{path}.name", entry.name)
    if entry.HasField("value_from"):
        yield from _source(entry.value_from, f"{path}.valueFrom", has_value=bool(entry.value))


def variables_from(source: EnvFromSource, path: str) -> Faults:
    if source.prefix:
        yield from named(names.environment_name, f"{path}.prefix", source.prefix)
    both = source.HasField("config_map_ref"), source.HasField("secret_ref")
    if all(both):
        yield invalid(path, "", _ONE_SOURCE)
    elif not any(both):
        yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    if source.HasField("config_map_ref"):
        yield from name_required(names.subdomain, f"{path}.configMapRef.name", source.config_map_ref.name)
    if source.HasField("secret_ref"):
        yield from name_required(names.subdomain, f"{path}.secretRef.name", source.secret_ref.name)


def _source(source: EnvVarSource, path: str, *, has_value: bool) -> Faults:
    given = [field.json_name for field, _ in source.ListFields()]
    if not given:
        yield invalid(
            path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        )
    elif has_value:
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield invalid(path, "", _ONE_SOURCE)
    if source.HasField("field_ref"):
        yield from field_reference(source.field_ref, f"{path}.fieldRef", ENVIRONMENT_FIELDS)
    if source.HasField("resource_field_ref"):
        yield from resource_reference(source.resource_field_ref, f"{path}.resourceFieldRef", in_volume=False)
    for name, reference in (("configMapKeyRef", source.config_map_key_ref), ("secretKeyRef", source.secret_key_ref)):
        if name in given:
            yield from name_required(names.subdomain, f"{path}.{name}.name", reference.name)
            yield from name_required(names.config_key, f"{path}.{name}.key", reference.key)
    if source.HasField("file_key_ref"):
        file = source.file_key_ref
        yield from name_required(names.label, f"{path}.fileKeyRef.volumeName", file.volume_name)
        if not file.path:
            yield required(f"{path}.fileKeyRef.path")
        yield from name_required(names.environment_name, f"{path}.fileKeyRef.key", file.key)


def field_reference(reference: ObjectFieldSelector, path: str, fields: Collection[str]) -> Faults:
    """A field of the pod: one of `fields`, or one label or annotation."""
    if not reference.api_version:
        yield required(f"{path}.apiVersion")
    elif reference.api_version != "v1":
        yield not_supported(f"{path}.apiVersion", reference.api_version, ["v1"])
    here = f"{path}.fieldPath"
    if not reference.field_path:
        yield required(here)
        return
    subscript = _SUBSCRIPT.fullmatch(reference.field_path)
    if subscript is not None:
        key = subscript[2]
        rule_value = key.lower() if subscript[1] == "metadata.annotations" else key
        yield from (invalid(here, key, problem) for problem in names.qualified_name(rule_value))
    elif reference.field_path not in fields:
        yield not_supported(here, reference.field_path, fields)


def resource_reference(reference: ResourceFieldSelector, path: str, *, in_volume: bool) -> Faults:
    if in_volume and not reference.container_name:
        yield required(f"{path}.containerName")
    if not reference.resource:
        yield required(f"{path}.resource")
    elif reference.resource not in _RESOURCES and "hugepages-" not in reference.resource:
        yield not_supported(f"{path}.resource", reference.resource, _RESOURCES)
    if reference.divisor:
        yield from quantity(f"{path}.divisor", reference.divisor)
