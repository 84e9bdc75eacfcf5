"""A plan, and carrying it out.

Deciders return a `Plan`: what to create, change and delete, which events to tell people, when to look again.
`apply_plan` carries it out in batches, and is built so that doing it twice, or from a view that is out of date, does
no harm:

* an update must carry the version it was decided from, so it never overwrites what the decider has not seen;
* a deletion carries the uid, so it never hits a successor of the same name;
* creating what exists and deleting what is gone is what was wanted anyway;
* Conflict and NotFound mean that the view was old: not an error, but a reason to look again;
* a request without an answer leaves it open what has happened: `Unanswered` says so, and the caller must not decide
  again before it has seen a newer state.

What else fails is gathered, object by object, while the rest is carried out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.api import errors
from orchestrator.api.kinds import KubeObject, clone, key_of, kind_for, kind_of
from orchestrator.client.cache import version
from orchestrator.client.client import UNANSWERED
from orchestrator.client.operations import AnyOperation, Create, Delete, Update

_STATUS = "update the status of"


@dataclass(frozen=True, slots=True)
class Deletion:
    """An object to delete. Without a grace period the object's own holds; without propagation, Background."""

    obj: KubeObject
    grace_period_seconds: int | None = None
    propagation: str | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something to tell people about an object: `type` is "Normal" or "Warning", `reason` one word in CamelCase."""

    obj: KubeObject
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a decider wants done. The empty plan says that everything is as it should be."""

    create: Sequence[KubeObject] = ()
    update: Sequence[KubeObject] = ()
    update_status: Sequence[KubeObject] = ()
    delete: Sequence[Deletion] = ()
    events: Sequence[EventRecord] = ()
    requeue_after: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One operation that was refused."""

    verb: str
    obj: KubeObject
    error: errors.ApiError

    def __str__(self) -> str:
        return f"{self.verb} {kind_of(self.obj).kind} {_named(self.obj)}: {self.error.message}"


class ApplyError(Exception):
    """Some operations of a plan were refused; the others were carried out."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(map(str, failures)))
        self.failures = tuple(failures)


class Unanswered(Exception):
    """A request got no answer: what it asked for may have happened, or may yet."""

    def __init__(self, error: errors.ApiError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a plan.

    `revisions`: for each message class, the highest revision written: a cache of that kind which has reached it shows
    all of the plan. `look_again`: something had changed meanwhile, so decide again from a newer state.
    """

    revisions: Mapping[type[KubeObject], int] = field(default_factory=dict)
    errors: tuple[Failure, ...] = ()
    look_again: bool = False

    def raise_errors(self) -> None:
        """ApplyError if anything was refused."""
        if self.errors:
            raise ApplyError(self.errors)


class Batcher(Protocol):
    """The part of the client a plan needs."""

    async def batch(self, operations: Sequence[AnyOperation]) -> list[KubeObject | errors.ApiError]: ...


class Recorder(Protocol):
    """Takes events to be told; see `events.py`."""

    def record(self, event: EventRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class _Step:
    verb: str
    obj: KubeObject
    operation: AnyOperation


async def apply_plan(client: Batcher, plan: Plan, recorder: Recorder | None = None) -> Applied:
    """Carry out a plan. Raises Unanswered, or ValueError for a plan that could do harm (see above).

    A status is written after the update of the same object, on top of its result. The plan's events are recorded if
    all it created, updated and deleted went well; a refused create is told on the object's owner.
    """
    if plan.events and recorder is None:
        raise ValueError("a plan with events needs a recorder")
    writes, statuses = _writes(plan), [_checked(obj) for obj in plan.update_status]
    updated = {_identity(obj) for obj in plan.update}
    together = [*writes, *(_status(obj) for obj in statuses if _identity(obj) not in updated)]
    progress = _Progress()
    results = await _carry_out(client, together, progress)
    if updated and (late := [obj for obj in statuses if _identity(obj) in updated]):
        await _carry_out(client, list(_on_top_of(late, results)), progress)
    if recorder is not None:
        for failure in progress.failures:
            if failure.verb == "create" and (told := refused(failure)) is not None:
                recorder.record(told)
        if not progress.spoiled:
            for event in plan.events:
                recorder.record(event)
    return Applied(progress.revisions, tuple(progress.failures), progress.look_again)


def refused(failure: Failure) -> EventRecord | None:
    """The event that tells the controlling owner of an object why it could not be created; None without an owner."""
    for owner in failure.obj.metadata.owner_references:
        if owner.controller:
            about = _owner_object(owner.api_version, owner.kind)
            if about is None:
                return None
            about.metadata.namespace = failure.obj.metadata.namespace
            about.metadata.name, about.metadata.uid = owner.name, owner.uid
            return EventRecord(about, "Warning", "FailedCreate", f"Error creating: {failure.error.message}")
    return None


class _Progress:
    """What the results of a plan's operations add up to."""

    def __init__(self) -> None:
        self.revisions: dict[type[KubeObject], int] = {}
        self.failures: list[Failure] = []
        self.look_again = False
        # Whether something was not done that the plan's events may speak of.
        self.spoiled = False

    def note(self, step: _Step, result: KubeObject | errors.ApiError) -> None:
        match result:
            case errors.AlreadyExists() if step.verb == "create":
                pass
            case errors.NotFound() if step.verb == "delete":
                pass
            case errors.Forbidden() if step.verb == "create" and _terminating(result):
                # Everything in the namespace is about to go; whoever wants this there is about to go too.
                self.spoiled = True
            case errors.Conflict() | errors.NotFound():
                self.look_again = True
                self.spoiled |= step.verb != _STATUS
            case errors.ApiError():
                self.failures.append(Failure(step.verb, step.obj, result))
                self.spoiled |= step.verb != _STATUS
            case _:
                kind = type(step.obj)
                self.revisions[kind] = max(self.revisions.get(kind, 0), version(result))


async def _carry_out(
    client: Batcher, steps: Sequence[_Step], progress: _Progress
) -> list[tuple[_Step, KubeObject | errors.ApiError]]:
    if not steps:
        return []
    try:
        results = await client.batch([step.operation for step in steps])
    except UNANSWERED as error:
        raise Unanswered(error) from error
    for step, result in zip(steps, results, strict=True):
        if isinstance(result, UNANSWERED):
            raise Unanswered(result)
        progress.note(step, result)
    return list(zip(steps, results, strict=True))


def _writes(plan: Plan) -> list[_Step]:
    steps = [_Step("create", obj, Create(obj)) for obj in plan.create]
    steps += [_Step("update", obj, Update(_checked(obj))) for obj in plan.update]
    for deletion in plan.delete:
        metadata = deletion.obj.metadata
        if not metadata.uid:
            raise ValueError(f"deleting {_named(deletion.obj)} without its uid could hit another object of that name")
        operation = Delete(
            type(deletion.obj),
            metadata.name,
            metadata.namespace,
            grace_period_seconds=deletion.grace_period_seconds,
            propagation_policy=deletion.propagation,
            uid=metadata.uid,
        )
        steps.append(_Step("delete", deletion.obj, operation))
    return steps


def _status(obj: KubeObject) -> _Step:
    return _Step(_STATUS, obj, Update(obj, "status"))


def _on_top_of(
    statuses: Iterable[KubeObject], results: Sequence[tuple[_Step, KubeObject | errors.ApiError]]
) -> Iterable[_Step]:
    """The statuses whose objects were updated just before, with the version that update gave them."""
    updated = {
        _identity(step.obj): result
        for step, result in results
        if step.verb == "update" and not isinstance(result, errors.ApiError)
    }
    for obj in statuses:
        result = updated.get(_identity(obj))
        if result is not None:
            newer = clone(obj)
            newer.metadata.resource_version = result.metadata.resource_version
            yield _status(newer)


def _checked(obj: KubeObject) -> KubeObject:
    if not obj.metadata.resource_version:
        raise ValueError(f"updating {_named(obj)} without its resourceVersion could overwrite what nobody has seen")
    return obj


def _terminating(error: errors.ApiError) -> bool:
    return any(cause.reason == "NamespaceTerminating" for cause in error.details.causes)


def _owner_object(api_version: str, kind: str) -> KubeObject | None:
    try:
        return kind_for(api_version, kind).message()
    except errors.UnknownKind:
        return None


def _identity(obj: KubeObject) -> tuple[type[KubeObject], str]:
    return type(obj), key_of(obj)


def _named(obj: KubeObject) -> str:
    return f'"{key_of(obj)}"' if obj.metadata.name else f'"{obj.metadata.generate_name}*"'
