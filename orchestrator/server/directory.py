"""Where the API servers of the cluster are: each says it in the store and writes it into its machine's kubeconfigs.

So the daemons and the people of a machine know all servers without anybody having told them, and go to another when
their own is away. Who has read a kubeconfig before a server came learns of it at its next start. A server whose member
of the store has been removed is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.store import ClusterStore, Compare, Delete, Put, StoreError

log = logging.getLogger("server")

PREFIX = "/servers//"
LOOK_SECONDS = 60.0
RETRY_SECONDS = 1.0


class ServerDirectory:
    """One server's entry, and what it knows of the others."""

    def __init__(
        self,
        store: ClusterStore,
        clock: Clock,
        *,
        name: str,
        address: str,
        local: str,
        found: Callable[[str], None],
    ) -> None:
        """`address`: where others reach this server; `local`: where its own machine does. `found` is called with all
        addresses, separated by commas, the local one first."""
        self._store = store
        self._clock = clock
        self._key = PREFIX + name
        self._address = address
        self._local = local
        self._found = found

    async def announce(self) -> None:
        """Say where this server is, and hear where the others are. Raises StoreError."""
        while True:
            known = await self._store.get(self._key)
            if known is not None and known.value.decode() == self._address:
                break
            written = known.mod_revision if known is not None else 0
            await self._store.txn([Compare(self._key, written)], [Put(self._key, self._address.encode())])
        await self._tell()

    async def run(self) -> None:
        """Follow until cancelled; every minute forget those who are no members any more."""
        while True:
            try:
                revision = await self._tell()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._changed(revision)
                await self._forget_removed()
            except StoreError as error:
                log.debug("servers can't be followed", extra=fields(error=str(error)))
                await self._clock.sleep(RETRY_SECONDS)

    async def _tell(self) -> int:
        found = await self._store.range(PREFIX)
        others = {each.key: each.value.decode() for each in found.items if each.key != self._key}
        self._found(",".join(reachable(self._local, others)))
        return found.revision

    async def _changed(self, revision: int) -> None:
        """Return when an entry changes after a revision."""
        watch = self._store.watch(PREFIX, after=revision)
        try:
            async for _ in watch:
                return
        finally:
            watch.close()

    async def _forget_removed(self) -> None:
        found = await self._store.range(PREFIX)
        members = {each.name for each in (await self._store.members()).members}
        for each in found.items:
            if each.key.removeprefix(PREFIX) not in members:
                await self._store.txn([Compare(each.key, each.mod_revision)], [Delete(each.key)])


def reachable(local: str, others: Mapping[str, str]) -> Sequence[str]:
    """The addresses a client on this machine can use, its own server's first; one family, as gRPC wants it."""
    family = _family(local)
    if family is None:
        return [local]
    return [local, *sorted({each for each in others.values() if _family(each) == family} - {local})]


def advertised(addresses: Iterable[str], local: str) -> str:
    """Where others reach the server that its machine reaches at `local`: the machine's first address, same port."""
    host, _, port = local.rpartition(":")
    first = next(iter(addresses), host.strip("[]"))
    return f"[{first}]:{port}" if ":" in first else f"{first}:{port}"


def _family(address: str) -> int | None:
    try:
        return ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).version
    except ValueError:
        return None
