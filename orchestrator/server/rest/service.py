"""The REST door as a part of the API server: what it is made of, where it listens, how it stops."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.paths import Paths
from orchestrator.server.listing import Collections
from orchestrator.server.registry import Registry
from orchestrator.server.rest.about import About
from orchestrator.server.rest.door import RestDoor
from orchestrator.server.rest.listener import Listener, server_tls
from orchestrator.server.rest.pod_streams import RestStreams
from orchestrator.server.rest.receiving import MAX_BODY_BYTES
from orchestrator.server.streams import PodStreams

log = logging.getLogger("rest")


@asynccontextmanager
async def serving(
    listen: str,
    paths: Paths,
    registry: Registry,
    collections: Collections,
    streams: PodStreams,
    problem: Callable[[], str],
    clock: Clock,
    rng: random.Random,
) -> AsyncIterator[int]:
    """Serve on `listen` within the context, which gives the port. Raises OSError when it is taken.

    `problem` says what keeps the server from being ready; empty: nothing.
    """
    about = About({"ping": _fine}, {"ping": _fine, "store": problem})
    door = RestDoor(registry, collections, RestStreams(streams), about, now=clock.now, rng=rng)
    listener = Listener(door.answer, max_body=MAX_BODY_BYTES)
    pki = paths.pki
    await listener.open(listen, server_tls(pki / "server.crt", pki / "server.key", pki / "ca.crt"))
    log.info("serving", extra=fields(address=f"{listen.rpartition(':')[0]}:{listener.port}"))
    try:
        yield listener.port
    finally:
        await listener.close()


def _fine() -> str:
    return ""
