"""Reads containers' logs from the files the runtime writes, and follows them while they grow.

Following is driven by the kernel's news about the directory and by the end of the container; nothing is polled. A
file that was rotated away is read to its end before the new one is begun.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from agents.node.inotify import Inotify
from agents.node.log_format import LogText, parse_line

_PIECE = 64 << 10


@dataclass(frozen=True, slots=True)
class LogOptions:
    timestamps: bool = False
    # Nanoseconds since 1970; 0: from the beginning.
    since: int = 0
    # None: all lines.
    tail_lines: int | None = None
    limit_bytes: int | None = None


async def read_log(file: Path, options: LogOptions) -> AsyncIterator[bytes]:
    """What is in the file now, in pieces of whole lines. Raises FileNotFoundError."""
    text = LogText(options.timestamps, options.since, options.limit_bytes)
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        await asyncio.to_thread(_seek_tail, descriptor, options.tail_lines)
        async for piece in _rest(descriptor, text):
            yield piece
        if not text.exhausted and (last := text.finish()):
            yield last
    finally:
        os.close(descriptor)


async def follow_log(
    file: Path, options: LogOptions, inotify: Inotify, ended: asyncio.Future[None]
) -> AsyncIterator[bytes]:
    """As `read_log`, then what is added, until `ended` is done and everything written by then has been read."""
    text = LogText(options.timestamps, options.since, options.limit_bytes)
    with inotify.watch(file.parent) as changed:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await asyncio.to_thread(_seek_tail, descriptor, options.tail_lines)
            while not text.exhausted:
                # In this order: what happens from here on is noticed by one or the other.
                changed.clear()
                last_round = ended.done()
                successor = _successor(file, descriptor)
                async for piece in _rest(descriptor, text):
                    yield piece
                if successor is not None:
                    os.close(descriptor)
                    descriptor = successor
                elif last_round or text.exhausted:
                    break
                else:
                    await _either(changed, ended)
            if not text.exhausted and (last := text.finish()):
                yield last
        finally:
            os.close(descriptor)


def _successor(file: Path, descriptor: int) -> int | None:
    """The file that has taken the name of the one that is open, if one has."""
    try:
        following = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if os.path.sameopenfile(following, descriptor):
        os.close(following)
        return None
    return following


async def _rest(descriptor: int, text: LogText) -> AsyncIterator[bytes]:
    while not text.exhausted and (raw := await asyncio.to_thread(os.read, descriptor, _PIECE)):
        if shown := text.feed(raw):
            yield shown


async def _either(changed: asyncio.Event, ended: asyncio.Future[None]) -> None:
    waiting = asyncio.ensure_future(changed.wait())
    try:
        await asyncio.wait((waiting, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _seek_tail(descriptor: int, lines: int | None) -> None:
    if lines is not None:
        os.lseek(descriptor, tail_offset(descriptor, lines), os.SEEK_SET)


def tail_offset(descriptor: int, lines: int) -> int:
    """Where the last so many lines begin. Reads backwards from the end, no more than it has to.

    Parts of a broken line count as one.
    """
    position = os.fstat(descriptor).st_size
    if lines <= 0:
        return position
    # Lines are found from the end; the first of a block may begin in the block before.
    carried = b""
    seen = 0
    begin = position
    while position > 0:
        size = min(_PIECE, position)
        position -= size
        block = os.pread(descriptor, size, position) + carried
        pieces = block.split(b"\n")
        carried = pieces[0]
        at = position + len(block)
        for piece in reversed(pieces[1:]):
            at -= len(piece)
            entry = parse_line(piece)
            if entry is not None and not entry.partial:
                if seen == lines:
                    return begin
                seen += 1
            if piece:
                begin = at
            at -= 1
    entry = parse_line(carried)
    return begin if seen == lines and entry is not None and not entry.partial else 0
