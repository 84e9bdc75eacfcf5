"""Failures in the words a person reads: kubectl's, where kubectl has the same failure."""

from __future__ import annotations

from orchestrator.api import errors
from orchestrator.kubeconfig import KubeconfigError


class Failure(Exception):
    """Something the command can't do; the message says what would be right. `exit_code` is the process's."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def describe_failure(error: BaseException, doing: str = "") -> str | None:
    """The text for standard error, or None for an error that is nobody's fault but the program's.

    `doing` says what was under way, for commands that go on to the next object: `error when creating "web.yaml"`.
    """
    match error:
        case BaseExceptionGroup():
            return next((text for text in (describe_failure(e, doing) for e in error.exceptions) if text), None)
        case errors.Invalid():
            return _invalid(error)
        case errors.UnknownKind() | errors.ServiceUnavailable():
            # Found out on this side: there was no server, or no need to ask one.
            return f"error: {error.message}"
        case errors.ApiError():
            where = f"{doing}: " if doing else ""
            return f"Error from server ({error.reason}): {where}{error.message}"
        case Failure() | KubeconfigError():
            return f"error: {error}"
        case OSError() if error.filename:
            return f"error: {error.filename}: {error.strerror}"
        case _:
            return None


def reader_has_gone(error: BaseException) -> bool:
    """Whether this is nothing but a closed pipe at the other end of standard output."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(reader_has_gone, error.exceptions))
    return isinstance(error, BrokenPipeError)


def _invalid(error: errors.Invalid) -> str:
    """All faults of an object: one in the same line, several below each other."""
    about = error.details
    if not about.causes or not about.kind:
        return f"The request is invalid: {error.message}"
    faults = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in about.causes]
    head = f'The {about.kind} "{about.name}" is invalid: '
    return head + faults[0] if len(faults) == 1 else head + "".join(f"\n* {fault}" for fault in faults)
