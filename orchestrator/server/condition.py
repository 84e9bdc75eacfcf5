"""Whether this server can do its work, which is to say whether its store can.

A store without a leader answers nothing fresh and writes nothing, and a member that is cut off from the others does not
even hear what happens elsewhere. A new leader is found within seconds; a server that waits for one longer says so: its
health turns to NOT_SERVING, so that clients of several servers go to another, and its watches end, so that they are
resumed there instead of being silent. `/readyz` says it at once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.store import Store, StoreStatus
from orchestrator.store.room import alarm_words

log = logging.getLogger("server")

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 3.0


def trouble(status: StoreStatus) -> str:
    """What keeps a server with such a store from its work; empty: nothing."""
    if status.failure is not None:
        return f"the store has failed: {status.failure}"
    if status.leader is None:
        return "the store has no leader: a majority of its members is not there, or not in reach"
    if status.alarms:
        return f"the store's member here is unwell: {'; '.join(map(alarm_words, status.alarms))}"
    return ""


class Condition:
    """Watches over one server's store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        turned: Callable[[str], Awaitable[None]],
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """`turned` is called with the trouble when it lasts, and with nothing when it is over."""
        self._store = store
        self._clock = clock
        self._turned = turned
        self._patience = patience

    @property
    def problem(self) -> str:
        """What is the matter now; empty: nothing."""
        return trouble(self._store.status())

    async def run(self) -> None:
        """Look until cancelled."""
        since = 0.0
        serving = True
        well = True
        while True:
            problem = self.problem
            now = self._clock.monotonic()
            if problem and well:
                since = now
            well = not problem
            if problem and serving and now - since >= self._patience:
                serving = False
                log.warning("not serving", extra=fields(reason=problem))
                await self._turned(problem)
            elif well and not serving:
                serving = True
                log.info("serving again")
                await self._turned("")
            await self._clock.sleep(LOOK_SECONDS)
