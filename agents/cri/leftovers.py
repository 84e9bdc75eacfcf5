"""Ends and removes everything a private containerd has brought about, so that nothing is left on the machine.

First the polite way, while the runtime runs: pods are stopped and removed through it (`remove_pods`). Then, with the
runtime stopped, what escaped that (`clean_up`): shims, container processes, mounts, network namespaces, cgroups. A
process is only killed when its command line or its cgroup proves that it is ours: process numbers are used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.containerd import cgroup_parent, state_directory
from agents.cri.errors import CriError
from agents.mounting import unmount_below
from orchestrator.logs import fields
from orchestrator.paths import Paths

log = logging.getLogger(__name__)

_AT_ONCE = 8
_CGROUPS = Path("/sys/fs/cgroup")
_TASKS = "io.containerd.runtime.v2.task"
_SANDBOXES = Path("root/io.containerd.grpc.v1.cri/sandboxes")
# Where the runtime's CNI library notes what it has set up, whatever the runtime's own directories are.
_CNI_NOTES = Path("/var/lib/cni/results")
# How long killed processes may take to be gone.
_DEATHS = 5.0


async def remove_pods(runtime: CriClient) -> None:
    """Stops and removes all sandboxes with their containers. One that can't be removed is logged and left."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def remove(sandbox_id: str) -> None:
        async with gate:
            try:
                await runtime.stop_pod_sandbox(sandbox_id)
                await runtime.remove_pod_sandbox(sandbox_id)
            except CriError as error:
                log.warning("a pod could not be removed", extra=fields(sandbox=sandbox_id, error=error.message))

    async with asyncio.TaskGroup() as group:
        for sandbox in await runtime.list_pod_sandboxes():
            group.create_task(remove(sandbox.id))


async def clean_up(paths: Paths) -> None:
    """With containerd stopped: ends what still runs and undoes what is left, images apart. Can be repeated."""
    state = state_directory(paths)
    containers = [path.name for path in (state / _TASKS).glob("*/*")]
    doomed = [*_shims(paths.containerd_socket), *_container_processes(containers)]
    for process in doomed:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
    await _gone(doomed)
    await asyncio.to_thread(_remove_files, paths, containers)


def _remove_files(paths: Paths, containers: list[str]) -> None:
    state = state_directory(paths)
    for directory in (state, paths.containerd):
        unmount_below(directory)
    for bundle in (state / _TASKS).glob("*/*"):
        _remove_shim_socket(bundle)
    _remove_cgroups(containers)
    _remove_cni_notes({*containers, *(path.name for path in (paths.containerd / _SANDBOXES).glob("*"))})
    shutil.rmtree(state, ignore_errors=True)
    paths.containerd_socket.unlink(missing_ok=True)


def _shims(socket: Path) -> Iterator[int]:
    """Process descriptors of the shims that belong to the runtime of this socket."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with _process(int(entry.name)) as descriptor:
                words = _read(entry / "cmdline").split(b"\0")
                ours = b"containerd-shim" in words[0] and os.fsencode(socket) in words[1:]
                if ours and descriptor is not None:
                    yield os.dup(descriptor)


def _container_processes(containers: list[str]) -> Iterator[int]:
    """Process descriptors of all processes in the cgroups of these containers."""
    names = {container.encode() for container in containers}
    if not names:
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with _process(int(entry.name)) as descriptor:
                lines = _read(entry / "cgroup").splitlines()
                if descriptor is not None and any(_last_part(line) in names for line in lines):
                    yield os.dup(descriptor)


def _last_part(cgroup: bytes) -> bytes:
    """The container's id: the whole name, or what systemd's form cri-containerd-<id>.scope has around it."""
    return cgroup.rpartition(b"/")[2].removesuffix(b".scope").rpartition(b"-")[2]


@contextlib.contextmanager
def _process(number: int) -> Iterator[int | None]:
    """Holds on to a process while it is looked at, so that what is read and what is killed is the same one."""
    try:
        descriptor = os.pidfd_open(number)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _gone(processes: list[int]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _DEATHS
    for descriptor in processes:
        # A process descriptor becomes readable when the process has ended.
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await asyncio.wait_for(ended.wait(), max(0.0, deadline - loop.time()))
        except TimeoutError:
            log.warning("a killed process has not ended")
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def _remove_cgroups(containers: Iterable[str]) -> None:
    parent = cgroup_parent(systemd=False).lstrip("/")
    for hierarchy in (_CGROUPS, *(path for path in _CGROUPS.iterdir() if path.is_dir())):
        for directory in (*(hierarchy / parent / container for container in containers), hierarchy / parent):
            # Not empty: others' containers, or a process that has not ended.
            with contextlib.suppress(OSError):
                directory.rmdir()


def _remove_cni_notes(containers: Collection[str]) -> None:
    """A pod that was not taken down through the runtime leaves <network>-<id>-<interface> behind."""
    for note in _CNI_NOTES.glob("*-*-*"):
        if note.name.rsplit("-", 2)[1] in containers:
            note.unlink(missing_ok=True)


def _remove_shim_socket(bundle: Path) -> None:
    """A killed shim leaves its socket in a directory that all containerds of a machine share."""
    kind, _, path = _read(bundle / "address").decode().strip().partition("://")
    if kind == "unix" and path:
        Path(path).unlink(missing_ok=True)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
