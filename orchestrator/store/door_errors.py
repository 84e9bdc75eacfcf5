"""The store's errors as gRPC statuses, and back.

The status code says what kind of trouble it is, for any client; the trailing metadata `store-error` names the error and
`store-revision` the revision it speaks of, so that a client of ours raises what the store raised. A failure without
that name happened on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from orchestrator.store import errors
from orchestrator.store.errors import (
    Compacted,
    FutureRevision,
    InvalidLease,
    InvalidTxn,
    MemberExists,
    MembershipError,
    NothingWritten,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    TooManyLeases,
    UnknownLease,
    UnknownMember,
    ValueTooLarge,
    WatcherTooSlow,
)
from orchestrator.store.v1.store_pb2 import CallError


class NoConnection(StoreUnavailable):
    """The member did not get to say anything."""


class NotReached(NoConnection, NothingWritten):
    """Nor did it hear anything."""


NAME, REVISION = "store-error", "store-revision"
STANDS = ("store-stream", "stands")
"""In the headers of a stream that has begun: one that failed has headers too, of gRPC's making."""

Context = grpc.aio.ServicerContext[bytes, bytes]

_WRAPPING = re.compile(r"^[A-Z]+: (ipv[46]:\S+: )?")

# The first that fits: the more special before the more general.
_CODES: tuple[tuple[type[StoreError], grpc.StatusCode], ...] = (
    (Compacted, grpc.StatusCode.OUT_OF_RANGE),
    (FutureRevision, grpc.StatusCode.OUT_OF_RANGE),
    (WatcherTooSlow, grpc.StatusCode.OUT_OF_RANGE),
    (InvalidTxn, grpc.StatusCode.INVALID_ARGUMENT),
    (InvalidLease, grpc.StatusCode.INVALID_ARGUMENT),
    (UnknownLease, grpc.StatusCode.NOT_FOUND),
    (UnknownMember, grpc.StatusCode.NOT_FOUND),
    (MemberExists, grpc.StatusCode.ALREADY_EXISTS),
    (MembershipError, grpc.StatusCode.FAILED_PRECONDITION),
    (TooManyLeases, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (ValueTooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StoreBusy, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StoreUnavailable, grpc.StatusCode.UNAVAILABLE),
    (StoreCorrupt, grpc.StatusCode.DATA_LOSS),
    (StoreRefused, grpc.StatusCode.PERMISSION_DENIED),
)


async def refuse(context: Context, error: StoreError | DecodeError) -> NoReturn:
    """End the call with this error."""
    if isinstance(error, DecodeError):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request can't be decoded: {error}")
    metadata: tuple[tuple[str, str], ...] = ((NAME, type(error).__name__),)
    if (revision := _revision(error)) is not None:
        metadata += ((REVISION, str(revision)),)
    await context.abort(code_of(error), str(error), metadata)


def code_of(error: StoreError) -> grpc.StatusCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def call_error(error: StoreError) -> CallError:
    """The same, for a call that shares a stream with others."""
    return CallError(
        code=code_of(error).value[0],
        message=str(error),
        store_error=type(error).__name__,
        store_revision=_revision(error) or 0,
    )


def told_error(error: CallError) -> StoreError:
    """What the store at the other end has raised."""
    return _named(error.store_error, _CODE_OF_NUMBER.get(error.code), error.message, error.store_revision)


def named_error(error: grpc.aio.AioRpcError) -> StoreError | None:
    """What the store at the other end has raised; None: the call failed on the way, or before the store saw it."""
    trailer = {
        key: value if isinstance(value, str) else value.decode()
        for key, value in cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
        if not key.endswith("-bin")
    }
    if (name := trailer.get(NAME)) is None:
        return None
    revision = trailer.get(REVISION, "")
    return _named(name, error.code(), error.details() or "", int(revision) if revision.isdecimal() else 0)


def _named(name: str, code: grpc.StatusCode | None, message: str, revision: int) -> StoreError:
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, StoreError)):
        # The other end is of a later version; what its code means, this one knows.
        kind = StoreUnavailable if code is grpc.StatusCode.UNAVAILABLE else StoreError
    return _remade(kind, message, revision)


_CODE_OF_NUMBER: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _revision(error: StoreError) -> int | None:
    match error:
        case Compacted():
            return error.compacted_revision
        case FutureRevision():
            return error.current
        case WatcherTooSlow():
            return error.delivered_revision
        case _:
            return None


def _remade(kind: type[StoreError], message: str, revision: int) -> StoreError:
    """An error of this kind with the words of the one at the other end."""
    fill: Mapping[type[StoreError], Callable[[], StoreError]] = {
        Compacted: lambda: Compacted(revision),
        FutureRevision: lambda: FutureRevision(0, revision),
        WatcherTooSlow: lambda: WatcherTooSlow(revision, 0),
        UnknownLease: lambda: UnknownLease(0),
        TooManyLeases: lambda: TooManyLeases(0),
        ValueTooLarge: lambda: ValueTooLarge("what was sent", 0, 0),
    }
    remade = fill[kind]() if kind in fill else kind(message)
    remade.args = (message,)
    return remade


def failed(address: str, error: grpc.aio.AioRpcError) -> StoreError:
    """The error a failed call stands for."""
    named = named_error(error)
    if named is not None:
        return named
    detail = error.details() or error.code().name
    match error.code():
        case grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.UNIMPLEMENTED:
            return StoreRefused(f"the member at {address} refuses: {detail}")
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.RESOURCE_EXHAUSTED:
            return StoreRefused(f"the member at {address} does not take that: {detail}")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return StoreUnavailable(f"the member at {address} did not answer in time")
        case _:
            return NoConnection(f"the connection to the member at {address} failed: {_innermost(detail)}")


def _innermost(cause: str) -> str:
    """gRPC wraps causes: "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:5: Failed ..."."""
    text = _WRAPPING.sub("", cause.split("last error: ")[-1]).strip().rstrip(".")
    return "its certificate is not of this cluster's authority" if "CERTIFICATE_VERIFY_FAILED" in text else text
