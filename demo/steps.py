"""Steps with their times, one line each, and waiting for something to become true."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from cli.progress import Progress

T = TypeVar("T")

LOOK_AGAIN_SECONDS = 0.05


class DemoError(Exception):
    """A step that did not come out as it must; the message says what was seen."""


class Steps:
    """Runs steps and remembers how long all of them took."""

    def __init__(self) -> None:
        self._progress = Progress()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def run(self, what: str, step: Callable[[], T]) -> T:
        """Shows `what` while the step runs, and its time."""
        with self._progress.step(what):
            return step()

    def check(self, what: str, wrongs: Callable[[], Sequence[str]]) -> None:
        """A step that lists what is wrong. Raises DemoError unless that is nothing."""

        def step() -> None:
            if found := wrongs():
                raise DemoError(f"{what}: no: " + "; ".join(found))

        self.run(what, step)


def eventually(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """Looks until there is something to see and returns it. Raises DemoError when there is not within the time."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise DemoError(f"{what}: not within {seconds:g} s")
        time.sleep(LOOK_AGAIN_SECONDS)
