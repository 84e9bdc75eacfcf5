"""Errors on the wire: ApiError <-> the API's Status message <-> gRPC's status with details.

The server turns an error into a `google.rpc.Status` whose one detail is our Status; a client turns it back into the
same class with the same causes. An error that did not come from an API server (gRPC's own: no connection, message too
large, deadline) has no detail, and then the gRPC code decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import status_pb2 as rpc_status

from orchestrator.api import errors
from orchestrator.api.errors import ApiError, Cause, Details
from orchestrator.api.v1 import Status, StatusCause, StatusDetails

# A status goes over the wire as HTTP/2 trailers, of which peers take 8 KiB: the message three times (gRPC's own, in the
# status, and in its detail), the causes once. A larger trailer would break the call instead of explaining it.
MAX_MESSAGE = 1600
_MAX_CAUSES = 1500
_MAX_NAME = 300

_CLASSES: tuple[type[ApiError], ...] = (
    errors.BadRequest,
    errors.Unauthorized,
    errors.Forbidden,
    errors.NotFound,
    errors.MethodNotAllowed,
    errors.AlreadyExists,
    errors.Conflict,
    errors.Expired,
    errors.Gone,
    errors.RequestEntityTooLarge,
    errors.Invalid,
    errors.TooManyRequests,
    errors.InternalError,
    errors.ServerTimeout,
    errors.ServiceUnavailable,
    errors.Timeout,
)
_BY_REASON = {kind.reason: kind for kind in _CLASSES}
# A status of an unknown reason: the HTTP code says as much as can be known.
_BY_HTTP: dict[int, type[ApiError]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    409: errors.Conflict,
    410: errors.Expired,
    413: errors.RequestEntityTooLarge,
    422: errors.Invalid,
    429: errors.TooManyRequests,
    503: errors.ServiceUnavailable,
    504: errors.Timeout,
}
_BY_GRPC: dict[int, type[ApiError]] = {
    1: errors.ServiceUnavailable,  # CANCELLED: the server, or the connection, went away
    3: errors.BadRequest,
    4: errors.Timeout,
    5: errors.NotFound,
    6: errors.AlreadyExists,
    7: errors.Forbidden,
    8: errors.RequestEntityTooLarge,  # gRPC's own limit; ours has a detail
    9: errors.Conflict,
    10: errors.Conflict,
    11: errors.Expired,
    12: errors.MethodNotAllowed,
    14: errors.ServiceUnavailable,
    16: errors.Unauthorized,
}


def to_status(error: ApiError) -> Status:
    """The error in words that fit the wire: what is too long is cut, what is no Unicode is replaced."""
    details = error.details
    return Status(
        status="Failure",
        message=_cut(error.message, MAX_MESSAGE),
        reason=error.reason,
        code=error.http,
        details=StatusDetails(
            name=_cut(details.name, _MAX_NAME),
            group=_cut(details.group, _MAX_NAME),
            kind=_cut(details.kind, _MAX_NAME),
            uid=_cut(details.uid, _MAX_NAME),
            causes=_causes(details.causes),
            retry_after_seconds=error.retry_after,
        ),
    )


def _causes(causes: Sequence[Cause]) -> Iterator[StatusCause]:
    """The first of them, as many as there is room for."""
    room = _MAX_CAUSES
    for cause in causes:
        shown = StatusCause(
            reason=_cut(cause.reason, _MAX_NAME),
            message=_cut(cause.message, _MAX_CAUSES // 2),
            field=_cut(cause.field, _MAX_NAME),
        )
        room -= shown.ByteSize()
        if room < 0:
            return
        yield shown


def _cut(text: str, limit: int) -> str:
    """The beginning of a text: at most `limit` bytes of it when percent-encoded, as gRPC sends a status message."""
    text = text[:limit]
    encoded = text.encode(errors="replace")
    if len(encoded) == len(text) and text.isprintable() and "%" not in text:
        return text if len(text) < limit else text[: limit - 3] + "..."
    text = encoded.decode()
    size = 0
    for position, character in enumerate(text):
        size += 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        if size > limit - 3:
            return text[:position] + "..."
    return text


def from_status(status: Status) -> ApiError:
    kind = _BY_REASON.get(status.reason) or _BY_HTTP.get(status.code, errors.InternalError)
    about = status.details
    details = Details(
        kind=about.kind,
        name=about.name,
        group=about.group,
        uid=about.uid,
        causes=tuple(Cause(cause.reason, cause.message, cause.field) for cause in about.causes),
    )
    return kind(status.message, details=details, retry_after=about.retry_after_seconds)


def to_rpc(error: ApiError) -> rpc_status.Status:
    """For the `grpc-status-details-bin` trailer (grpc_status.rpc_status, or the trailer set by hand)."""
    status = to_status(error)
    detail = AnyMessage()
    detail.Pack(status)
    return rpc_status.Status(code=error.grpc, message=status.message, details=[detail])


def from_rpc(code: int, message: str, details: bytes | None) -> ApiError:
    """The error behind a failed call: its gRPC code and message, and the `grpc-status-details-bin` trailer if any."""
    status = _detail(details) if details else None
    if status is not None:
        return from_status(status)
    return _BY_GRPC.get(code, errors.InternalError)(message)


def _detail(trailer: bytes) -> Status | None:
    """Our Status among the details; None when there is none or the bytes are someone else's."""
    status = Status()
    try:
        for detail in rpc_status.Status.FromString(trailer).details:
            if detail.Unpack(status):
                return status
    except DecodeError:
        return None
    return None
