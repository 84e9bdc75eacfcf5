"""Addresses and ports for Services: who gets which, and that nobody gets one twice.

Each address or port in use is a key of the store, made in the same transaction as the Service under the condition that
it does not exist, and removed in the transaction that gives it up: that is what makes it unique, however many servers
there are. The sets kept here in memory only say where to look for a free one, so that concurrent creates choose
different ones; they follow the store, and when they are wrong all the same, the transaction fails, the set learns, and
the caller tries again. Whether one that a user asks for by name can be had, the store alone decides.
"""

from __future__ import annotations

import ipaddress
import logging
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from orchestrator.api import errors
from orchestrator.api.conventions import SERVICE_NETWORK
from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import Service, ServicePort
from orchestrator.logs import fields
from orchestrator.server.rules import invalid
from orchestrator.store import Compare, Delete, Put

log = logging.getLogger("allocation")

STATIC_ADDRESSES = 16  # at the beginning of the network, for those who choose their own
NODE_PORTS = range(30000, 32768)
STATIC_PORTS = 86

ALLOCATIONS = "/allocations/"
ADDRESSES = f"{ALLOCATIONS}clusterip/"
PORTS = f"{ALLOCATIONS}nodeport/"
HEADLESS = "None"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a Service occupies."""

    addresses: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()

    def paths(self) -> Iterator[str]:
        """The store's keys for it."""
        yield from (ADDRESSES + address for address in self.addresses)
        yield from (f"{PORTS}{port}" for port in self.ports)

    def minus(self, other: Claim) -> Claim:
        return Claim(self.addresses - other.addresses, self.ports - other.ports)


@dataclass(slots=True)
class Pool:
    """The numbers of a range: which are taken, and where the free ones are that nobody chooses by hand."""

    span: range
    static: int
    taken: set[int] = field(default_factory=set)

    def take_free(self, rng: random.Random) -> int | None:
        """A free number, now taken: from the dynamic part while it lasts. None when all are taken."""
        dynamic = self.span[self.static :]
        start = rng.randrange(len(dynamic))
        for candidate in chain(dynamic[start:], dynamic[:start], self.span[: self.static]):
            if candidate not in self.taken:
                self.taken.add(candidate)
                return candidate
        return None


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a write of a Service adds to its transaction.

    `asked` are the keys of what the Service names itself: the caller looks whether they are free. `fresh` is all that
    is new to the Service and goes back if the write fails, `released` what it gives up if it succeeds.
    """

    compares: tuple[Compare, ...] = ()
    operations: tuple[Put | Delete, ...] = ()
    asked: tuple[str, ...] = ()
    fresh: Claim = Claim()
    released: Claim = Claim()


NOTHING = Allocation()


def claim_of(service: Service) -> Claim:
    """What a Service as it stands occupies. Raises nothing: what is no address occupies nothing."""
    spec = service.spec
    if spec.type == "ExternalName":
        return Claim()
    addresses = frozenset(ip for ip in (spec.cluster_ip, *spec.cluster_ips) if ip and ip != HEADLESS)
    ports = (
        frozenset(port.node_port for port in spec.ports if port.node_port) if has_node_ports(service) else frozenset()
    )
    return Claim(addresses, ports)


def has_node_ports(service: Service) -> bool:
    if service.spec.type == "LoadBalancer":
        wanted = service.spec.HasField("allocate_load_balancer_node_ports")
        return not wanted or service.spec.allocate_load_balancer_node_ports
    return service.spec.type == "NodePort"


class Allocator:
    """Chooses addresses and ports; knows what is in use, approximately."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        base = int(SERVICE_NETWORK.network_address)
        # Neither the network's own address nor its broadcast address.
        self._addresses = Pool(range(base + 1, base + SERVICE_NETWORK.num_addresses - 1), STATIC_ADDRESSES - 1)
        self._ports = Pool(NODE_PORTS, STATIC_PORTS)

    def load(self, taken: Iterable[str]) -> None:
        """Know these keys, and only these, to be in the store."""
        self._addresses.taken.clear()
        self._ports.taken.clear()
        self.learn(taken)

    def allocate(self, old: Service | None, new: Service | None, owner: str) -> Allocation:
        """Choose what `new` needs and leaves open, writing it into `new`, and give back what `old` alone used.

        `owner` is stored with each key, for people. Raises Invalid for an address or port outside the ranges.
        """
        before = claim_of(old) if old is not None else Claim()
        asked = Claim()
        fresh: list[Claim] = []
        if new is not None:
            asked = claim_of(new).minus(before)
            self._check_ranges(new, asked)
            try:
                self._fill_address(new, fresh)
                self._fill_ports(new, fresh)
            except errors.ApiError:
                for claim in fresh:
                    self._vacate(claim)
                raise
        after = claim_of(new) if new is not None else Claim()
        added, released = after.minus(before), before.minus(after)
        self._occupy(added)
        return Allocation(
            compares=tuple(Compare(path, 0) for path in added.paths()),
            operations=(
                *(Put(path, owner.encode()) for path in added.paths()),
                *(Delete(path) for path in released.paths()),
            ),
            asked=tuple(asked.paths()),
            fresh=added,
            released=released,
        )

    def settle(self, allocation: Allocation, *, written: bool) -> None:
        """Note how the write went."""
        self._vacate(allocation.released if written else allocation.fresh)

    def learn(self, taken: Iterable[str]) -> None:
        """These keys turned out to be in the store."""
        self._occupy(_claim_of_paths(taken))

    def forget(self, free: Iterable[str]) -> None:
        """These keys have gone from the store."""
        self._vacate(_claim_of_paths(free))

    def _check_ranges(self, service: Service, asked: Claim) -> None:
        outside = Claim(
            frozenset(each for each in asked.addresses if _number(each) not in self._addresses.span),
            asked.ports - frozenset(NODE_PORTS),
        )
        addresses = ", ".join(sorted(outside.addresses))
        address_range = f"The range of valid IPs is {SERVICE_NETWORK.with_prefixlen}"
        port_range = f"The range of valid ports is {NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
        faults = _faults(
            service,
            outside,
            f"the provided IP ({addresses}) is not in the valid range. {address_range}",
            f"provided port is not in the valid range. {port_range}",
        )
        if faults:
            raise invalid(kind_of(Service), service, faults)

    def _fill_address(self, service: Service, fresh: list[Claim]) -> None:
        spec = service.spec
        if spec.type == "ExternalName":
            return
        if not spec.cluster_ip:
            number = self._addresses.take_free(self._rng)
            if number is None:
                raise errors.InternalError.of("failed to allocate a serviceIP: range is full")
            spec.cluster_ip = str(ipaddress.IPv4Address(number))
            fresh.append(Claim(addresses=frozenset({spec.cluster_ip})))
        if not spec.cluster_ips:
            spec.cluster_ips.append(spec.cluster_ip)

    def _fill_ports(self, service: Service, fresh: list[Claim]) -> None:
        if not has_node_ports(service):
            return
        for port in service.spec.ports:
            if port.node_port:
                continue
            # The same port over another protocol shares the number, as in Kubernetes.
            twin = _twin(service.spec.ports, port)
            number = twin or self._ports.take_free(self._rng)
            if number is None:
                raise errors.InternalError.of("failed to allocate a nodePort: range is full")
            if not twin:
                fresh.append(Claim(ports=frozenset({number})))
            port.node_port = number

    def _occupy(self, claim: Claim) -> None:
        self._addresses.taken.update(_numbers(claim.addresses))
        self._ports.taken.update(claim.ports)

    def _vacate(self, claim: Claim) -> None:
        self._addresses.taken.difference_update(_numbers(claim.addresses))
        self._ports.taken.difference_update(claim.ports)


def reconcile_allocations(services: Iterable[Service], keys: Iterable[str]) -> tuple[list[Put], list[Delete]]:
    """The allocation keys that are missing for the services there are, and those that belong to none of them.

    Heals what a restored backup or a fault left behind. Two services with one address are logged: a person must choose.
    """
    owners: dict[str, str] = {}
    for service in services:
        owner = f"{service.metadata.namespace}/{service.metadata.name}"
        for path in claim_of(service).paths():
            if path in owners:
                log.error("allocated twice", extra=fields(key=path, first=owners[path], second=owner))
            owners.setdefault(path, owner)
    present = set(keys)
    missing = [Put(path, owner.encode()) for path, owner in owners.items() if path not in present]
    return missing, [Delete(path) for path in sorted(present - owners.keys())]


def refusal(service: Service, taken: Iterable[str]) -> errors.Invalid:
    """The error for a Service that asks for addresses and ports whose keys, `taken`, are others'."""
    claim = _claim_of_paths(taken)
    faults = _faults(service, claim, "provided IP is already allocated", "provided port is already allocated")
    return invalid(kind_of(Service), service, faults)


def _faults(service: Service, claim: Claim, of_address: str, of_port: str) -> list[errors.FieldError]:
    """One fault for each part of the claim, at the field of the Service that asks for it."""
    faults = [
        errors.invalid("spec.clusterIPs", [address], f"failed to allocate IP {address}: {of_address}")
        for address in sorted(claim.addresses)
    ]
    for index, port in enumerate(service.spec.ports):
        if port.node_port in claim.ports:
            faults.append(errors.invalid(f"spec.ports[{index}].nodePort", port.node_port, of_port))
    return faults


def _claim_of_paths(paths: Iterable[str]) -> Claim:
    everything = list(paths)
    return Claim(
        frozenset(path.removeprefix(ADDRESSES) for path in everything if path.startswith(ADDRESSES)),
        frozenset(int(path.removeprefix(PORTS)) for path in everything if path.startswith(PORTS)),
    )


def _twin(ports: Iterable[ServicePort], port: ServicePort) -> int:
    for other in ports:
        if other.port == port.port and other.protocol != port.protocol and other.node_port:
            return other.node_port
    return 0


def _number(address: str) -> int | None:
    try:
        return int(ipaddress.IPv4Address(address))
    except ipaddress.AddressValueError:
        return None


def _numbers(addresses: Iterable[str]) -> list[int]:
    return [number for address in addresses if (number := _number(address)) is not None]
