"""What is worked out once for each type of message and then used for every message of it.

A plan refers to the plans of the messages inside, and types may contain each other, so a plan exists before it is
filled. Other threads see plans only when they, and all they refer to, are complete.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from google.protobuf.descriptor import Descriptor

P = TypeVar("P")


class Plans(Generic[P]):
    """Plans by message type: `new` makes an empty one, `fill` completes it and may ask for others meanwhile."""

    def __init__(self, new: Callable[[], P], fill: Callable[[P, Descriptor], None]) -> None:
        self._new = new
        self._fill = fill
        self._lock = threading.RLock()
        self._complete: dict[Descriptor, P] = {}
        self._begun: dict[Descriptor, P] = {}

    def of(self, descriptor: Descriptor) -> P:
        plan = self._complete.get(descriptor)
        return plan if plan is not None else self._make(descriptor)

    def _make(self, descriptor: Descriptor) -> P:
        with self._lock:
            outermost = not self._begun
            plan = self._complete.get(descriptor)
            if plan is None:
                plan = self._begun.get(descriptor)
            if plan is None:
                plan = self._begun[descriptor] = self._new()
                self._fill(plan, descriptor)
            if outermost:
                self._complete.update(self._begun)
                self._begun.clear()
            return plan
