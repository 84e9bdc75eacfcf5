"""The event recorder: tells people what happened to an object, without ever getting in the way.

`record` only takes note; `run` writes. The same event again raises the count of the one that is there. Everything is
bounded: what waits, what is remembered, and how many events one object may cause, since an event that is lost costs a
line in `describe` while a flood costs the store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, kind_of
from orchestrator.api.v1 import Event, EventSource, ObjectMeta, ObjectReference
from orchestrator.client.backoff import Backoff
from orchestrator.client.client import UNANSWERED
from orchestrator.client.operations import AnyOperation, Create, Patch
from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.runtime.plan import Batcher, EventRecord

log = logging.getLogger("events")

WAITING_LIMIT = 1000
REMEMBERED_LIMIT = 4096
BATCH = 100
# One object may cause this many events at once, and then one every so many seconds.
BURST = 25
REFILL_SECONDS = 300.0
MESSAGE_LIMIT = 1024
ATTEMPTS = 5


@dataclass(slots=True)
class _Known:
    """An event that exists or is about to: repeats are counted on it."""

    record: EventRecord
    name: str
    namespace: str
    count: int
    first: datetime
    last: datetime
    written: bool = False


@dataclass(slots=True)
class _Allowance:
    tokens: float
    since: float


_Identity = tuple[str, str, str, str]


class EventRecorder:
    """One for each component; `run` is a task beside the component's own."""

    def __init__(self, client: Batcher, component: str, clock: Clock, rng: random.Random, *, host: str = "") -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._rng = rng
        self._known: OrderedDict[_Identity, _Known] = OrderedDict()
        self._waiting: OrderedDict[_Identity, _Known] = OrderedDict()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()
        self._something = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.dropped = 0

    def record(self, event: EventRecord) -> None:
        """Take note of an event. Drops it when the object causes too many or too many wait."""
        if not self._allowed(event.obj):
            self.dropped += 1
            return
        now = self._clock.now()
        identity = _identity(event)
        known = self._known.get(identity)
        if known is None:
            known = _Known(event, self._name(event.obj), event.obj.metadata.namespace or "default", 0, now, now)
            self._known[identity] = known
            if len(self._known) > REMEMBERED_LIMIT:
                self._known.popitem(last=False)
        self._known.move_to_end(identity)
        known.count += 1
        known.last = now
        self._waiting[identity] = known
        if len(self._waiting) > WAITING_LIMIT:
            self._waiting.popitem(last=False)
            self.dropped += 1
        self._idle.clear()
        self._something.set()

    async def flushed(self) -> None:
        """Wait until everything recorded has been written or given up."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write what is recorded, until cancelled."""
        backoff = Backoff(self._rng)
        attempts = 0
        while True:
            await self._something.wait()
            batch = [self._waiting.popitem(last=False) for _ in range(min(BATCH, len(self._waiting)))]
            if not self._waiting:
                self._something.clear()
            try:
                await self._write(batch)
                backoff.reset()
                attempts = 0
            except UNANSWERED as error:
                attempts += 1
                if attempts < ATTEMPTS:
                    for identity, known in batch:
                        self._waiting[identity] = known
                    self._something.set()
                else:
                    log.warning("events lost", extra=fields(count=len(batch), error=error.message))
                    attempts = 0
                await self._clock.sleep(backoff.next())
            if not self._waiting:
                self._idle.set()

    async def _write(self, batch: Sequence[tuple[_Identity, _Known]]) -> None:
        operations = [self._operation(known) for _, known in batch]
        missing: list[_Known] = []
        for (identity, known), result in zip(batch, await self._client.batch(operations), strict=True):
            match result:
                case errors.AlreadyExists():
                    # Our own from an attempt whose answer was lost.
                    known.written = True
                case errors.NotFound() if known.written:
                    # Events expire: begin a new one.
                    known.written, known.count, known.first = False, 1, known.last
                    known.name = self._name(known.record.obj)
                    missing.append(known)
                case errors.ApiError() if isinstance(result, UNANSWERED):
                    raise result
                case errors.ApiError():
                    self._known.pop(identity, None)
                    log.info("event refused", extra=fields(reason=known.record.reason, error=result.message))
                case _:
                    known.written = True
        if missing:
            for known, result in zip(
                missing, await self._client.batch([self._operation(known) for known in missing]), strict=True
            ):
                known.written = not isinstance(result, errors.ApiError)

    def _operation(self, known: _Known) -> AnyOperation:
        if known.written:
            last = _timestamp(known.last).ToJsonString()
            return Patch(Event, known.name, {"count": known.count, "lastTimestamp": last}, known.namespace)
        return Create(self._event(known))

    def _event(self, known: _Known) -> Event:
        about = known.record.obj
        kind = kind_of(about)
        return Event(
            metadata=ObjectMeta(name=known.name, namespace=known.namespace),
            involved_object=ObjectReference(
                api_version=kind.api_version,
                kind=kind.kind,
                namespace=about.metadata.namespace,
                name=about.metadata.name,
                uid=about.metadata.uid,
                resource_version=about.metadata.resource_version,
            ),
            type=known.record.type,
            reason=known.record.reason,
            message=_shortened(known.record.message),
            source=EventSource(component=self._component, host=self._host),
            reporting_component=self._component,
            reporting_instance=self._host,
            first_timestamp=_timestamp(known.first),
            last_timestamp=_timestamp(known.last),
            count=known.count,
        )

    def _name(self, about: KubeObject) -> str:
        # As much of the object's name as leaves room for the rest of a name.
        return f"{about.metadata.name[:236].rstrip('-.')}.{self._rng.getrandbits(64):016x}"

    def _allowed(self, about: KubeObject) -> bool:
        now = self._clock.monotonic()
        subject = about.metadata.uid or f"{about.metadata.namespace}/{about.metadata.name}"
        allowance = self._allowances.setdefault(subject, _Allowance(BURST, now))
        self._allowances.move_to_end(subject)
        if len(self._allowances) > REMEMBERED_LIMIT:
            self._allowances.popitem(last=False)
        allowance.tokens = min(BURST, allowance.tokens + (now - allowance.since) / REFILL_SECONDS)
        allowance.since = now
        if allowance.tokens < 1:
            return False
        allowance.tokens -= 1
        return True


def _identity(event: EventRecord) -> _Identity:
    metadata = event.obj.metadata
    return (metadata.uid or f"{metadata.namespace}/{metadata.name}", event.type, event.reason, event.message)


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment.replace(microsecond=0))
    return timestamp


def _shortened(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= MESSAGE_LIMIT:
        return message
    return encoded[: MESSAGE_LIMIT - 3].decode(errors="ignore") + "..."
