"""What the process keeps of memory that nobody uses, and what making many lasting objects costs.

The C library keeps what was freed for the next time. After a start, when a snapshot and the log went through memory,
and after a snapshot was written, that may be half as much again as the data.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _find_trim() -> Callable[[int], object] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        # Not glibc.
        return None


_trim = _find_trim()


def give_back() -> None:
    """Give unused memory back to the system. Takes some milliseconds for a hundred megabytes: for a worker thread."""
    if _trim is not None:
        _trim(0)


@contextmanager
def without_collection() -> Iterator[None]:
    """Make many objects that stay: looking for garbage among them again and again takes as long as making them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def spared_from_collection() -> Iterator[None]:
    """What there is now stays until the end: a look for garbage in 50,000 keys stops everything for 60 milliseconds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
