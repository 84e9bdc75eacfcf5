"""Failures in the words a person reads."""

from __future__ import annotations

from orchestrator.api.errors import ApiError
from orchestrator.kubeconfig import KubeconfigError


class Failure(Exception):
    """Something the command can't do; the message says what would be right. `exit_code` is the process's."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def describe_failure(error: BaseException) -> str | None:
    """The line for standard error, or None for an error that is nobody's fault but the program's."""
    match error:
        case BaseExceptionGroup():
            return next((line for line in map(describe_failure, error.exceptions) if line is not None), None)
        case ApiError():
            return f"Error from server ({error.reason}): {error.message}"
        case Failure() | KubeconfigError():
            return f"error: {error}"
        case OSError() if error.filename:
            return f"error: {error.filename}: {error.strerror}"
        case _:
            return None
