"""A container's last words: the file it could write them to, or the end of its log.

Both are bounded, since they become part of the pod's status: 4096 bytes of the file; 2048 bytes or 80 lines of the
log. What isn't UTF-8 is shown as well as can be. A file that can't be read is no message: the container has ended
either way.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from agents.node.log_format import LogText
from agents.node.logs import tail_offset
from agents.node.mounts import termination_message_file
from agents.node.runtime_state import ContainerRecord
from orchestrator.api.v1 import Container

FILE_LIMIT = 4096
LOG_LIMIT = 2048
LOG_LINES = 80
# What lies around that many bytes of text in a log: times, streams, and lines cut at 16 KiB.
_RAW_LIMIT = 64 << 10
_FALLBACK = "FallbackToLogsOnError"


async def termination_message(container: Container, record: ContainerRecord, directory: Path, log_file: Path) -> str:
    """The message of a container that has ended; `directory` is the pod's, `log_file` the container's."""
    file = termination_message_file(directory, container.name, record.attempt)
    fallback = container.termination_message_policy == _FALLBACK and record.exit_code != 0
    return await asyncio.to_thread(_read, file, log_file if fallback else None)


def _read(file: Path, log_file: Path | None) -> str:
    message = _start_of(file, FILE_LIMIT).decode(errors="replace")
    if not message and log_file is not None:
        text = _end_of_log(log_file)[-LOG_LIMIT:]
        # The cut may have gone through a character.
        return text.decode(errors="ignore")
    return message


def _start_of(file: Path, limit: int) -> bytes:
    """The container could write to the file: it may have become anything, and of any size."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _end_of_log(log_file: Path) -> bytes:
    try:
        descriptor = os.open(log_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        begin = max(tail_offset(descriptor, LOG_LINES), os.fstat(descriptor).st_size - _RAW_LIMIT)
        text = LogText()
        return text.feed(os.pread(descriptor, _RAW_LIMIT, begin)) + text.finish()
    finally:
        os.close(descriptor)
