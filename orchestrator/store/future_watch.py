"""A watch from a revision that this member has not heard of: a client brought it from a member that is further.

The wait is the first thing the reader does. It ends with the revision's arrival, or with FutureRevision when the leader
has not written it either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from orchestrator.store.interface import Batch
from orchestrator.store.watch import HubWatch


class FutureWatch:
    """A `Watch` that begins when `reach` says that its revision has come."""

    def __init__(
        self, after: int, reach: Callable[[int], Coroutine[None, None, None]], begin: Callable[[], HubWatch]
    ) -> None:
        self._after = after
        self._reach, self._begin = reach, begin
        self._reaching: asyncio.Task[None] | None = None
        self._watch: HubWatch | None = None
        self._closed = False

    @property
    def progress(self) -> int:
        return self._watch.progress if self._watch is not None else self._after

    def __aiter__(self) -> FutureWatch:
        return self

    async def __anext__(self) -> Batch:
        if self._closed:
            raise StopAsyncIteration
        if self._watch is None:
            await self._wait()
            self._watch = self._begin()
        return await self._watch.__anext__()

    def close(self) -> None:
        self._closed = True
        if self._reaching is not None:
            self._reaching.cancel()
        if self._watch is not None:
            self._watch.close()

    async def _wait(self) -> None:
        self._reaching = asyncio.get_running_loop().create_task(self._reach(self._after), name="store-reach")
        try:
            await self._reaching
        except asyncio.CancelledError:
            if self._closed and self._reaching.cancelled():
                raise StopAsyncIteration from None
            raise
        finally:
            self._reaching = None
