"""The one error that ends a process."""

from __future__ import annotations


class Fatal(Exception):
    """Raised by a service when trying again is no use: the process ends with this message and exit code."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def fatal_in(error: BaseException) -> Fatal | None:
    """The Fatal that an error is, or that a task group has wrapped."""
    if isinstance(error, Fatal):
        return error
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            found = fatal_in(each)
            if found is not None:
                return found
    return None
