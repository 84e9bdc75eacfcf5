"""Many calls on one stream, from the member's side.

A message of a stream costs gRPC as much as a whole small call. So a caller with many calls at once sends what has
gathered in one message, and is answered alike: while one message of replies is being written, the next gathers.

What a caller may have going at once is bounded, in calls and in bytes of replies it has not taken; beyond that its
messages are not read, which holds it back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from orchestrator.store.door_errors import STANDS, Context, call_error
from orchestrator.store.errors import StoreError, StoreRefused
from orchestrator.store.interface import Store
from orchestrator.store.key_value_answers import READ_ONLY, REPLY_BYTES, answer_get, answer_range, answer_txn
from orchestrator.store.v1 import store_pb2 as pb

log = logging.getLogger(__name__)

CALLS_AT_ONCE = 4_096
UNSENT_BYTES = 16 << 20


class _Replies:
    """What goes in one message, and about how many bytes that is."""

    __slots__ = ("message", "size")

    def __init__(self) -> None:
        self.message = pb.ReplyBatch()
        self.size = 0


class CallStream:
    def __init__(self, store: Store, context: Context, *, read_only: bool) -> None:
        self._store, self._context, self._read_only = store, context, read_only
        self._running: dict[int, asyncio.Task[None]] = {}
        self._unsent: deque[_Replies] = deque()
        self._unsent_bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    async def run(self) -> None:
        """Until the caller has ended the stream and everything is answered. Raises DecodeError."""
        await self._context.send_initial_metadata((STANDS,))
        writing = asyncio.create_task(self._write())
        try:
            while isinstance(raw := await self._read(), bytes):
                for call in pb.CallBatch.FromString(raw).calls:
                    while len(self._running) >= CALLS_AT_ONCE or self._unsent_bytes >= UNSENT_BYTES:
                        self._room.clear()
                        await self._room.wait()
                    self._begin(call)
            self._ended = True
            self._news.set()
            await writing
        finally:
            writing.cancel()
            for task in self._running.values():
                task.cancel()

    async def _read(self) -> object:
        try:
            return await self._context.read()
        except grpc.aio.InternalError as error:
            log.debug("the caller has gone: %s", error)
            return None

    def _begin(self, call: pb.Call) -> None:
        if call.WhichOneof("request") == "cancel":
            if (task := self._running.get(call.id)) is not None:
                task.cancel()
            return
        if call.id in self._running:
            raise DecodeError(f"the id {call.id} is used twice")
        self._running[call.id] = asyncio.create_task(self._answer(call))

    async def _answer(self, call: pb.Call) -> None:
        try:
            match call.WhichOneof("request"):
                case "txn":
                    if self._read_only:
                        raise StoreRefused(READ_ONLY)
                    txn = await answer_txn(self._store, call.txn)
                    self._reply(call.id, 16, lambda reply: reply.txn.CopyFrom(txn))
                case "get":
                    get = await answer_get(self._store, call.get)
                    self._reply(call.id, len(get.item.value), lambda reply: reply.get.CopyFrom(get))
                case "range":
                    range_ = await answer_range(self._store, call.range)
                    self._reply(call.id, range_.ByteSize(), lambda reply: reply.range.CopyFrom(range_))
                case _:
                    raise StoreRefused("this member does not know what is asked")
        except StoreError as error:
            told = call_error(error)
            self._reply(call.id, len(told.message), lambda reply: reply.error.CopyFrom(told))
        except Exception:  # the outermost edge of a call
            log.exception("a call failed")
            told = pb.CallError(code=grpc.StatusCode.INTERNAL.value[0], message="the member's log says what went wrong")
            self._reply(call.id, len(told.message), lambda reply: reply.error.CopyFrom(told))
        finally:
            del self._running[call.id]
            self._room.set()
            if self._ended:
                self._news.set()

    def _reply(self, id: int, size: int, fill: Callable[[pb.Reply], None]) -> None:
        if not self._unsent or self._unsent[-1].size + size > REPLY_BYTES:
            self._unsent.append(_Replies())
        last = self._unsent[-1]
        fill(last.message.replies.add(id=id))
        last.size += size
        self._unsent_bytes += size
        self._news.set()

    async def _write(self) -> None:
        """Write what gathers, until everything is answered after the caller has ended."""
        while self._unsent or self._running or not self._ended:
            if not self._unsent:
                self._news.clear()
                await self._news.wait()
                continue
            replies = self._unsent.popleft()
            try:
                await self._context.write(replies.message.SerializeToString())
            except grpc.aio.InternalError as error:
                log.debug("the caller has gone: %s", error)
                return
            self._unsent_bytes -= replies.size
            self._room.set()
