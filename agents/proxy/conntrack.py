"""Flows the kernel must forget: UDP has no connections that end, so an old translation would live on.

The kernel keeps sending a UDP client's datagrams to the backend it first chose for as long as datagrams come. When
that backend is gone, or when the flow began while there was no backend at all, the entry has to be deleted; the next
datagram then meets the new rules.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from agents.proxy.routes import Frontend, Routes
from orchestrator.logs import fields

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class StaleFlow:
    """UDP flows to a frontend: those that go to one backend, or with none given all of them."""

    frontend: Frontend
    backend: str = ""

    def arguments(self) -> list[str]:
        """The command line of conntrack(8) that deletes them."""
        address = ["--orig-dst", self.frontend.address] if self.frontend.address else []
        backend = ["--reply-src", self.backend] if self.backend else []
        return ["conntrack", "-D", "-p", "udp", *address, "--orig-port-dst", str(self.frontend.port), *backend]


def stale_flows(before: Routes, after: Routes) -> Sequence[StaleFlow]:
    """What became stale between two sets of routes of the same owner."""
    stale: set[StaleFlow] = set()
    for frontend in {*before, *after}:
        if frontend.protocol != "udp":
            continue
        old = {backend.address for backend in before[frontend].backends} if frontend in before else set()
        new = {backend.address for backend in after[frontend].backends} if frontend in after else set()
        if new and not old:
            stale.add(StaleFlow(frontend))
        stale.update(StaleFlow(frontend, address) for address in old - new)
    return sorted(stale)


async def forget(flows: Sequence[StaleFlow]) -> None:
    """Deletes flows; that there were none is no error (conntrack exits with 1 then). What fails is logged."""
    for flow in flows:
        try:
            process = await asyncio.create_subprocess_exec(
                *flow.arguments(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            log.warning("conntrack can't be run: stale UDP flows live on", extra=fields(flow=flow, error=error))
            continue
        _, said = await process.communicate()
        if process.returncode and b"0 flow entries" not in said:
            why = said.decode(errors="replace").strip()
            log.warning("stale UDP flows were not removed", extra=fields(flow=flow, error=why))
