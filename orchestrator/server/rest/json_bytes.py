"""The JSON of objects, made once per revision and shared by gets, lists and watches.

An object's JSON costs a hundred times what handing out ready bytes costs, and most requests are for objects that have
not changed since the last one. The store gives out the same bytes object for the same version, whose hash Python keeps,
so the bytes themselves are the key. The oldest unused entries go first when the size is reached.
"""

from __future__ import annotations

import json
from collections import OrderedDict

from orchestrator.api.codec import to_json
from orchestrator.server.encoding import Stored

MAX_BYTES = 32 << 20


def dump(value: object) -> bytes:
    """JSON as short as it can be, in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class JsonBytes:
    """A bounded cache of objects' JSON."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._known: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()

    def of(self, stored: Stored) -> bytes:
        """The object's JSON, with apiVersion, kind and resourceVersion."""
        key = (stored.value, stored.revision)
        made = self._known.get(key)
        if made is not None:
            self._known.move_to_end(key)
            return made
        made = dump(to_json(stored.decode()))
        if stored.revision:
            self._known[key] = made
            self._size += len(made) + len(stored.value)
            while self._size > self._max_bytes:
                (value, _), oldest = self._known.popitem(last=False)
                self._size -= len(oldest) + len(value)
        return made
