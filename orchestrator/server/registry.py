"""The verbs over single objects: read, decide, write, and again when somebody else was faster.

Every write is one store transaction under the condition that what it was decided on is still there. The decision itself
is a pure function (`rules`, `deletion`, `scale`, `allocation`); here is only its carrying out, in one order for all
verbs: authorize, decode, admission, the verb's rules, the transaction. A write that gives no resourceVersion is decided
anew when it loses a race; one that gives it gets Conflict.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from orchestrator.api import errors
from orchestrator.api.codec import JsonObject, unknown_fields
from orchestrator.api.defaults import set_defaults
from orchestrator.api.generated_names import suffix
from orchestrator.api.kinds import Kind, KubeObject, as_message, clone, kind_of, stored_form, unwrap, wrap
from orchestrator.api.unsupported import warnings_for
from orchestrator.api.v1 import (
    Binding,
    CreateRequest,
    DeleteRequest,
    Event,
    Eviction,
    GetRequest,
    Namespace,
    PatchRequest,
    PatchType,
    Pod,
    PodDisruptionBudget,
    Scale,
    Service,
    UpdateRequest,
)
from orchestrator.api.validation import validate
from orchestrator.clock import Clock
from orchestrator.server import applying, managing, reviews, rules
from orchestrator.server.allocation import NOTHING, Allocation, Allocator, refusal
from orchestrator.server.caller import Caller, authorize
from orchestrator.server.deletion import decide_deletion, options_from
from orchestrator.server.encoding import Stored, encode
from orchestrator.server.event_leases import EventLeases
from orchestrator.server.eviction import covering
from orchestrator.server.eviction import decide as decide_eviction
from orchestrator.server.keys import Key, key_from, namespace_path, object_key, prefix_of, request_key
from orchestrator.server.outcome import Outcome, Removed
from orchestrator.server.patching import parse_patch, patched
from orchestrator.server.scale import apply_scale, as_scalable, scale_of, stored_scale
from orchestrator.server.store_errors import store_errors_mapped
from orchestrator.server.workshop import Workshop
from orchestrator.store import Compare, Delete, KeyValue, Put, Store, TxnResult, UnknownLease

# Each lost race means that somebody else's write got through: whoever loses this many meets a very busy object.
MAX_ATTEMPTS = 200
MAX_GENERATED_NAMES = 8

# Subresources that are written like the object.
_WRITTEN_APART = frozenset({"status", "scale", "finalize", "approval"})

Decide = Callable[[KubeObject], Outcome]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb on one object replies."""

    stored: Stored
    warnings: Sequence[str] = field(default=())
    created: bool = False
    """An apply has made the object."""


class Registry:
    """The verbs. One instance a server."""

    def __init__(
        self, store: Store, allocator: Allocator, event_leases: EventLeases, clock: Clock, rng: random.Random
    ) -> None:
        self._store = store
        self._event_leases = event_leases
        self._allocator = allocator
        self._clock = clock
        self._rng = rng
        self._workshop = Workshop()
        self._active_namespaces: dict[str, int] = {}  # the revision at which a namespace was seen to take new objects

    async def create(self, caller: Caller, request: CreateRequest) -> Answer:
        """Make an object, or bind a pod. Raises AlreadyExists, Invalid, NotFound (of the namespace), Forbidden."""
        obj = stored_form(unwrap(request.object))
        kind = kind_of(obj)
        if request.subresource:
            return await self._create_subresource(caller, request, obj)
        if kind.transient and kind.plural:
            return await self._ask(caller, kind, obj)
        _check_stored(kind)
        meta = obj.metadata
        _check_namespace(kind, meta.namespace)
        authorize(caller, "create", kind.resource, meta.namespace, meta.name)
        base = "" if meta.name else meta.generate_name
        size = request.object.ByteSize()
        warnings = await self._workshop.do(size, lambda: warnings_for(obj))
        names_left = MAX_GENERATED_NAMES
        while True:
            candidate = obj
            if base:  # another attempt has another name, and what follows from it
                candidate = clone(obj)
                candidate.metadata.name = rules.generated_name(base, suffix(self._rng))
            now = self._clock.now()
            prepare = partial(rules.prepare_create, uid=self._uid(), now=now, who=caller.identity)
            await self._workshop.do(size, partial(prepare, kind, candidate))
            del candidate.metadata.managed_fields[:]
            if request.field_manager:
                record = partial(managing.record, kind, None, candidate, [], request.field_manager, "", now)
                await self._workshop.do(size, record)
            key = Key(kind, meta.namespace, candidate.metadata.name)
            try:
                stored = await self._insert(key, candidate, dry_run=request.dry_run)
                return Answer(stored, warnings)
            except errors.AlreadyExists:
                names_left -= 1
                if not base or not names_left:
                    raise

    async def get(self, caller: Caller, request: GetRequest) -> Stored:
        """Read one object, or its scale. Raises NotFound."""
        key = key_from(request.key)
        authorize(caller, _verb("get", request.subresource), key.kind.resource, key.namespace, key.name)
        _check_subresource(key.kind, request.subresource, {"status", "scale"})
        stored = await self._read(key)
        return stored_scale(stored) if request.subresource == "scale" else stored

    async def update(self, caller: Caller, request: UpdateRequest) -> Answer:
        """Replace an object or one aspect of it. Raises NotFound, Conflict, Invalid."""
        new = stored_form(unwrap(request.object))
        kind = kind_of(new)
        subresource = request.subresource
        if request.HasField("key"):
            key = key_from(request.key)
            _check_same_name(key, new.metadata.namespace or key.namespace, new.metadata.name or key.name)
        else:
            _check_stored(kind)
            key = object_key(kind, new.metadata.namespace, new.metadata.name)
        authorize(caller, _verb("update", subresource), key.kind.resource, key.namespace, key.name)
        _check_subresource(key.kind, subresource, _WRITTEN_APART)
        who = request.field_manager
        if subresource == "scale":
            if not isinstance(new, Scale):
                raise errors.BadRequest(f"expected an object of kind Scale, got {kind.kind}")
            scale = new
            decide = self._managed(key.kind, lambda old: apply_scale(key.kind, old, scale), who, subresource)
            return Answer(stored_scale(await self._change(key, decide, dry_run=request.dry_run)))
        if kind is not key.kind:
            raise errors.BadRequest(f"expected an object of kind {key.kind.kind}, got {kind.kind}")
        new.metadata.name, new.metadata.namespace = key.name, key.namespace
        size = request.object.ByteSize()
        warnings = () if subresource else await self._workshop.do(size, lambda: warnings_for(new))
        replacement = _replacement(key.kind, subresource, new, self._clock.now())
        decide = self._managed(key.kind, replacement, who, subresource)
        return Answer(await self._change(key, decide, dry_run=request.dry_run, size=size), warnings)

    async def patch(self, caller: Caller, request: PatchRequest) -> Answer:
        """Change an object by a JSON document. Raises NotFound, Conflict, Invalid, BadRequest."""
        key = key_from(request.key)
        subresource = request.subresource
        authorize(caller, _verb("patch", subresource), key.kind.resource, key.namespace, key.name)
        _check_subresource(key.kind, subresource, _WRITTEN_APART)
        if request.type == PatchType.APPLY:
            return await self._apply(caller, key, request)
        unknown = unknown_fields(request.field_validation)
        body = await self._workshop.do(len(request.patch), lambda: parse_patch(request.patch))
        warnings: list[str] = []
        now = self._clock.now()

        def decide(old: KubeObject) -> Outcome:
            if subresource == "scale":
                shown: KubeObject = scale_of(as_scalable(key.kind, old))
            else:
                shown = old
            new, notes = patched(shown, request.type, body, unknown)
            warnings[:] = notes
            if isinstance(new, Scale):
                return apply_scale(key.kind, old, new)
            _check_same_name(key, new.metadata.namespace, new.metadata.name)
            if not subresource:
                warnings.extend(warnings_for(new))
            return _replacement(key.kind, subresource, new, now)(old)

        recorded = self._managed(key.kind, decide, request.field_manager, subresource)
        stored = await self._change(key, recorded, dry_run=request.dry_run, size=len(request.patch))
        return Answer(stored_scale(stored) if subresource == "scale" else stored, warnings)

    async def _apply(self, caller: Caller, key: Key, request: PatchRequest) -> Answer:
        """Server-side apply: change the object, or make it. Raises Conflict with the managers' names."""
        config = await self._workshop.do(len(request.patch), lambda: applying.read_config(key, request))
        warnings: list[str] = []
        now = self._clock.now()

        def decide(old: KubeObject) -> Outcome:
            new, notes = applying.applied(key.kind, old, config, request, now)
            warnings[:] = [*notes, *warnings_for(new)]
            return _replacement(key.kind, request.subresource, new, now)(old)

        for _ in range(MAX_ATTEMPTS):
            try:
                stored = await self._change(key, decide, dry_run=request.dry_run, size=len(request.patch))
                return Answer(stored, warnings)
            except errors.NotFound:
                if request.subresource:
                    raise
            try:
                return await self._apply_new(caller, key, config, request)
            except errors.AlreadyExists:
                continue
        raise errors.Conflict.of(key.kind.resource, key.name)

    async def _apply_new(self, caller: Caller, key: Key, config: JsonObject, request: PatchRequest) -> Answer:
        now = self._clock.now()
        obj, notes = applying.applied(key.kind, None, config, request, now)
        account = list(obj.metadata.managed_fields)
        size = len(request.patch)
        prepare = partial(rules.prepare_create, uid=self._uid(), now=now, who=caller.identity)
        await self._workshop.do(size, partial(prepare, key.kind, obj))
        del obj.metadata.managed_fields[:]
        obj.metadata.managed_fields.extend(account)
        stored = await self._insert(key, obj, dry_run=request.dry_run)
        return Answer(stored, [*notes, *warnings_for(obj)], created=True)

    def _managed(self, kind: Kind, decide: Decide, field_manager: str, subresource: str) -> Decide:
        return managing.managed(kind, decide, field_manager, subresource, self._clock.now())

    async def delete(self, caller: Caller, request: DeleteRequest) -> Stored:
        """Remove an object or begin to. Raises NotFound, Conflict for preconditions, Forbidden."""
        key = key_from(request.key)
        authorize(caller, "delete", key.kind.resource, key.namespace, key.name)
        options = options_from(request)
        now = self._clock.now()
        return await self._change(key, lambda old: decide_deletion(old, options, now), dry_run=request.dry_run)

    async def _create_subresource(self, caller: Caller, request: CreateRequest, obj: KubeObject) -> Answer:
        match request.subresource, obj:
            case "binding", Binding():
                return await self._bind(caller, request, obj)
            case "eviction", Eviction():
                return await self._evict(caller, request, obj)
        if request.subresource not in {"binding", "eviction"}:
            raise errors.MethodNotAllowed(f"creating a {kind_of(obj).kind} as {request.subresource} is not supported")
        what = f"{kind_of(obj).kind} as {request.subresource}"
        raise errors.BadRequest(f"can't create {what}: binding takes a Binding, eviction takes an Eviction")

    async def _bind(self, caller: Caller, request: CreateRequest, binding: Binding) -> Answer:
        key = object_key(kind_of(Pod), binding.metadata.namespace, binding.metadata.name)
        authorize(caller, "create/binding", key.kind.resource, key.namespace, key.name)
        now = self._clock.now()

        def decide(old: KubeObject) -> Outcome:
            if not isinstance(old, Pod):
                raise errors.InternalError.of(f"{key.path} holds a {type(old).__name__}")
            return rules.prepare_binding(old, binding, now)

        return Answer(await self._change(key, decide, dry_run=request.dry_run))

    async def _evict(self, caller: Caller, request: CreateRequest, eviction: Eviction) -> Answer:
        """Delete a pod if its disruption budget allows that. Raises TooManyRequests."""
        key = object_key(kind_of(Pod), eviction.metadata.namespace, eviction.metadata.name)
        authorize(caller, "create/eviction", key.kind.resource, key.namespace, key.name)
        budgets_kind = kind_of(PodDisruptionBudget)
        for _ in range(MAX_ATTEMPTS):
            pod = (await self._read(key)).decode()
            if not isinstance(pod, Pod):
                raise key.not_found()
            with store_errors_mapped():
                found = await self._store.range(prefix_of(budgets_kind, key.namespace))
            stored = (Stored(budgets_kind, each.value, each.mod_revision).decode() for each in found.items)
            budgets = [each for each in stored if isinstance(each, PodDisruptionBudget)]
            granted = decide_eviction(pod, covering(pod, budgets), self._clock.now())
            spent = granted.spent
            try:
                if spent is not None:
                    spending = UpdateRequest(object=wrap(spent), subresource="status", dry_run=request.dry_run)
                    await self.update(caller, spending)
                options = eviction.delete_options
                deletion = DeleteRequest(key=request_key(key), uid=pod.metadata.uid, dry_run=request.dry_run)
                if options.HasField("grace_period_seconds"):
                    deletion.grace_period_seconds = options.grace_period_seconds
                return Answer(await self.delete(caller, deletion))
            except errors.Conflict:
                continue
        raise errors.Conflict.of(key.kind.resource, key.name)

    async def _ask(self, caller: Caller, kind: Kind, question: KubeObject) -> Answer:
        """Answer a review, which is not stored."""
        authorize(caller, "create", kind.resource, question.metadata.namespace, "")
        set_defaults(as_message(question))
        if faults := validate(question):
            raise rules.invalid(kind, question, faults)
        reviews.answer(kind, caller, question)
        return Answer(Stored(kind, encode(kind, question), 0))

    async def _insert(self, key: Key, obj: KubeObject, *, dry_run: bool) -> Stored:
        """Store a new object under the conditions that its name is free and its namespace takes new objects."""
        for _ in range(MAX_ATTEMPTS):
            compares = [Compare(key.path, 0)]
            if key.kind.namespaced:
                compares.append(await self._namespace_guard(key))
            candidate = clone(obj) if isinstance(obj, Service) else obj  # each attempt may get another address
            allocation = await self._allocate(key, None, candidate)
            written = False
            try:
                value = encode(key.kind, candidate)
                if dry_run:
                    if await self._get(key.path) is not None:
                        raise errors.AlreadyExists.of(key.kind.resource, key.name)
                    return Stored(key.kind, value, 0)
                operations = (await self._put(key, value), *allocation.operations)
                result = await self._txn((*compares, *allocation.compares), operations)
                written = result.succeeded
            finally:
                self._allocator.settle(allocation, written=written)
            if written:
                return Stored(key.kind, value, result.revision)
            if await self._get(key.path) is not None:
                raise errors.AlreadyExists.of(key.kind.resource, key.name)
            await self._learn(allocation)
        raise errors.Conflict.of(key.kind.resource, key.name)

    async def _change(self, key: Key, decide: Decide, *, dry_run: bool, size: int = 0) -> Stored:
        """Carry out what `decide` makes of the object. A lost race is decided anew, on what is there then.

        `decide` gets a message of its own, with its resourceVersion, and may change it. `size` is that of the request.
        """
        for _ in range(MAX_ATTEMPTS):
            before = await self._read(key)
            outcome = await self._workshop.do(size + len(before.value), partial(decide, before.decode()))
            removed = isinstance(outcome, Removed)
            allocation = await self._allocate(key, before, None if isinstance(outcome, Removed) else outcome.obj)
            written = False
            try:
                value = before.value if isinstance(outcome, Removed) else encode(key.kind, outcome.obj)
                if dry_run or (value == before.value and not removed):
                    return Stored(key.kind, value, before.revision, removed)
                operation = Delete(key.path) if removed else await self._put(key, value)
                compares = (Compare(key.path, before.revision), *allocation.compares)
                result = await self._txn(compares, (operation, *allocation.operations))
                written = result.succeeded
            finally:
                self._allocator.settle(allocation, written=written)
            if written:
                return Stored(key.kind, value, result.revision, removed)
            await self._learn(allocation)
        raise errors.Conflict.of(key.kind.resource, key.name)

    async def _allocate(self, key: Key, before: Stored | None, new: KubeObject | None) -> Allocation:
        """What a write of a Service adds to its transaction; nothing for other kinds. Raises Invalid."""
        if key.kind is not kind_of(Service):
            return NOTHING
        old = before.decode() if before is not None else None
        if not isinstance(old, Service | None) or not isinstance(new, Service | None):
            raise errors.InternalError.of(f"{key.path} holds no Service")
        allocation = self._allocator.allocate(old, new, f"{key.namespace}/{key.name}")
        fine = False
        try:
            taken = await self._present(allocation.asked)
            fine = not taken
        finally:
            if not fine:
                self._allocator.settle(allocation, written=False)
        if new is not None and taken:
            self._allocator.learn(taken)
            raise refusal(new, taken)
        return allocation

    async def _learn(self, allocation: Allocation) -> None:
        """A transaction failed: see which of its addresses and ports others hold, so as to choose others."""
        self._allocator.learn(await self._present(compare.key for compare in allocation.compares))

    async def _present(self, paths: Iterable[str]) -> list[str]:
        """Those of the keys that are in the store."""
        return [path for path in paths if await self._get(path) is not None]

    async def _namespace_guard(self, key: Key) -> Compare:
        """The condition that the object's namespace is still as it is now. Raises NotFound, Forbidden."""
        path = namespace_path(key.namespace)
        found = await self._get(path)
        if found is None:
            self._active_namespaces.pop(path, None)
            raise errors.NotFound.of("namespaces", key.namespace)
        if self._active_namespaces.get(path) != found.mod_revision:
            namespace = Stored(kind_of(Namespace), found.value, found.mod_revision).decode()
            if namespace.metadata.HasField("deletion_timestamp"):
                self._active_namespaces.pop(path, None)
                raise _terminating(key)
            self._active_namespaces[path] = found.mod_revision
        return Compare(path, found.mod_revision)

    async def _read(self, key: Key) -> Stored:
        found = await self._get(key.path)
        if found is None:
            raise key.not_found()
        return Stored(key.kind, found.value, found.mod_revision)

    async def _get(self, path: str) -> KeyValue | None:
        with store_errors_mapped():
            return await self._store.get(path)

    async def _txn(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> TxnResult:
        with store_errors_mapped():
            try:
                return await self._store.txn(compares, operations)
            except UnknownLease as error:
                self._event_leases.forget(error.lease)
                raise

    async def _put(self, key: Key, value: bytes) -> Put:
        """The write of an object. One of an event begins the event's life anew."""
        if key.kind is not kind_of(Event):
            return Put(key.path, value)
        with store_errors_mapped():
            return Put(key.path, value, await self._event_leases.current())

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))


def _replacement(kind: Kind, subresource: str, new: KubeObject, now: datetime) -> Decide:
    """How an update by `new` is decided; each attempt gets its own copy."""

    def decide(old: KubeObject) -> Outcome:
        candidate = clone(new)
        match subresource:
            case "status":
                return rules.prepare_status(kind, old, candidate)
            case "finalize":
                return rules.prepare_finalize(kind, old, candidate)
            case "approval":
                return rules.prepare_approval(kind, old, candidate, now)
            case _:
                return rules.prepare_update(kind, old, candidate)

    return decide


def _verb(verb: str, subresource: str) -> str:
    return f"{verb}/{subresource}" if subresource else verb


def _check_subresource(kind: Kind, subresource: str, known: Collection[str]) -> None:
    if subresource and (subresource not in known or subresource not in kind.subresources):
        raise errors.MethodNotAllowed.of(f"{kind.resource}/{subresource}", "this")


def _check_stored(kind: Kind) -> None:
    if not kind.stored:
        raise errors.BadRequest(
            f"a {kind.kind} is no object of its own: it is the body of a request, and is not stored"
        )


def _check_same_name(key: Key, namespace: str, name: str) -> None:
    if (key.namespace, key.name) != (namespace, name):
        given = f"{namespace}/{name}" if namespace else name
        wanted = f"{key.namespace}/{key.name}" if key.namespace else key.name
        raise errors.BadRequest(f"the name of the object ({given}) does not match the name of the request ({wanted})")


def _check_namespace(kind: Kind, namespace: str) -> None:
    if kind.namespaced and not namespace:
        raise errors.BadRequest("an empty namespace may not be set during creation")
    if not kind.namespaced and namespace:
        raise errors.BadRequest(f"{kind.resource} have no namespace: leave it empty")


def _terminating(key: Key) -> errors.Forbidden:
    why = f"unable to create new content in namespace {key.namespace} because it is being terminated"
    about = errors.Forbidden.of(key.kind.resource, key.name, why)
    cause = errors.Cause("NamespaceTerminating", f"namespace {key.namespace} is being terminated", "metadata.namespace")
    details = errors.Details(about.details.kind, about.details.name, about.details.group, causes=(cause,))
    return errors.Forbidden(about.message, details=details)
