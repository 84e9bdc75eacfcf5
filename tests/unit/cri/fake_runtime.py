"""A runtime that answers as a test says, on a unix socket: the wire is real, the containers are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from agents.cri.v1 import events_pb2 as events

Answer = Callable[[bytes], Message | Awaitable[Message]]


class FakeRuntime(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stub alone
    """Unary calls are answered from `answers`, by method name; events are those that are published or emitted."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.answers: dict[str, Answer | grpc.StatusCode] = {}
        self.calls: list[str] = []
        self.filters: list[str] = []
        # What subscribers get; None ends their streams.
        self._subscribers: list[asyncio.Queue[events.Envelope | None]] = []
        # Events before anybody has subscribed are lost, as with the real one: this delays the subscription.
        self.subscribing = asyncio.Event()
        self.subscribing.set()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()

    async def stop(self) -> None:
        for subscriber in self._subscribers:
            subscriber.put_nowait(None)
        if self._server is not None:
            await self._server.stop(None)

    def emit(self, topic: str, event: Message) -> None:
        envelope = events.Envelope(topic=topic, namespace="k8s.io")
        # As containerd names types: bare.
        envelope.event.type_url = event.DESCRIPTOR.full_name
        envelope.event.value = event.SerializeToString()
        for subscriber in self._subscribers:
            subscriber.put_nowait(envelope)

    def end_streams(self) -> None:
        for subscriber in self._subscribers:
            subscriber.put_nowait(None)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, Message] | None:
        name = str(details.method).rpartition("/")[2]
        if name == "Subscribe":
            return grpc.unary_stream_rpc_method_handler(
                self._subscribe, response_serializer=lambda message: message.SerializeToString()
            )

        async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, Message]) -> Message:
            return await self._answer(name, request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer, response_serializer=lambda message: message.SerializeToString()
        )

    async def _answer(self, name: str, request: bytes, context: grpc.aio.ServicerContext[bytes, Message]) -> Message:
        self.calls.append(name)
        if name == "Publish":
            published = events.PublishRequest.FromString(request)
            envelope = events.Envelope(topic=published.topic, namespace="k8s.io", event=published.event)
            for subscriber in self._subscribers:
                subscriber.put_nowait(envelope)
            return Empty()
        wanted = self.answers.get(name, grpc.StatusCode.UNIMPLEMENTED)
        if isinstance(wanted, grpc.StatusCode):
            await context.abort(wanted, f"{name} was refused")
        answer = wanted(request)
        return await answer if isinstance(answer, Awaitable) else answer

    async def _subscribe(
        self, request: bytes, context: grpc.aio.ServicerContext[bytes, Message]
    ) -> AsyncIterator[events.Envelope]:
        await self.subscribing.wait()
        self.filters = list(events.SubscribeRequest.FromString(request).filters)
        queue: asyncio.Queue[events.Envelope | None] = asyncio.Queue()
        self._subscribers.append(queue)
        try:
            while (envelope := await queue.get()) is not None:
                yield envelope
        finally:
            self._subscribers.remove(queue)
