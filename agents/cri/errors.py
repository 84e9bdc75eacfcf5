"""What can go wrong between us and the container runtime.

The runtime answers with gRPC codes; those a caller acts on differently have a class, everything else is a `CriError`
with the runtime's own words, which end up in a container's status for people to read.
"""

from __future__ import annotations

import grpc


class CriError(Exception):
    """The runtime refused or failed; `message` is what it said."""

    def __init__(self, message: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class CriNotFoundError(CriError):
    """There is no such sandbox, container or image (any more)."""


class CriUnavailableError(CriError):
    """The runtime can't be reached; whether the call had an effect is unknown. It can be repeated."""


class CriTimeoutError(CriError):
    """The runtime did not answer in time; whether the call will still have an effect is unknown."""


class CriUnsupportedError(CriError):
    """This version of the runtime doesn't have the call."""


_CLASSES: dict[grpc.StatusCode, type[CriError]] = {
    grpc.StatusCode.NOT_FOUND: CriNotFoundError,
    grpc.StatusCode.UNAVAILABLE: CriUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: CriTimeoutError,
    grpc.StatusCode.UNIMPLEMENTED: CriUnsupportedError,
}


def cri_error(failure: grpc.aio.AioRpcError) -> CriError:
    """The error for a failed call."""
    code = failure.code()
    return _CLASSES.get(code, CriError)(failure.details() or code.name, code)
