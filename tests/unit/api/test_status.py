"""An error that crosses the wire is the same error on the other side."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import status_pb2

from orchestrator.api import errors
from orchestrator.api.errors import ApiError, Cause, Details
from orchestrator.api.status import from_rpc, from_status, to_rpc, to_status
from orchestrator.api.v1 import Status

CLASSES: list[tuple[type[ApiError], str, int, grpc.StatusCode]] = [
    (errors.BadRequest, "BadRequest", 400, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.Unauthorized, "Unauthorized", 401, grpc.StatusCode.UNAUTHENTICATED),
    (errors.Forbidden, "Forbidden", 403, grpc.StatusCode.PERMISSION_DENIED),
    (errors.NotFound, "NotFound", 404, grpc.StatusCode.NOT_FOUND),
    (errors.MethodNotAllowed, "MethodNotAllowed", 405, grpc.StatusCode.UNIMPLEMENTED),
    (errors.AlreadyExists, "AlreadyExists", 409, grpc.StatusCode.ALREADY_EXISTS),
    (errors.Conflict, "Conflict", 409, grpc.StatusCode.ABORTED),
    (errors.Expired, "Expired", 410, grpc.StatusCode.OUT_OF_RANGE),
    (errors.Gone, "Gone", 410, grpc.StatusCode.OUT_OF_RANGE),
    (errors.RequestEntityTooLarge, "RequestEntityTooLarge", 413, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Invalid, "Invalid", 422, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.TooManyRequests, "TooManyRequests", 429, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.InternalError, "InternalError", 500, grpc.StatusCode.INTERNAL),
    (errors.ServerTimeout, "ServerTimeout", 500, grpc.StatusCode.UNAVAILABLE),
    (errors.ServiceUnavailable, "ServiceUnavailable", 503, grpc.StatusCode.UNAVAILABLE),
    (errors.Timeout, "Timeout", 504, grpc.StatusCode.DEADLINE_EXCEEDED),
]


@pytest.mark.parametrize(("kind", "reason", "http", "code"), CLASSES, ids=[reason for _, reason, _, _ in CLASSES])
def test_round_trip(kind: type[ApiError], reason: str, http: int, code: grpc.StatusCode) -> None:
    details = Details(kind="pods", name="web", group="g", uid="u", causes=(Cause("R", "m", "spec.x"), Cause("S", "n")))
    error = kind("it failed", details=details, retry_after=7)

    status = to_status(error)
    assert (status.status, status.reason, status.code) == ("Failure", reason, http)

    rpc = to_rpc(error)
    assert (rpc.code, rpc.message) == (code.value[0], "it failed")

    for back in (from_status(status), from_rpc(rpc.code, rpc.message, rpc.SerializeToString())):
        assert type(back) is kind
        assert (back.message, back.details, back.retry_after) == ("it failed", details, 7)


def test_an_unknown_kind_arrives_as_a_bad_request() -> None:
    assert type(from_status(to_status(errors.UnknownKind("no such thing")))) is errors.BadRequest


WITHOUT_DETAIL: list[tuple[grpc.StatusCode, type[ApiError]]] = [
    (grpc.StatusCode.UNAVAILABLE, errors.ServiceUnavailable),
    (grpc.StatusCode.CANCELLED, errors.ServiceUnavailable),
    (grpc.StatusCode.DEADLINE_EXCEEDED, errors.Timeout),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.RequestEntityTooLarge),
    (grpc.StatusCode.UNIMPLEMENTED, errors.MethodNotAllowed),
    (grpc.StatusCode.UNKNOWN, errors.InternalError),
    (grpc.StatusCode.DATA_LOSS, errors.InternalError),
]


@pytest.mark.parametrize(("code", "kind"), WITHOUT_DETAIL, ids=[code.name for code, _ in WITHOUT_DETAIL])
@pytest.mark.parametrize("details", [None, b"", b"\xff\xff", status_pb2.Status(code=2).SerializeToString()])
def test_an_error_of_grpc_itself_is_known_by_its_code(
    code: grpc.StatusCode, kind: type[ApiError], details: bytes | None
) -> None:
    error = from_rpc(code.value[0], "no", details)
    assert type(error) is kind
    assert error.message == "no"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status(reason="NotInvented", code=404), errors.NotFound),
        (Status(reason="", code=410), errors.Expired),
        (Status(reason="NotInvented", code=418), errors.InternalError),
        (Status(), errors.InternalError),
    ],
    ids=["unknown reason", "code alone", "unknown code", "nothing"],
)
def test_a_status_of_an_unknown_reason_is_known_by_its_http_code(status: Status, kind: type[ApiError]) -> None:
    assert type(from_status(status)) is kind
