"""The kernel's news about files (inotify(7)), for asyncio: wakes those who wait for a directory to change.

One instance serves all waiters of the process, for the kernel grants a user only some. What changed isn't told:
whoever is woken looks.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_MODIFY = 0x2
_IN_CLOSE_WRITE = 0x8
_IN_MOVED_FROM = 0x40
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_DELETE = 0x200
_IN_DELETE_SELF = 0x400
_IN_ONLYDIR = 0x1000000
_MASK = _IN_MODIFY | _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF
_HEADER = struct.Struct("iIII")
_BUFFER = 64 << 10

_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Make it inside a running event loop; `close` it there."""

    def __init__(self) -> None:
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _error("inotify")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)
        # One watch of the kernel for each directory, whoever waits for it.
        self._waiting: dict[int, list[asyncio.Event]] = {}

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    @contextmanager
    def watch(self, directory: Path) -> Iterator[asyncio.Event]:
        """An event that is set whenever something in the directory changes. Raises OSError when it does not exist."""
        mask = _MASK | _IN_ONLYDIR
        watch = _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), ctypes.c_uint32(mask))
        if watch < 0:
            raise _error(str(directory))
        changed = asyncio.Event()
        self._waiting.setdefault(watch, []).append(changed)
        try:
            yield changed
        finally:
            waiting = self._waiting.get(watch, [])
            if changed in waiting:
                waiting.remove(changed)
            if not waiting and self._waiting.pop(watch, None) is not None:
                _libc.inotify_rm_watch(self._descriptor, watch)

    def _read(self) -> None:
        try:
            news = os.read(self._descriptor, _BUFFER)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(news):
            watch, _, _, length = _HEADER.unpack_from(news, offset)
            offset += _HEADER.size + length
            # -1: the kernel's queue ran over, and anything may have changed.
            woken = self._waiting.get(watch, []) if watch != -1 else [e for es in self._waiting.values() for e in es]
            for changed in woken:
                changed.set()


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
