"""Long operations, step by step: what is being done, a sign that it moves, and how long it took."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_REFRESH_SECONDS = 0.1


class Progress:
    """Prints one line a step. On a terminal the line moves while the step runs; elsewhere it appears at its end."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._moves = self._stream.isatty()

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Shows `what` until the block ends; then its time, or a cross when it raised.

        The block may say how far it is: `with progress.step("copying") as moved: moved("3 MiB")`.
        """
        step = _Step(what, time.monotonic())
        done = threading.Event()
        spinner = threading.Thread(target=self._spin, args=(step, done), daemon=True)
        if self._moves:
            spinner.start()
        mark = "✗"
        try:
            yield step.moved
            mark = "✓"
        finally:
            done.set()
            if self._moves:
                spinner.join()
            self._write(mark, step, "\n")

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _spin(self, step: _Step, done: threading.Event) -> None:
        frame = 0
        while not done.wait(_REFRESH_SECONDS):
            self._write(_FRAMES[frame % len(_FRAMES)], step, "")
            frame += 1

    def _write(self, mark: str, step: _Step, end: str) -> None:
        back = "\r\x1b[K" if self._moves else ""
        self._stream.write(f"{back}{mark} {step.text:<58}{time.monotonic() - step.began:7.2f} s{end}")
        self._stream.flush()


class _Step:
    def __init__(self, what: str, began: float) -> None:
        self.text = self._what = what
        self.began = began

    def moved(self, how_far: str) -> None:
        self.text = f"{self._what}: {how_far}"
