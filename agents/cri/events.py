"""What happens to containers, as a stream: started, exited, ran out of memory.

The stream comes from containerd's own event service, which all its versions have on the CRI socket, unlike CRI's
GetContainerEvents. It can break when the runtime is restarted, and events of the meantime are lost: therefore each
(re)connection begins with a `Resync`, upon which the reader lists what there is. Events are hints for looking; the
list is the truth.

containerd doesn't say when a subscription has begun. We learn it by publishing a marker, again and again until it
arrives: only then comes the `Resync`, so that nothing falls between the list and the stream.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from agents.cri.v1 import events_pb2 as events
from agents.cri.v1 import task_events_pb2 as task
from agents.cri.v1.events_pb2_grpc import EventsStub
from orchestrator.clock import Clock
from orchestrator.logs import fields

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

# Where the CRI keeps its containers inside containerd.
_NAMESPACE = "k8s.io"
_MARKER = "/navarch/subscribed"
_MARKER_INTERVAL = 0.05
_TOPICS = (_MARKER, "/tasks/start", "/tasks/exit", "/tasks/oom")
# Seconds between attempts to subscribe again: the runtime is on this machine and usually back soon.
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0


class EventType(enum.Enum):
    STARTED = "started"
    EXITED = "exited"
    OOM = "oom"


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something happened to the first process of a container, or of a sandbox: they share one space of ids."""

    container_id: str
    type: EventType
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Resync:
    """Events may have been missed before this point: list everything."""


class ContainerEvents:
    """The events of one runtime. Iterate; it goes on, over restarts of the runtime, until the task is cancelled."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._events = EventsStub(channel)
        self._clock = clock

    async def __aiter__(self) -> AsyncIterator[ContainerEvent | Resync]:
        delay = _FIRST_DELAY
        while True:
            call = self._events.Subscribe(events.SubscribeRequest(filters=_filters()))
            marking = asyncio.ensure_future(self._mark())
            try:
                async for envelope in call:
                    if not marking.done():
                        marking.cancel()
                        delay = _FIRST_DELAY
                        yield Resync()
                    event = container_event(envelope)
                    if event is not None:
                        yield event
                log.info("the runtime ended the stream of events", extra=fields(again_in=delay))
            except grpc.aio.AioRpcError as failure:
                log.info("no events from the runtime", extra=fields(error=failure.details(), again_in=delay))
            finally:
                call.cancel()
                marking.cancel()
                await asyncio.gather(marking, return_exceptions=True)
            await self._clock.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _mark(self) -> None:
        marker = Packed(type_url=Empty.DESCRIPTOR.full_name)
        request = events.PublishRequest(topic=_MARKER, event=marker)
        while True:
            try:
                await self._events.Publish(request, metadata=(("containerd-namespace", _NAMESPACE),), timeout=5)
            except grpc.aio.AioRpcError as failure:
                # The subscription meets the same fault and reports it.
                log.debug("no marker published", extra=fields(error=failure.details()))
            await self._clock.sleep(_MARKER_INTERVAL)


def container_event(envelope: events.Envelope) -> ContainerEvent | None:
    """What an envelope says about a container's first process; None for anything else."""
    match envelope.topic:
        case "/tasks/start":
            started = _unpack(envelope, task.TaskStart)
            return started and ContainerEvent(started.container_id, EventType.STARTED)
        case "/tasks/exit":
            ended = _unpack(envelope, task.TaskExit)
            # Commands run by exec end with the same topic; their id isn't the container's.
            if ended is None or ended.id not in ("", ended.container_id):
                return None
            return ContainerEvent(ended.container_id, EventType.EXITED, ended.exit_status)
        case "/tasks/oom":
            killed = _unpack(envelope, task.TaskOOM)
            return killed and ContainerEvent(killed.container_id, EventType.OOM)
        case _:
            return None


def _unpack(envelope: events.Envelope, message: type[M]) -> M | None:
    # containerd's type URLs are bare names, which Any.Unpack doesn't take.
    if envelope.event.type_url.rpartition("/")[2] != message.DESCRIPTOR.full_name:
        return None
    return message.FromString(envelope.event.value)


def _filters() -> list[str]:
    return [f'namespace=={_NAMESPACE},topic=="{topic}"' for topic in _TOPICS]
