"""Doing the same to several objects: a failure with one is told, and the others get their turn."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from cli.failure import Failure, describe_failure
from orchestrator.api import errors


class Attempts:
    """Collects whether anything went wrong; `code` is the exit code to end with."""

    def __init__(self) -> None:
        self.code = 0

    @contextlib.contextmanager
    def one(self, doing: str = "", *, silently: tuple[type[errors.ApiError], ...] = ()) -> Iterator[None]:
        """A block whose failure is told and does not go further, unless no server is there for the others either.

        Failures of the classes `silently` are none.
        """
        try:
            yield
        except silently:
            pass
        except (errors.ApiError, Failure) as error:
            if isinstance(error, errors.ServiceUnavailable):
                raise
            self.tell(error, doing)

    def tell(self, error: errors.ApiError | Failure, doing: str = "") -> None:
        self.code = 1
        sys.stdout.flush()
        click.echo(describe_failure(error, doing), err=True)
