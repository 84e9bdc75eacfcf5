"""The network agent: gives the container runtime its CNI configuration as soon as the node has a pod CIDR.

It watches its own Node object and writes three things when `spec.podCIDR` is set: IP forwarding, the masquerading
rules, and last the CNI configuration, which is what makes the runtime say "network ready". All three are idempotent,
so a restart changes nothing; an existing pod keeps its address because the state is in the plugin's own files.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from agents.network.configuration import CONFIGURATION_FILE, cni_configuration, masquerade_table
from agents.nftables import Nftables, NftablesError
from orchestrator.api.v1 import Node
from orchestrator.atomic_file import write_atomically
from orchestrator.client import Client, Informer
from orchestrator.clock import Clock, within
from orchestrator.logs import fields
from orchestrator.paths import Paths

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class NetworkAgent:
    """Sets up the pod network of the network namespace it runs in."""

    name = "network"

    def __init__(
        self, paths: Paths, node_name: str, client: Client, clock: Clock, *, cni_directory: Path | None = None
    ) -> None:
        """`cni_directory` is where the runtime looks for its network configuration (default: where ours does)."""
        self._state = paths.lib / "cni"
        self._cni_directory = cni_directory or paths.cni_conf
        self._node_name = node_name
        self._clock = clock
        self._nodes = Informer(client, Node, field_selector=f"metadata.name={node_name}")
        self._changed = asyncio.Event()
        self._nftables = Nftables()

    async def run(self, ready: Callable[[], None]) -> None:
        """Runs until cancelled; the network stays when it ends."""
        self._nodes.subscribe(lambda old, new: self._changed.set())
        applied = ""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run())
            await self._nodes.synced()
            ready()
            while True:
                self._changed.clear()
                node = self._nodes.get("", self._node_name)
                pod_cidr = node.spec.pod_cidr if node else ""
                if not pod_cidr or pod_cidr == applied or await self._set_up(pod_cidr):
                    applied = pod_cidr
                    await self._changed.wait()
                else:
                    with contextlib.suppress(TimeoutError):
                        await within(self._clock, RETRY_SECONDS, self._changed.wait())

    async def _set_up(self, pod_cidr: str) -> bool:
        try:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
            await self._nftables.apply(masquerade_table(pod_cidr))
            configuration = cni_configuration(pod_cidr, self._state)
            self._cni_directory.mkdir(parents=True, exist_ok=True)
            write_atomically(self._cni_directory / CONFIGURATION_FILE, configuration.encode(), mode=0o644)
        except (OSError, ValueError, NftablesError) as error:
            log.error("the pod network can't be set up", extra=fields(pod_cidr=pod_cidr, error=error))
            return False
        log.info("the pod network is set up", extra=fields(pod_cidr=pod_cidr))
        return True
