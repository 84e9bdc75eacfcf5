"""Many calls on one stream, from the caller's side: to one member, over one stream that opens when it is needed.

Calls that are made while a message is being written go together with the next; see `call_stream` for why. When the
stream breaks, every call on it fails: as certainly not done if it had not been sent, else as of unknown fate. The next
call opens a new stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import grpc
import grpc.aio

from orchestrator.store.door_errors import STANDS, NoConnection, NotReached, failed, told_error
from orchestrator.store.errors import NothingWritten, StoreError, StoreUnavailable
from orchestrator.store.v1 import store_pb2 as pb

MESSAGE_BYTES = 4 << 20
"""About the most that is put in one message."""
_LOOK = 0.05
"""Seconds between two looks at which calls have waited too long."""

Stream: TypeAlias = "grpc.aio.StreamStreamCall[pb.CallBatch, pb.ReplyBatch]"


class SharedStream:
    """Belongs to one event loop. `open` makes the gRPC call."""

    def __init__(self, address: str, open: Callable[[], Stream]) -> None:
        self._address, self._open = address, open
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[pb.Reply]] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._gathering: deque[tuple[pb.CallBatch, int]] = deque()
        self._next_id = 1
        self._sent = 0
        """Calls up to this id were sent, or were about to be."""
        self._news = asyncio.Event()
        self._stands: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, fill: Callable[[pb.Call], None], seconds: float) -> pb.Reply:
        """Make the call that `fill` writes down.

        Raises what the store at the other end raises, NothingWritten, StoreUnavailable.
        """
        await self._opened(seconds)
        id = self._next_id
        self._next_id += 1
        self._gather(id, fill)
        answered: asyncio.Future[pb.Reply] = self._loop.create_future()
        self._waiting[id] = answered
        self._deadlines.append((self._loop.time() + seconds, id))
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK, self._look)
        try:
            reply = await answered
        except asyncio.CancelledError:
            self._abandon(id)
            raise
        if reply.HasField("error"):
            raise told_error(reply.error)
        return reply

    def _gather(self, id: int, fill: Callable[[pb.Call], None]) -> None:
        if not self._gathering or self._gathering[-1][1] > MESSAGE_BYTES:
            self._gathering.append((pb.CallBatch(), 0))
        batch, size = self._gathering[-1]
        call = batch.calls.add(id=id)
        fill(call)
        self._gathering[-1] = (batch, size + call.ByteSize())
        self._news.set()

    def _abandon(self, id: int) -> None:
        """Nobody waits for this call any more."""
        if self._waiting.pop(id, None) is not None and self._task is not None:
            self._gather(id, lambda call: call.cancel.SetInParent())

    def _look(self) -> None:
        """Give up what has waited for too long. A client's calls may wait about equally long, so the first is first."""
        self._timer = None
        now = self._loop.time()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1] not in self._waiting):
            _, id = self._deadlines.popleft()
            answered = self._waiting.get(id)
            if answered is not None:
                self._abandon(id)
                if not answered.done():
                    answered.set_exception(self._failure(id, f"the member at {self._address} did not answer in time"))
        if self._waiting:
            self._timer = self._loop.call_later(_LOOK, self._look)

    def _failure(self, id: int, why: str) -> StoreError:
        return StoreUnavailable(why) if id <= self._sent else NothingWritten(why)

    # The stream.

    async def _opened(self, seconds: float) -> None:
        """Return when the stream stands. Raises NothingWritten, StoreRefused."""
        if self._task is None:
            self._stands = self._loop.create_future()
            self._task = self._loop.create_task(self._converse(self._stands), name=f"store-calls-{self._address}")
        assert self._stands is not None
        if self._stands.done():
            self._stands.result()
            return
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._stands)
        except TimeoutError as error:
            raise NotReached(f"the member at {self._address} does not answer") from error

    async def _converse(self, stands: asyncio.Future[None]) -> None:
        """From opening the stream to its end."""
        self._sent = self._next_id - 1
        self._gathering.clear()
        stream = self._open()
        writing: asyncio.Task[None] | None = None
        failure: StoreError = StoreUnavailable(f"the member at {self._address} ended the stream")
        try:
            if STANDS in tuple(await stream.initial_metadata() or ()):
                stands.set_result(None)
                writing = self._loop.create_task(self._write(stream))
            while isinstance(batch := await stream.read(), pb.ReplyBatch):
                for reply in batch.replies:
                    answered = self._waiting.pop(reply.id, None)
                    if answered is not None and not answered.done():
                        answered.set_result(reply)
        except grpc.aio.AioRpcError as error:
            failure = failed(self._address, error)
        except asyncio.CancelledError:
            failure = StoreUnavailable("the client is closed")
        finally:
            self._task = None
            if writing is not None:
                writing.cancel()
            stream.cancel()
            self._break(stands, failure)

    async def _write(self, stream: Stream) -> None:
        try:
            while True:
                while self._gathering:
                    batch, _ = self._gathering.popleft()
                    self._sent = max(self._sent, batch.calls[-1].id)
                    await stream.write(batch)
                self._news.clear()
                await self._news.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            """The reader hears of it too, and of why."""

    def _break(self, stands: asyncio.Future[None], failure: StoreError) -> None:
        """The stream is no more."""
        if not stands.done():
            stands.set_exception(_nothing_sent(failure))
            # Whoever opened it may have stopped waiting.
            stands.exception()
        waiting, self._waiting = self._waiting, {}
        for id, answered in waiting.items():
            if not answered.done():
                answered.set_exception(self._failure(id, str(failure)))

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


def _nothing_sent(failure: StoreError) -> StoreError:
    """The same failure, of a stream on which nothing can be sent any more."""
    match failure:
        case NoConnection():
            return NotReached(str(failure))
        case StoreUnavailable():
            return NothingWritten(str(failure))
        case _:
            return failure
