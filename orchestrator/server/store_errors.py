"""The one place where the store's troubles become the API's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.api import errors
from orchestrator.store.errors import (
    Compacted,
    FutureRevision,
    LeaseError,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    ValueTooLarge,
    WatcherTooSlow,
)


def to_api_error(error: StoreError) -> errors.ApiError:
    """What a client is told about a failure of the store."""
    match error:
        case Compacted():
            return errors.Expired(
                "The resourceVersion for the provided request is too old: "
                f"revisions up to {error.compacted_revision} have been compacted"
            )
        case FutureRevision():
            message = f"Too large resource version: {error.asked}, current: {error.current}"
            cause = errors.Cause(errors.RESOURCE_VERSION_TOO_LARGE, "Too large resource version")
            return errors.Timeout(message, details=errors.Details(causes=(cause,)), retry_after=1)
        case WatcherTooSlow():
            return errors.ServiceUnavailable("the watch fell too far behind and was ended: resume it")
        case LeaseError():
            return errors.ServiceUnavailable(f"an event's lease could not be had: {error}", retry_after=1)
        case StoreUnavailable():
            return errors.ServiceUnavailable(f"the store is not available: {error}", retry_after=1)
        case ValueTooLarge():
            return errors.RequestEntityTooLarge(f"Request entity too large: {error}")
        case StoreCorrupt():
            return errors.InternalError.of(f"the store is damaged: {error}")
        case _:
            return errors.InternalError.of(error)


@contextmanager
def store_errors_mapped(*, letting: type[StoreError] | tuple[()] = ()) -> Iterator[None]:
    """Run a store call; its errors leave as API errors, except `letting`, which the caller words itself."""
    try:
        yield
    except letting:
        raise
    except StoreError as error:
        raise to_api_error(error) from error
