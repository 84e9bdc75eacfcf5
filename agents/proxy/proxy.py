"""The service proxy of one node: keeps the kernel's maps in step with Services, their EndpointSlices and host ports.

At start the whole table is put in place in one transaction, in the stead of what an earlier run left: traffic flows on
before, during and after. From then on a change costs the elements it changes. A transaction that the kernel refuses
is followed by another whole replacement, so that one surprise never leaves the maps half right.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client import Counter, Histogram

from agents.nftables import Nftables, NftablesError
from agents.proxy.conntrack import StaleFlow, forget, stale_flows
from agents.proxy.routes import Routes, host_port_routes, service_routes
from agents.proxy.ruleset import Change, Ledger, change_table, replace_table
from orchestrator.api.conventions import SERVICE_NAME
from orchestrator.api.v1 import EndpointSlice, Pod, Service
from orchestrator.client import Client, Informer
from orchestrator.clock import Clock
from orchestrator.logs import fields

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

_synced = Histogram("navarch_proxy_sync_seconds", "Seconds from noticing a change to its rules in the kernel")
_failed = Counter("navarch_proxy_sync_failures", "Transactions that the kernel refused")


class Proxy:
    """Programs the Services of the cluster into the network namespace it runs in."""

    name = "proxy"

    def __init__(self, node_name: str, client: Client, clock: Clock) -> None:
        self._node_name = node_name
        self._clock = clock
        self._services = Informer(client, Service)
        self._slices = Informer(client, EndpointSlice, indexes={"service": _service_of})
        self._pods = Informer(client, Pod, field_selector=f"spec.nodeName={node_name}")
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._stale: set[StaleFlow] = set()
        self._stale_found = asyncio.Event()
        self._routes: dict[str, Routes] = {}
        self._ledger = Ledger()
        self._nftables = Nftables()

    async def run(self, ready: Callable[[], None]) -> None:
        """Runs until cancelled; the rules stay when it ends."""
        _allow_local_node_ports()
        self._services.subscribe(lambda old, new: self._notice("service", old, new))
        self._slices.subscribe(self._notice_slice)
        self._pods.subscribe(lambda old, new: self._notice("pod", old, new))
        informers = (self._services, self._slices, self._pods)
        async with asyncio.TaskGroup() as tasks:
            for informer in informers:
                tasks.create_task(informer.run())
            for informer in informers:
                await informer.synced()
            await self._replace()
            self._stale.clear()  # at a start everything looks new, and flows under way are not
            tasks.create_task(self._forget_stale())
            ready()
            while True:
                await self._wake.wait()
                with _synced.time():
                    await self._sync()

    def _notice(self, kind: str, old: Service | Pod | None, new: Service | Pod | None) -> None:
        changed = new or old
        if changed is not None:
            self._mark(f"{kind}/{changed.metadata.namespace}/{changed.metadata.name}")

    def _notice_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for piece in (old, new):
            if piece is not None:
                for owner in _service_of(piece):
                    self._mark(f"service/{owner}")

    def _mark(self, owner: str) -> None:
        self._dirty.add(owner)
        self._wake.set()

    def _decide(self, owner: str) -> Routes:
        kind, namespace, name = owner.split("/", 2)
        if kind == "pod":
            pod = self._pods.get(namespace, name)
            return host_port_routes(pod) if pod else {}
        service = self._services.get(namespace, name)
        slices = self._slices.by_index("service", f"{namespace}/{name}")
        return service_routes(service, slices, self._node_name) if service else {}

    def _take(self) -> str:
        """Moves the ledger to what the dirty owners want now; returns the transaction, notes what becomes stale."""
        owners, self._dirty = sorted(self._dirty), set()
        self._wake.clear()
        changes: list[Change | None] = []
        for owner in owners:
            routes, before = self._decide(owner), self._routes.pop(owner, {})
            if routes:
                self._routes[owner] = routes
            if routes != before:
                changes.append(self._ledger.update(owner, routes))
                self._stale.update(stale_flows(before, routes))
        if None in changes:
            return replace_table(self._ledger)
        return "".join(change_table(change) for change in changes if change)

    async def _sync(self) -> None:
        commands = self._take()
        if commands:
            try:
                await self._nftables.apply(commands)
            except NftablesError as error:
                _failed.inc()
                log.warning("a change was refused, replacing the table", extra=fields(error=error))
                await self._replace()
        if self._stale:
            self._stale_found.set()

    async def _replace(self) -> None:
        """Puts the whole table in place, however often it takes."""
        while True:
            self._take()
            try:
                await self._nftables.apply(replace_table(self._ledger))
            except NftablesError as error:
                _failed.inc()
                log.error("the table was refused", extra=fields(error=error, retry_seconds=RETRY_SECONDS))
                await self._clock.sleep(RETRY_SECONDS)
            else:
                log.info("services are in the kernel", extra=fields(owners=len(self._routes)))
                return

    async def _forget_stale(self) -> None:
        """Removes stale flows, which takes a process for each: no change of rules waits for it."""
        while True:
            await self._stale_found.wait()
            self._stale_found.clear()
            flows, self._stale = sorted(self._stale), set()
            await forget(flows)


def _service_of(piece: EndpointSlice) -> Sequence[str]:
    name = piece.metadata.labels.get(SERVICE_NAME)
    return [f"{piece.metadata.namespace}/{name}"] if name else []


def _allow_local_node_ports() -> None:
    """Lets this machine reach node ports by 127.0.0.1: translated packets leave with a loopback source until they are
    masqueraded. The table's chain `martians` keeps loopback addresses from coming in by any other way."""
    Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1\n")
