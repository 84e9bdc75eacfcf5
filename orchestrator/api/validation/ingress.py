"""Ingresses and their classes: hosts that are names, paths that are absolute, backends that are one thing."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, not_supported, required, too_long
from orchestrator.api.v1 import (
    HTTPIngressPath,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressClassParametersReference,
    IngressRule,
    IngressServiceBackend,
    IngressStatus,
    IngressTLS,
)
from orchestrator.api.validation.rules import (
    PROTOCOLS,
    Faults,
    domain_prefixed,
    immutable,
    name_required,
    named,
    one_of,
    port,
)

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
CONTROLLER_LENGTH = 250
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_NOT_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F")
_NOT_AT_THE_END = ("/..", "/.")
_SCOPES = ("Cluster", "Namespace")


def ingress(obj: Ingress) -> Faults:
    spec = obj.spec
    if not spec.rules and not spec.HasField("default_backend"):
        yield invalid("spec", [], "either `defaultBackend` or `rules` must be specified")
    if spec.HasField("default_backend"):
        yield from _backend(spec.default_backend, "spec.defaultBackend")
    for index, rule in enumerate(spec.rules):
        yield from _rule(rule, f"spec.rules[{index}]")
    for index, tls in enumerate(spec.tls):
        yield from _tls(tls, f"spec.tls[{index}]")
    if spec.HasField("ingress_class_name"):
        yield from named(names.subdomain, "spec.ingressClassName", spec.ingress_class_name)
        if CLASS_ANNOTATION in obj.metadata.annotations:
            given = obj.metadata.annotations[CLASS_ANNOTATION]
            if given != spec.ingress_class_name:
                here = f"metadata.annotations[{CLASS_ANNOTATION}]"
                yield invalid(here, given, "must match `ingressClassName` when both are specified")


def ingress_status(status: IngressStatus) -> Faults:
    for index, entrance in enumerate(status.load_balancer.ingress):
        here = f"status.loadBalancer.ingress[{index}]"
        if entrance.ip:
            yield from named(names.ip_address, f"{here}.ip", entrance.ip)
        if entrance.hostname:
            yield from named(names.subdomain, f"{here}.hostname", entrance.hostname)
            if not names.ip_address(entrance.hostname):
                yield invalid(f"{here}.hostname", entrance.hostname, "must be a DNS name, not an IP address")
        for position, each in enumerate(entrance.ports):
            yield from one_of(f"{here}.ports[{position}].protocol", each.protocol, PROTOCOLS)


def ingress_class(obj: IngressClass) -> Faults:
    controller = obj.spec.controller
    if len(controller.encode()) > CONTROLLER_LENGTH:
        yield too_long("spec.controller", CONTROLLER_LENGTH)
    yield from domain_prefixed("spec.controller", controller)
    if obj.spec.HasField("parameters"):
        yield from _parameters(obj.spec.parameters, "spec.parameters")


def ingress_class_update(new: IngressClass, old: IngressClass) -> Faults:
    yield from immutable("spec.controller", new.spec.controller, old.spec.controller)


def _rule(rule: IngressRule, path: str) -> Faults:
    if rule.host:
        yield from _host(f"{path}.host", rule.host)
        if not names.ip_address(rule.host):
            yield invalid(f"{path}.host", rule.host, "must be a DNS name, not an IP address")
    if not rule.HasField("http"):
        return
    if not rule.http.paths:
        yield required(f"{path}.http.paths")
    for index, each in enumerate(rule.http.paths):
        yield from _path(each, f"{path}.http.paths[{index}]")


def _host(path: str, host: str) -> Faults:
    """A DNS name; a star may stand for its first part."""
    if "*" not in host:
        yield from named(names.subdomain, path, host)
    elif not host.startswith("*.") or names.subdomain(host[2:]):
        why = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
            "'*.example.com', regex used for validation is "
            r"'\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
        yield invalid(path, host, why)


def _tls(tls: IngressTLS, path: str) -> Faults:
    for index, host in enumerate(tls.hosts):
        yield from _host(f"{path}.hosts[{index}]", host)
    if tls.secret_name:
        yield from named(names.subdomain, f"{path}.secretName", tls.secret_name)


def _path(each: HTTPIngressPath, path: str) -> Faults:
    if not each.HasField("path_type"):
        yield required(f"{path}.pathType", "pathType must be specified")
    elif each.path_type in {"Exact", "Prefix"}:
        yield from _strict_path(f"{path}.path", each.path)
    elif each.path_type == "ImplementationSpecific":
        if each.path and not each.path.startswith("/"):
            yield invalid(f"{path}.path", each.path, "must be an absolute path")
    else:
        yield not_supported(f"{path}.pathType", each.path_type, _PATH_TYPES)
    yield from _backend(each.backend, f"{path}.backend")


def _strict_path(path: str, value: str) -> Faults:
    if not value.startswith("/"):
        yield invalid(path, value, "must be an absolute path")
        return
    for part in _NOT_IN_PATHS:
        if part in value:
            yield invalid(path, value, f"must not contain '{part}'")
    for end in _NOT_AT_THE_END:
        if value.endswith(end):
            yield invalid(path, value, f"cannot end with '{end}'")


def _backend(backend: IngressBackend, path: str) -> Faults:
    service, resource = backend.HasField("service"), backend.HasField("resource")
    if service and resource:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif resource:
        here = f"{path}.resource"
        if not backend.resource.kind:
            yield required(f"{here}.kind")
        if not backend.resource.name:
            yield required(f"{here}.name")
        if backend.resource.api_group:
            yield from named(names.subdomain, f"{here}.apiGroup", backend.resource.api_group)
    elif service:
        yield from _service(backend.service, path)
    else:
        yield invalid(path, "", "resource or service backend is required")


def _service(service: IngressServiceBackend, path: str) -> Faults:
    yield from name_required(names.label_1035, f"{path}.service.name", service.name)
    name, number = service.port.name, service.port.number
    if name and number:
        yield invalid(path, "", "cannot set both port name & port number")
    elif name:
        yield from named(names.port_name, f"{path}.service.port.name", name)
    elif number:
        yield from port(f"{path}.service.port.number", number)
    else:
        yield required(path, "port name or number is required")


def _parameters(parameters: IngressClassParametersReference, path: str) -> Faults:
    if parameters.api_group:
        yield from named(names.subdomain, f"{path}.apiGroup", parameters.api_group)
    for name, value in (("kind", parameters.kind), ("name", parameters.name)):
        if value:
            yield from named(names.path_segment, f"{path}.{name}", value)
        else:
            yield required(f"{path}.{name}")
    yield from one_of(f"{path}.scope", parameters.scope, _SCOPES)
    here = f"{path}.namespace"
    if parameters.scope == "Namespace":
        if parameters.namespace:
            yield from named(names.label, here, parameters.namespace)
        else:
            yield required(here, "`parameters.scope` is set to 'Namespace'")
    elif parameters.scope == "Cluster" and parameters.HasField("namespace"):
        yield forbidden(here, "`parameters.scope` is set to 'Cluster'")
