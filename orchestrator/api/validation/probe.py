"""Probes and lifecycle hooks of containers: exactly one handler each, with sane numbers."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, required
from orchestrator.api.v1 import Container, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, TCPSocketAction
from orchestrator.api.validation.rules import Faults, named, not_negative, one_of, port, port_or_name, positive

_SCHEMES = ("HTTP", "HTTPS")


def probes(container: Container, path: str) -> Faults:
    if container.HasField("liveness_probe"):
        yield from _probe(container.liveness_probe, f"{path}.livenessProbe", readiness=False)
    if container.HasField("readiness_probe"):
        yield from _probe(container.readiness_probe, f"{path}.readinessProbe", readiness=True)
    if container.HasField("startup_probe"):
        yield from _probe(container.startup_probe, f"{path}.startupProbe", readiness=False)


def lifecycle(hooks: Lifecycle, path: str, grace_period: int) -> Faults:
    """`grace_period`: seconds the pod has to end in, which bound a sleep before that."""
    if hooks.HasField("post_start"):
        yield from _hook(hooks.post_start, f"{path}.postStart", grace_period)
    if hooks.HasField("pre_stop"):
        yield from _hook(hooks.pre_stop, f"{path}.preStop", grace_period)


def _probe(probe: Probe, path: str, *, readiness: bool) -> Faults:
    yield from _handler(probe, path)
    for field, value in (
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        yield from not_negative(f"{path}.{field}", value)
    if not readiness and probe.success_threshold not in {0, 1}:
        yield invalid(f"{path}.successThreshold", probe.success_threshold, "must be 1")
    if probe.HasField("termination_grace_period_seconds"):
        here = f"{path}.terminationGracePeriodSeconds"
        if readiness:
            yield invalid(here, probe.termination_grace_period_seconds, "must not be set for readinessProbes")
        else:
            yield from positive(here, probe.termination_grace_period_seconds)


def _hook(hook: LifecycleHandler, path: str, grace_period: int) -> Faults:
    yield from _handler(hook, path)
    if hook.HasField("sleep") and not 0 <= hook.sleep.seconds <= grace_period:
        why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_period})"
        yield invalid(f"{path}.sleep", hook.sleep.seconds, why)


def _handler(holder: Probe | LifecycleHandler, path: str) -> Faults:
    given = [field.json_name for field, _ in holder.ListFields() if field.json_name in _HANDLERS]
    if not given:
        yield required(path, "must specify a handler type")
    for extra in given[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
    if holder.HasField("exec") and not holder.exec.command:
        yield required(f"{path}.exec.command")
    if holder.HasField("http_get"):
        yield from _http_get(holder.http_get, f"{path}.httpGet")
    if holder.HasField("tcp_socket"):
        yield from _tcp_socket(holder.tcp_socket, f"{path}.tcpSocket")
    if isinstance(holder, Probe) and holder.HasField("grpc"):
        yield from port(f"{path}.grpc.port", holder.grpc.port)


_HANDLERS = frozenset({"exec", "httpGet", "tcpSocket", "grpc", "sleep"})


def _http_get(action: HTTPGetAction, path: str) -> Faults:
    if not action.path:
        yield required(f"{path}.path")
    yield from port_or_name(f"{path}.port", action.port)
    yield from one_of(f"{path}.scheme", action.scheme, _SCHEMES)
    for index, header in enumerate(action.http_headers):
        yield from named(names.http_header, f"{path}.httpHeaders[{index}].name", header.name)


def _tcp_socket(action: TCPSocketAction, path: str) -> Faults:
    yield from port_or_name(f"{path}.port", action.port)
