"""EndpointSlice: the addresses behind a Service, in slices of bounded size.

Endpoints stay in the slice they are in, so a change of one pod rewrites one slice; new ones fill the slices there are
before another is made. Pods whose named target ports lead to different numbers get slices of their own.

A Service with a selector always has a slice, if an empty one, and a slice that has lost its endpoints becomes the next
one that is needed: whoever reads slices never sees the old ones gone and the new ones not yet there.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from orchestrator.api.conventions import SERVICE_NAME
from orchestrator.api.generated_names import with_suffix
from orchestrator.api.kinds import KubeObject, clone, key_of
from orchestrator.api.selectors import from_labels
from orchestrator.api.v1 import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    ObjectMeta,
    ObjectReference,
    Pod,
    Service,
)
from orchestrator.controllers.informers import Informers
from orchestrator.controllers.ownership import owner_reference
from orchestrator.controllers.pods import FINISHED, is_ready
from orchestrator.runtime import Deletion, Plan
from orchestrator.runtime.reconciler import AnyInformer

SLICE_LIMIT = 100
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"

# Name, protocol, number and application protocol of each port: what the endpoints of a slice have in common.
Ports = tuple[tuple[str, str, int, str], ...]


@dataclass(frozen=True, slots=True)
class Observed:
    service: Service
    pods: Sequence[Pod]  # that its selector selects
    slices: Sequence[EndpointSlice]  # that carry its name and are managed here


def decide(seen: Observed, now: datetime) -> Plan:
    if seen.service.metadata.HasField("deletion_timestamp"):
        return Plan()
    wanted: dict[Ports, dict[str, Endpoint]] = defaultdict(dict)
    selects = bool(seen.service.spec.selector) and seen.service.spec.type != "ExternalName"
    if selects:
        for pod in seen.pods:
            if pod.status.pod_ip and pod.status.phase not in FINISHED:
                ports = _ports(seen.service, pod)
                wanted[ports][pod.metadata.uid] = _endpoint(seen.service, pod)
    present: dict[Ports, list[EndpointSlice]] = defaultdict(list)
    for piece in sorted(seen.slices, key=lambda each: each.metadata.name):
        present[_ports_of(piece)].append(piece)
    update: list[EndpointSlice] = []
    emptied: list[EndpointSlice] = []
    missing: list[tuple[Ports, list[Endpoint]]] = []
    for ports in sorted({*wanted, *present}):
        filled, left = _keep_places(present.get(ports, ()), dict(wanted.get(ports, {})))
        _fill(filled, left)
        emptied += [before for before, after in filled if not after.endpoints]
        for before, after in filled:
            if after.endpoints and _labelled(after, seen.service) != before:
                update.append(after)
        in_order = [left[uid] for uid in sorted(left)]
        missing += [(ports, in_order[at : at + SLICE_LIMIT]) for at in range(0, len(in_order), SLICE_LIMIT)]
    if len(emptied) == len(seen.slices) and not missing and selects:
        missing.append(((), []))
    for (ports, endpoints), before in zip(missing, emptied, strict=False):
        after = _labelled(_filled(clone(before), ports, endpoints), seen.service)
        if after != before:
            update.append(after)
    names = _names(seen.service, {piece.metadata.name for piece in seen.slices})
    create = [_slice(seen.service, next(names), *each) for each in missing[len(emptied) :]]
    return Plan(create=create, update=update, delete=[Deletion(each) for each in emptied[len(missing) :]])


def _keep_places(
    slices: Iterable[EndpointSlice], wanted: dict[str, Endpoint]
) -> tuple[list[tuple[EndpointSlice, EndpointSlice]], dict[str, Endpoint]]:
    """Each slice with its successor, in which what stays is up to date and what is gone is missing; and what has no
    place yet."""
    pairs = []
    for piece in slices:
        after = clone(piece)
        del after.endpoints[:]
        for endpoint in piece.endpoints:
            current = wanted.pop(endpoint.target_ref.uid, None)
            if current is not None:
                after.endpoints.append(current)
        pairs.append((piece, after))
    return pairs, wanted


def _fill(pairs: Iterable[tuple[EndpointSlice, EndpointSlice]], left: dict[str, Endpoint]) -> None:
    """Puts new endpoints where there is room, first into slices that change anyway, then into the fullest."""
    by_preference = sorted(pairs, key=lambda pair: (pair[0] == pair[1], -len(pair[1].endpoints)))
    for _, after in by_preference:
        for uid in sorted(left)[: max(0, SLICE_LIMIT - len(after.endpoints))]:
            after.endpoints.append(left.pop(uid))


def _labelled(piece: EndpointSlice, service: Service) -> EndpointSlice:
    """The slice, changed in place, with the labels it has to have."""
    wanted = _labels(service)
    if dict(piece.metadata.labels) != wanted:
        piece.metadata.labels.clear()
        piece.metadata.labels.update(wanted)
    return piece


def _ports(service: Service, pod: Pod) -> Ports:
    found = []
    for port in service.spec.ports:
        protocol = port.protocol or "TCP"
        target = port.target_port
        if target.HasField("string_value"):
            number = _named_port(pod, target.string_value, protocol)
        else:
            number = int(target.number_value) or port.port
        if number:
            found.append((port.name, protocol, number, port.app_protocol))
    return tuple(found)


def _named_port(pod: Pod, name: str, protocol: str) -> int:
    for container in pod.spec.containers:
        for port in container.ports:
            if port.name == name and (port.protocol or "TCP") == protocol:
                return port.container_port
    return 0


def _ports_of(piece: EndpointSlice) -> Ports:
    return tuple((port.name, port.protocol or "TCP", port.port, port.app_protocol) for port in piece.ports)


def _endpoint(service: Service, pod: Pod) -> Endpoint:
    serving = is_ready(pod)
    terminating = pod.metadata.HasField("deletion_timestamp")
    endpoint = Endpoint(
        addresses=[pod.status.pod_ip],
        conditions=EndpointConditions(
            ready=service.spec.publish_not_ready_addresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        target_ref=ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
        node_name=pod.spec.node_name,
    )
    if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
        endpoint.hostname = pod.spec.hostname
    return endpoint


def _labels(service: Service) -> Mapping[str, str]:
    headless = {HEADLESS: ""} if service.spec.cluster_ip == "None" else {}
    return {**service.metadata.labels, **headless, SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}


def _slice(service: Service, name: str, ports: Ports, endpoints: Iterable[Endpoint]) -> EndpointSlice:
    piece = EndpointSlice(
        metadata=ObjectMeta(
            name=name,
            generate_name=f"{service.metadata.name}-",
            namespace=service.metadata.namespace,
            labels=_labels(service),
            owner_references=[owner_reference(service)],
        ),
        address_type="IPv4",
    )
    return _filled(piece, ports, endpoints)


def _filled(piece: EndpointSlice, ports: Ports, endpoints: Iterable[Endpoint]) -> EndpointSlice:
    """The slice, changed in place, with these ports and endpoints."""
    del piece.ports[:]
    del piece.endpoints[:]
    piece.endpoints.extend(endpoints)
    for port_name, protocol, number, app_protocol in ports:
        port = EndpointPort(name=port_name, protocol=protocol, port=number)
        if app_protocol:
            port.app_protocol = app_protocol
        piece.ports.append(port)
    return piece


def _names(service: Service, taken: Set[str]) -> Iterator[str]:
    """Endless names for new slices: always the same for the same view, so that making them twice makes them once."""
    rng = random.Random("/".join((service.metadata.uid, *sorted(taken))))
    while True:
        name = with_suffix(service.metadata.name, rng)
        if name not in taken:
            yield name


class EndpointSliceController:
    """Shows each Service its pods and slices."""

    name = "endpointslice-controller"

    def __init__(self, informers: Informers) -> None:
        self._services = informers.of(Service)
        self._pods = informers.of(Pod)
        self._slices = informers.of(EndpointSlice)
        self._slices.add_index("service", _service_of)

    def informers(self) -> Sequence[AnyInformer]:
        return (self._services, self._pods, self._slices)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        match obj:
            case Service():
                return [key_of(obj)]
            case EndpointSlice():
                return _service_of(obj)
            case _:
                labels = obj.metadata.labels
                return [
                    key_of(service)
                    for service in self._services.list(obj.metadata.namespace)
                    if service.spec.selector and service.spec.selector.items() <= labels.items()
                ]

    def observe(self, key: str) -> Observed | None:
        service = self._services.get_by_key(key)
        if service is None:
            return None  # its slices belong to it, and go with it
        pods: Sequence[Pod] = ()
        if service.spec.selector:
            query = from_labels(service.spec.selector)
            pods = [pod for pod in self._pods.list(service.metadata.namespace) if query.matches(pod.metadata.labels)]
        return Observed(service, pods, self._slices.by_index("service", key))

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)


def _service_of(piece: EndpointSlice) -> Sequence[str]:
    labels = piece.metadata.labels
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return []
    return [f"{piece.metadata.namespace}/{labels[SERVICE_NAME]}"]
