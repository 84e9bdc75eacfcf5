"""Tables of objects: for each kind the columns that `kubectl get` has, in its order and its words.

A kind has one printer: names of columns, those of them that only a wide table shows, and a function from an object to
its cells. Kinds without a printer show their name and age. Nothing here knows a terminal: the command line aligns the
cells, the REST door sends them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from orchestrator.api.ages import age, is_set
from orchestrator.api.kinds import Kind, KubeObject
from orchestrator.api.pod_columns import summarize
from orchestrator.api.printing import (
    NONE,
    TEMPLATE_COLUMNS,
    UNSET,
    Printer,
    Printers,
    age_of,
    labels,
    selector,
    some,
    template,
)
from orchestrator.api.printing import add as register
from orchestrator.api.v1 import (
    ConfigMap,
    Deployment,
    EndpointSlice,
    Event,
    Lease,
    Namespace,
    Node,
    Pod,
    ReplicaSet,
    Secret,
    Service,
    ServiceAccount,
)

__all__ = ["Table", "age", "table"]

_BALANCER_WIDTH = 16
_ROLE_PREFIX = "node-role.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Table:
    """Names of columns and, for each object, as many cells."""

    columns: list[str]
    rows: list[list[str]]


def table(kind: Kind, objects: Iterable[KubeObject], now: datetime, wide: bool) -> Table:
    """The table of objects of one kind, in their order."""
    printer = _printer(kind)
    shown = [index for index, name in enumerate(printer.columns) if wide or name not in printer.wide]
    rows = []
    for obj in objects:
        cells = printer.cells(obj, now, wide)
        rows.append([cells[index] for index in shown])
    return Table([printer.columns[index] for index in shown], rows)


def _any(obj: KubeObject, now: datetime, wide: bool) -> Sequence[str]:
    return obj.metadata.name, age_of(obj, now)


def _pod(pod: Pod, now: datetime, wide: bool) -> Sequence[str]:
    summary = summarize(pod, now)
    addresses = [each.ip for each in pod.status.pod_ips] or [pod.status.pod_ip]
    return (
        pod.metadata.name,
        summary.ready,
        summary.status,
        summary.restarts,
        age_of(pod, now),
        addresses[0] or NONE,
        pod.spec.node_name or NONE,
        pod.status.nominated_node_name or NONE,
        summary.readiness_gates,
    )


def _node(node: Node, now: datetime, wide: bool) -> Sequence[str]:
    ready = [condition.status for condition in node.status.conditions if condition.type == "Ready"]
    states = ["Unknown" if not ready else "Ready" if ready[0] == "True" else "NotReady"]
    if node.spec.unschedulable:
        states.append("SchedulingDisabled")
    info = node.status.node_info
    return (
        node.metadata.name,
        ",".join(states),
        ",".join(_roles(node.metadata.labels)) or NONE,
        age_of(node, now),
        info.kubelet_version,
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.os_image or "<unknown>",
        info.kernel_version or "<unknown>",
        info.container_runtime_version or "<unknown>",
    )


def _roles(labels: Mapping[str, str]) -> list[str]:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    roles.add(labels.get("kubernetes.io/role", ""))
    return sorted(roles - {""})


def _address(node: Node, kind: str) -> str:
    return next((each.address for each in node.status.addresses if each.type == kind), NONE)


def _namespace(namespace: Namespace, now: datetime, wide: bool) -> Sequence[str]:
    return namespace.metadata.name, namespace.status.phase, age_of(namespace, now)


def _service(service: Service, now: datetime, wide: bool) -> Sequence[str]:
    spec = service.spec
    addresses = list(spec.cluster_ips) or [spec.cluster_ip]
    return (
        service.metadata.name,
        spec.type,
        addresses[0] or NONE,
        _external(service, wide),
        ",".join(_ports(service)) or NONE,
        age_of(service, now),
        labels(spec.selector),
    )


def _external(service: Service, wide: bool) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return spec.external_name
    addresses = list(spec.external_ips)
    if spec.type == "LoadBalancer":
        entrances = ",".join(sorted({each.ip or each.hostname for each in service.status.load_balancer.ingress}))
        if len(entrances) > _BALANCER_WIDTH and not wide:
            entrances = entrances[: _BALANCER_WIDTH - 3] + "..."
        addresses = [entrances, *addresses] if entrances else addresses
        return ",".join(addresses) or "<pending>"
    return ",".join(addresses) or NONE


def _ports(service: Service) -> Iterable[str]:
    for port in service.spec.ports:
        yield f"{port.port}:{port.node_port}/{port.protocol}" if port.node_port else f"{port.port}/{port.protocol}"


def _config_map(config: ConfigMap, now: datetime, wide: bool) -> Sequence[str]:
    return config.metadata.name, str(len(config.data) + len(config.binary_data)), age_of(config, now)


def _secret(secret: Secret, now: datetime, wide: bool) -> Sequence[str]:
    return secret.metadata.name, secret.type, str(len(secret.data)), age_of(secret, now)


def _service_account(account: ServiceAccount, now: datetime, wide: bool) -> Sequence[str]:
    return account.metadata.name, str(len(account.secrets)), age_of(account, now)


def _event(event: Event, now: datetime, wide: bool) -> Sequence[str]:
    first = event.first_timestamp if is_set(event.first_timestamp) else event.event_time
    last = event.last_timestamp if is_set(event.last_timestamp) else first
    count = event.count or 1
    if event.HasField("series"):
        last, count = event.series.last_observed_time, event.series.count
    about = event.involved_object
    source = [event.source.component or event.reporting_component, event.source.host or event.reporting_instance]
    return (
        age(now, last),
        event.type,
        event.reason,
        f"{about.kind.lower()}/{about.name}",
        about.field_path,
        ", ".join(part for part in source if part),
        event.message.strip(),
        age(now, first),
        str(count),
        event.metadata.name,
    )


def _endpoint_slice(endpoint_slice: EndpointSlice, now: datetime, wide: bool) -> Sequence[str]:
    ports = [str(port.port) if port.HasField("port") else "*" for port in endpoint_slice.ports]
    addresses = [address for endpoint in endpoint_slice.endpoints for address in endpoint.addresses]
    return (
        endpoint_slice.metadata.name,
        endpoint_slice.address_type,
        some(ports, UNSET),
        some(addresses, UNSET),
        age_of(endpoint_slice, now),
    )


def _lease(lease: Lease, now: datetime, wide: bool) -> Sequence[str]:
    return lease.metadata.name, lease.spec.holder_identity, age_of(lease, now)


def _replica_set(replica_set: ReplicaSet, now: datetime, wide: bool) -> Sequence[str]:
    spec, status = replica_set.spec, replica_set.status
    return (
        replica_set.metadata.name,
        str(spec.replicas),
        str(status.replicas),
        str(status.ready_replicas),
        age_of(replica_set, now),
        *template(spec.template.spec.containers),
        selector(spec.selector),
    )


def _deployment(deployment: Deployment, now: datetime, wide: bool) -> Sequence[str]:
    spec, status = deployment.spec, deployment.status
    return (
        deployment.metadata.name,
        f"{status.ready_replicas}/{spec.replicas}",
        str(status.updated_replicas),
        str(status.available_replicas),
        age_of(deployment, now),
        *template(spec.template.spec.containers),
        selector(spec.selector),
    )


_ANY: Printer[KubeObject] = Printer(("NAME", "AGE"), _any)


def _printer(kind: Kind) -> Printer[KubeObject]:
    found = _PRINTERS.get(kind.resource)
    if found is None:
        # Those of kinds that are rarely shown are loaded when one is.
        from orchestrator.api.printers import PRINTERS

        found = PRINTERS.get(kind.resource, _ANY)
    return found


def _printers() -> Printers:
    printers: Printers = {}
    add = partial(register, printers)
    pod_wide = ("IP", "NODE", "NOMINATED NODE", "READINESS GATES")
    add("pods", ("NAME", "READY", "STATUS", "RESTARTS", "AGE", *pod_wide), _pod, pod_wide)
    node_wide = ("INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME")
    add("nodes", ("NAME", "STATUS", "ROLES", "AGE", "VERSION", *node_wide), _node, node_wide)
    add("namespaces", ("NAME", "STATUS", "AGE"), _namespace)
    service = ("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR")
    add("services", service, _service, ("SELECTOR",))
    add("configmaps", ("NAME", "DATA", "AGE"), _config_map)
    add("secrets", ("NAME", "TYPE", "DATA", "AGE"), _secret)
    add("serviceaccounts", ("NAME", "SECRETS", "AGE"), _service_account)
    add(
        "events",
        ("LAST SEEN", "TYPE", "REASON", "OBJECT", "SUBOBJECT", "SOURCE", "MESSAGE", "FIRST SEEN", "COUNT", "NAME"),
        _event,
        ("SUBOBJECT", "SOURCE", "FIRST SEEN", "COUNT", "NAME"),
    )
    add("endpointslices.discovery.k8s.io", ("NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"), _endpoint_slice)
    add("leases.coordination.k8s.io", ("NAME", "HOLDER", "AGE"), _lease)
    replica_set = ("NAME", "DESIRED", "CURRENT", "READY", "AGE", *TEMPLATE_COLUMNS)
    add("replicasets.apps", replica_set, _replica_set, TEMPLATE_COLUMNS)
    deployment = ("NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", *TEMPLATE_COLUMNS)
    add("deployments.apps", deployment, _deployment, TEMPLATE_COLUMNS)
    return printers


_PRINTERS = _printers()
