"""What can go wrong with a request, in one small hierarchy that every door and every client shares.

Each class stands for one of Kubernetes' reasons and knows its HTTP status and its gRPC code; the messages have
Kubernetes' wording, since people and programs recognise them. An error is made either from a finished message
(`NotFound("...")`, as when one arrives from a server) or by `of`, which words it: `NotFound.of("pods", "web")`.

`FieldError` is one fault of an object, found by the codec or by validation; `Invalid.of` gathers all of them. Nothing
here knows protobuf or gRPC: `status.py` carries errors over the wire.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

MAX_SHOWN = 256
"""Characters of a value in a message: enough to recognize it by."""
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


@dataclass(frozen=True, slots=True)
class Cause:
    """One fault among several: a reason for programs, a message for people, the path of the field."""

    reason: str
    message: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """What an error is about. `kind` is a resource ("pods") or, for an invalid object, its kind ("Pod")."""

    kind: str = ""
    name: str = ""
    group: str = ""
    uid: str = ""
    causes: tuple[Cause, ...] = ()


class FaultType(enum.Enum):
    """The ways a field can be wrong: the reason for programs and the words for people."""

    REQUIRED = ("FieldValueRequired", "Required value")
    INVALID = ("FieldValueInvalid", "Invalid value")
    DUPLICATE = ("FieldValueDuplicate", "Duplicate value")
    NOT_FOUND = ("FieldValueNotFound", "Not found")
    NOT_SUPPORTED = ("FieldValueNotSupported", "Unsupported value")
    FORBIDDEN = ("FieldValueForbidden", "Forbidden")
    TOO_LONG = ("FieldValueTooLong", "Too long")
    TOO_MANY = ("FieldValueTooMany", "Too many")

    def __init__(self, reason: str, words: str) -> None:
        self.reason = reason
        self.words = words


_WITHOUT_VALUE = frozenset({FaultType.REQUIRED, FaultType.FORBIDDEN, FaultType.TOO_LONG})


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one field. `value` is what was given: a scalar, or lists and mappings of them."""

    path: str
    type: FaultType
    detail: str = ""
    value: object = None

    @property
    def body(self) -> str:
        """The message without the path: `Invalid value: -1: must be greater than or equal to 0`."""
        parts = [self.type.words]
        if self.type not in _WITHOUT_VALUE:
            parts.append(show_value(self.value))
        if self.detail:
            parts.append(self.detail)
        return ": ".join(parts)

    def __str__(self) -> str:
        return f"{self.path}: {self.body}" if self.path else self.body

    def cause(self) -> Cause:
        return Cause(reason=self.type.reason, message=self.body, field=self.path)


def show_value(value: object) -> str:
    """A value as Kubernetes shows it in a message: strings quoted, everything else as JSON. Of a long one, a part."""
    if isinstance(value, bytes):
        value = value[:MAX_SHOWN].decode("utf-8", errors="replace")
    if isinstance(value, str):
        return json.dumps(value if len(value) <= MAX_SHOWN else value[: MAX_SHOWN - 3] + "...", ensure_ascii=False)
    shown = dict(value) if isinstance(value, Mapping) else value
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(path, FaultType.REQUIRED, detail)


def invalid(path: str, value: object, detail: str) -> FieldError:
    return FieldError(path, FaultType.INVALID, detail, value)


def duplicate(path: str, value: object) -> FieldError:
    return FieldError(path, FaultType.DUPLICATE, "", value)


def not_found(path: str, value: object) -> FieldError:
    """A reference, inside the object, to something that isn't there."""
    return FieldError(path, FaultType.NOT_FOUND, "", value)


def not_supported(path: str, value: object, supported: Iterable[str]) -> FieldError:
    choices = ", ".join(show_value(choice) for choice in sorted(supported))
    return FieldError(path, FaultType.NOT_SUPPORTED, f"supported values: {choices}" if choices else "", value)


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(path, FaultType.FORBIDDEN, detail)


def too_long(path: str, limit: int) -> FieldError:
    return FieldError(path, FaultType.TOO_LONG, f"may not be more than {limit} bytes")


def too_many(path: str, count: int, limit: int) -> FieldError:
    return FieldError(path, FaultType.TOO_MANY, f"must have at most {limit} items", count)


def split_group(qualified: str) -> tuple[str, str]:
    """("deployments", "apps") from "deployments.apps"; ("pods", "") from "pods"."""
    head, _, group = qualified.partition(".")
    return head, group


class ApiError(Exception):
    """A request that was refused or failed.

    `reason` is for programs, `http` and `grpc` are the statuses the two doors answer with. `retry_after` is in
    seconds, 0 when the server has no opinion.
    """

    reason: ClassVar[str] = "Unknown"
    http: ClassVar[int] = 500
    grpc: ClassVar[int] = 2

    def __init__(self, message: str, *, details: Details | None = None, retry_after: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or Details()
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"


class BadRequest(ApiError):
    """The request can't be understood."""

    reason = "BadRequest"
    http = 400
    grpc = 3


class UnknownKind(BadRequest):
    """The request names a kind or resource that is not served."""


class Unauthorized(ApiError):
    """The caller has shown no identity that is trusted here."""

    reason = "Unauthorized"
    http = 401
    grpc = 16


class Forbidden(ApiError):
    """The caller is known and may not do this, or the object's state rules it out."""

    reason = "Forbidden"
    http = 403
    grpc = 7

    @classmethod
    def of(cls, resource: str, name: str, why: str) -> Self:
        kind, group = split_group(resource)
        subject = f'{resource} "{name}" is forbidden' if name else f"{resource} is forbidden"
        return cls(f"{subject}: {why}", details=Details(kind=kind, group=group, name=name))


class NotFound(ApiError):
    """There is no such object."""

    reason = "NotFound"
    http = 404
    grpc = 5

    @classmethod
    def of(cls, resource: str, name: str) -> Self:
        kind, group = split_group(resource)
        return cls(f'{resource} "{name}" not found', details=Details(kind=kind, group=group, name=name))


class MethodNotAllowed(ApiError):
    """The resource exists and has no such verb or subresource."""

    reason = "MethodNotAllowed"
    http = 405
    grpc = 12

    @classmethod
    def of(cls, resource: str, verb: str) -> Self:
        kind, group = split_group(resource)
        message = f'{verb} is not supported on resources of kind "{resource}"'
        return cls(message, details=Details(kind=kind, group=group))


class AlreadyExists(ApiError):
    """An object of this name is there already."""

    reason = "AlreadyExists"
    http = 409
    grpc = 6

    @classmethod
    def of(cls, resource: str, name: str) -> Self:
        kind, group = split_group(resource)
        return cls(f'{resource} "{name}" already exists', details=Details(kind=kind, group=group, name=name))


class Conflict(ApiError):
    """The object is not in the state the request was made for: read it again and retry."""

    reason = "Conflict"
    http = 409
    grpc = 10

    @classmethod
    def of(cls, resource: str, name: str, why: str = MODIFIED) -> Self:
        kind, group = split_group(resource)
        message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
        return cls(message, details=Details(kind=kind, group=group, name=name))


class Expired(ApiError):
    """The revision asked for has been compacted: list again."""

    reason = "Expired"
    http = 410
    grpc = 11


class Gone(Expired):
    """As Expired, under the reason some of Kubernetes' clients look for instead."""

    reason = "Gone"


class RequestEntityTooLarge(ApiError):
    """The request is larger than the server takes."""

    reason = "RequestEntityTooLarge"
    http = 413
    grpc = 8


class Invalid(ApiError):
    """The object is understood and breaks rules; the causes name each field."""

    reason = "Invalid"
    http = 422
    grpc = 3

    @classmethod
    def of(cls, kind: str, name: str, errors: Sequence[FieldError]) -> Self:
        """`kind` with its group: "Pod", "Deployment.apps"."""
        head, group = split_group(kind)
        words = list(dict.fromkeys(str(error) for error in errors))
        listed = words[0] if len(words) == 1 else f"[{', '.join(words)}]"
        causes = tuple(error.cause() for error in errors)
        details = Details(kind=head, group=group, name=name, causes=causes)
        return cls(f'{kind} "{name}" is invalid: {listed}' if words else f'{kind} "{name}" is invalid', details=details)


class TooManyRequests(ApiError):
    """The server is at a limit; `retry_after` says when to come back."""

    reason = "TooManyRequests"
    http = 429
    grpc = 8


class InternalError(ApiError):
    """The server's own fault."""

    reason = "InternalError"
    http = 500
    grpc = 13

    @classmethod
    def of(cls, fault: BaseException | str) -> Self:
        text = fault if isinstance(fault, str) else str(fault) or type(fault).__name__
        return cls(f"Internal error occurred: {text}", details=Details(causes=(Cause("", text),)))


class ServerTimeout(ApiError):
    """The server could not do it now; the same request may be repeated."""

    reason = "ServerTimeout"
    http = 500
    grpc = 14


class ServiceUnavailable(ApiError):
    """No server answers, or the one that does can't serve now."""

    reason = "ServiceUnavailable"
    http = 503
    grpc = 14


RESOURCE_VERSION_TOO_LARGE = "ResourceVersionTooLarge"
"""The reason of the cause of a Timeout: nobody has written the revision that was asked for."""


class Timeout(ApiError):
    """The request took longer than its caller or the server allows; it may have taken effect."""

    reason = "Timeout"
    http = 504
    grpc = 4
