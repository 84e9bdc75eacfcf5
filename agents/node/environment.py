"""The environment variables of a container.

Later sources win over earlier ones: variables for services, `envFrom` in its order, `env` in its order. First the
objects that are referred to are fetched (`resolve_environment`), then `environment` decides, purely. A reference that
leads nowhere is a `ConfigError` with Kubernetes' words, unless it is optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agents.node.downward import Facts, field_value, resource_value
from agents.node.errors import ConfigError
from agents.node.sources import Sources
from orchestrator.api.v1 import ConfigMap, Container, EnvFromSource, EnvVar, Pod, Secret, Service

# Where every pod finds the API, whatever its namespace.
_API_NAMESPACE, _API_SERVICE = "default", "kubernetes"
_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")


@dataclass(frozen=True, slots=True)
class References:
    """The objects a container's variables come from, by name; None for one that does not exist."""

    config_maps: Mapping[str, ConfigMap | None] = field(default_factory=dict)
    secrets: Mapping[str, Secret | None] = field(default_factory=dict)
    services: Sequence[Service] = ()


async def resolve_environment(
    pod: Pod,
    container: Container,
    sources: Sources,
    *,
    pod_ips: Sequence[str],
    host_ips: Sequence[str],
    allocatable: Mapping[str, str],
) -> dict[str, str]:
    """Fetches what the variables refer to, and decides them. Raises ConfigError."""
    references = await fetch_references(pod, container, sources)
    return environment(pod, container, references, Facts(pod_ips, host_ips, allocatable))


async def fetch_references(pod: Pod, container: Container, sources: Sources) -> References:
    namespace = pod.metadata.namespace
    config_maps = {source.config_map_ref.name for source in container.env_from if source.HasField("config_map_ref")}
    secrets = {source.secret_ref.name for source in container.env_from if source.HasField("secret_ref")}
    for variable in container.env:
        if variable.value_from.HasField("config_map_key_ref"):
            config_maps.add(variable.value_from.config_map_key_ref.name)
        if variable.value_from.HasField("secret_key_ref"):
            secrets.add(variable.value_from.secret_key_ref.name)
    return References(
        config_maps={name: await sources.config_map(namespace, name) for name in sorted(config_maps)},
        secrets={name: await sources.secret(namespace, name) for name in sorted(secrets)},
        services=await _services(pod, sources),
    )


async def _services(pod: Pod, sources: Sources) -> Sequence[Service]:
    namespace = pod.metadata.namespace
    linked = not pod.spec.HasField("enable_service_links") or pod.spec.enable_service_links
    found = [each for each in await sources.services(_API_NAMESPACE) if each.metadata.name == _API_SERVICE]
    if linked:
        own = await sources.services(namespace)
        # A service of the pod's namespace wins over the API's of the same name.
        found += sorted(own, key=lambda service: service.metadata.name)
    return found


def environment(pod: Pod, container: Container, references: References, facts: Facts) -> dict[str, str]:
    """The variables by name, in the order in which they were first given."""
    variables = service_variables(references.services)
    for source in container.env_from:
        variables |= {
            source.prefix + key: value
            for key, value in _all_keys(source, references).items()
            if is_variable_name(source.prefix + key)
        }
    for variable in container.env:
        value = _value(pod, container, variable, references, facts, variables)
        if value is not None:
            variables[variable.name] = value
    return variables


def service_variables(services: Iterable[Service]) -> dict[str, str]:
    """For services that have an address: NAME_SERVICE_HOST, NAME_SERVICE_PORT, NAME_PORT_80_TCP and so on."""
    variables: dict[str, str] = {}
    for service in services:
        address = service.spec.cluster_ip
        if not address or address == "None" or not service.spec.ports:
            continue
        name = _shouted(service.metadata.name)
        host = f"[{address}]" if ":" in address else address
        first = service.spec.ports[0]
        variables[f"{name}_SERVICE_HOST"] = address
        variables[f"{name}_SERVICE_PORT"] = str(first.port)
        for port in service.spec.ports:
            if port.name:
                variables[f"{name}_SERVICE_PORT_{_shouted(port.name)}"] = str(port.port)
        variables[f"{name}_PORT"] = f"{_protocol(first.protocol).lower()}://{host}:{first.port}"
        for port in service.spec.ports:
            protocol = _protocol(port.protocol)
            prefix = f"{name}_PORT_{port.port}_{protocol}"
            variables[prefix] = f"{protocol.lower()}://{host}:{port.port}"
            variables[f"{prefix}_PROTO"] = protocol.lower()
            variables[f"{prefix}_PORT"] = str(port.port)
            variables[f"{prefix}_ADDR"] = address
    return variables


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces $(NAME) by the variable and $$ by a dollar; what names no variable stays as it is."""

    def replacement(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "$"
        return variables.get(name, found[0])

    return _REFERENCE.sub(replacement, text)


def is_variable_name(name: str) -> bool:
    """Printable ASCII without an equals sign."""
    return bool(name) and all(" " <= character <= "~" and character != "=" for character in name)


def _all_keys(source: EnvFromSource, references: References) -> dict[str, str]:
    if source.HasField("config_map_ref"):
        config_map = references.config_maps.get(source.config_map_ref.name)
        if config_map is not None:
            return {key: config_map.data[key] for key in sorted(config_map.data)}
        if not source.config_map_ref.optional:
            raise _missing("configmap", source.config_map_ref.name)
    if source.HasField("secret_ref"):
        secret = references.secrets.get(source.secret_ref.name)
        if secret is not None:
            return {key: _as_text(secret.data[key]) for key in sorted(secret.data)}
        if not source.secret_ref.optional:
            raise _missing("secret", source.secret_ref.name)
    return {}


def _value(
    pod: Pod,
    container: Container,
    variable: EnvVar,
    references: References,
    facts: Facts,
    earlier: Mapping[str, str],
) -> str | None:
    source = variable.value_from
    namespace = pod.metadata.namespace
    if not variable.HasField("value_from"):
        return expand(variable.value, earlier)
    if source.HasField("field_ref"):
        return field_value(pod, source.field_ref.field_path, facts)
    if source.HasField("resource_field_ref"):
        return resource_value(pod, container, source.resource_field_ref, facts)
    if source.HasField("config_map_key_ref"):
        wanted = source.config_map_key_ref
        config_map = references.config_maps.get(wanted.name)
        if config_map is not None and wanted.key in config_map.data:
            return config_map.data[wanted.key]
        if wanted.optional:
            return None
        if config_map is None:
            raise _missing("configmap", wanted.name)
        raise ConfigError(f"couldn't find key {wanted.key} in ConfigMap {namespace}/{wanted.name}")
    if source.HasField("secret_key_ref"):
        chosen = source.secret_key_ref
        secret = references.secrets.get(chosen.name)
        if secret is not None and chosen.key in secret.data:
            return _as_text(secret.data[chosen.key])
        if chosen.optional:
            return None
        if secret is None:
            raise _missing("secret", chosen.name)
        raise ConfigError(f"couldn't find key {chosen.key} in Secret {namespace}/{chosen.name}")
    return None


def _missing(kind: str, name: str) -> ConfigError:
    return ConfigError(f'{kind} "{name}" not found')


def _as_text(value: bytes) -> str:
    # The runtime takes text alone; what isn't UTF-8 can't be a variable unharmed.
    return value.decode("utf-8", errors="replace")


def _shouted(name: str) -> str:
    return name.upper().replace("-", "_")


def _protocol(protocol: str) -> str:
    return protocol or "TCP"
