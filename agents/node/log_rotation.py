"""Keeps containers' logs from filling the disk: a log that has grown large is put aside, and of those the oldest go.

The runtime writes until it is told to open the file anew, so nothing is lost in between. Sizes are looked at now and
then: the kernel tells of every write, which for a busy log would cost far more than looking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.errors import CriError
from agents.cri.v1 import runtime_pb2 as cri
from agents.node.container_config import CONTAINER_NAME, log_path
from agents.node.sandbox_config import POD_NAME, POD_NAMESPACE, POD_UID
from orchestrator.clock import Clock
from orchestrator.logs import fields

log = logging.getLogger(__name__)

LARGEST = 10 << 20
# With the one that is being written.
KEPT = 5
_INTERVAL = 20.0


class LogRotation:
    """Looks after the logs of all running containers."""

    def __init__(self, pod_logs: Path, runtime: CriClient, clock: Clock, *, largest: int = LARGEST) -> None:
        self._pod_logs = pod_logs
        self._runtime = runtime
        self._clock = clock
        self._largest = largest

    async def run(self) -> None:
        while True:
            await self._clock.sleep(_INTERVAL)
            try:
                await self.rotate()
            except (CriError, OSError) as error:
                log.warning("logs could not be rotated", extra=fields(error=error))

    async def rotate(self) -> None:
        """Puts every log aside that is too large now."""
        for container in await self._runtime.list_containers(state=cri.CONTAINER_RUNNING):
            file = self._file(container)
            if file is not None and await asyncio.to_thread(_size, file) > self._largest:
                await asyncio.to_thread(_put_aside, file, self._clock.now())
                await self._runtime.reopen_container_log(container.id)
                log.debug("rotated a log", extra=fields(file=file))

    def _file(self, container: cri.Container) -> Path | None:
        labels = container.labels
        if CONTAINER_NAME not in labels:
            return None
        pod = f"{labels[POD_NAMESPACE]}_{labels[POD_NAME]}_{labels[POD_UID]}"
        return self._pod_logs / pod / log_path(labels[CONTAINER_NAME], container.metadata.attempt)


def surplus(aside: Iterable[str], kept: int = KEPT) -> Sequence[str]:
    """Which of the names of files put aside to delete: the oldest, beyond those that are kept besides the current."""
    return sorted(aside)[: -(kept - 1)]


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _put_aside(file: Path, now: datetime) -> None:
    file.rename(file.with_name(f"{file.name}.{now:%Y%m%d-%H%M%S-%f}"))
    for name in surplus(path.name for path in file.parent.glob(f"{file.name}.*")):
        (file.parent / name).unlink()
