"""A private containerd for a machine that has none running: its configuration and its process.

Everything of it lies below `Paths`: state, images, socket, network namespaces, network configuration. It can run
beside the machine's own, and several can run side by side in network namespaces of their own (give `prefix`). What
this machine can do is looked up once (`Machine.detect`), the configuration is then a pure function of it.

Containers don't depend on the daemon: stopping it leaves them running, and the next one picks them up. Ending
them too is the business of `leftovers.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.errors import CriError
from agents.cri.images import PAUSE_IMAGE
from orchestrator.atomic_file import write_atomically
from orchestrator.logs import fields
from orchestrator.paths import Paths

log = logging.getLogger(__name__)

_CNI_PLACES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_CAP_SYS_RESOURCE = 24
_READY_WITHIN = 30.0
_STOP_WITHIN = 10.0


class ContainerdError(Exception):
    """containerd can't be started; the message says why and, where there is one, the remedy."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the configuration depends on."""

    cni_plugins: Path
    # runc can't lower the score of a process without this capability.
    may_lower_oom_score: bool
    # systemd owns the one hierarchy of cgroup v2: containers ask it for theirs.
    systemd_cgroups: bool

    @classmethod
    def detect(cls, cni_plugins: Path | None = None) -> Machine:
        """Looks at this machine; raises ContainerdError when the CNI plugins are missing."""
        return cls(
            cni_plugins=cni_plugins or _find_cni_plugins(),
            may_lower_oom_score=_has_capability(_CAP_SYS_RESOURCE),
            systemd_cgroups=Path("/sys/fs/cgroup/cgroup.controllers").exists() and Path("/run/systemd/system").is_dir(),
        )


def configuration(paths: Paths, machine: Machine, *, sandbox_image: str = PAUSE_IMAGE, log_level: str = "warn") -> str:
    """The configuration file, in TOML."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    runc = f"{cri}.containerd.runtimes.runc"
    return f"""\
# Written at every start: changes made here are lost.
version = 2
root = {_text(paths.containerd / "root")}
state = {_text(state_directory(paths))}
# The docker, btrfs and zfs ways of keeping images are not used; loading them costs time and warnings.
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.restart",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = {_text(paths.containerd_socket)}

[debug]
  level = {_text(log_level)}

[{cri}]
  sandbox_image = {_text(sandbox_image)}
  restrict_oom_score_adj = {_boolean(not machine.may_lower_oom_score)}
  netns_mounts_under_state_dir = true
  # Streams of exec and attach: a free port of this machine alone.
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  # The node agent asks for usage when it needs it.
  stats_collect_period = 60

[{cri}.cni]
  bin_dir = {_text(machine.cni_plugins)}
  conf_dir = {_text(paths.cni_conf)}

[{runc}]
  runtime_type = "io.containerd.runc.v2"

[{runc}.options]
  SystemdCgroup = {_boolean(machine.systemd_cgroups)}
  # runc's own notes would otherwise be shared with the machine's containerd.
  Root = {_text(state_directory(paths) / "runc")}
"""


def cgroup_parent(*, systemd: bool) -> str:
    """The cgroup below which all containers of pods are: runc names it differently where systemd owns the hierarchy."""
    return "navarch.slice" if systemd else "/navarch"


async def uses_systemd_cgroups(cri: CriClient) -> bool:
    """Whether a runtime, which may not be ours, is configured to let systemd make the cgroups."""
    info = (await cri.status(verbose=True)).info.get("config", "")
    try:
        configured = json.loads(info)["containerd"]
        runtime = configured["runtimes"][configured["defaultRuntimeName"]]
        return bool((runtime.get("options") or {}).get("SystemdCgroup", False))
    except (ValueError, KeyError, TypeError, AttributeError):
        # A runtime that doesn't tell: the usual choice of such machines.
        return Machine.detect(Path("/")).systemd_cgroups


class ContainerdProcess:
    """One private containerd."""

    def __init__(
        self,
        paths: Paths,
        machine: Machine,
        *,
        sandbox_image: str = PAUSE_IMAGE,
        prefix: Sequence[str] = (),
        log_level: str = "warn",
    ) -> None:
        """`prefix` goes before the command, such as `nsenter --net=...` to run in a network namespace."""
        self.paths = paths
        self._machine = machine
        self._sandbox_image = sandbox_image
        self._prefix = tuple(prefix)
        self._log_level = log_level
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log_file(self) -> Path:
        return self.paths.log / "containerd.log"

    def prepare(self) -> list[str]:
        """Writes the configuration; returns the command to run, for a caller that supervises processes itself."""
        program = _find("containerd", "containerd")
        _find("runc", "runc")
        for directory in (self.paths.containerd, state_directory(self.paths), self.paths.containerd_socket.parent):
            directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        for directory in (self.paths.cni_conf, self.paths.log):
            directory.mkdir(parents=True, exist_ok=True)
        file = self.paths.containerd / "config.toml"
        text = configuration(self.paths, self._machine, sandbox_image=self._sandbox_image, log_level=self._log_level)
        write_atomically(file, text.encode(), mode=0o644)
        return [*self._prefix, program, "--config", str(file)]

    async def start(self) -> None:
        """Starts it and waits until it takes calls."""
        command = await asyncio.to_thread(self.prepare)
        log_descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=log_descriptor,
                stderr=log_descriptor,
                # A Ctrl-C at the terminal is for us; we decide about the daemon.
                start_new_session=True,
            )
        finally:
            os.close(log_descriptor)
        try:
            await self._started(self._process)
        except BaseException:
            await self.stop()
            raise
        log.info("containerd is ready", extra=fields(pid=self._process.pid, socket=self.paths.containerd_socket))

    async def stop(self) -> None:
        """Ends the daemon. Containers stay."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_WITHIN)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _started(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        ready = asyncio.ensure_future(wait_ready(self.paths.containerd_socket))
        try:
            await asyncio.wait((ended, ready), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ContainerdError(f"containerd ended with {ended.result()}: {self._last_words()}")
            ready.result()
        finally:
            for task in (ended, ready):
                task.cancel()
            await asyncio.gather(ended, ready, return_exceptions=True)

    def _last_words(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


async def wait_ready(socket: Path, timeout: float = _READY_WITHIN) -> None:
    """Waits until the runtime behind a socket answers CRI calls."""
    why = "nothing listens"
    try:
        async with asyncio.timeout(timeout):
            while True:
                if socket.is_socket():
                    async with CriClient(socket) as cri:
                        try:
                            await cri.version()
                            return
                        except CriError as error:
                            why = error.message
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise ContainerdError(f"the container runtime at {socket} is not ready after {timeout:g} s: {why}") from None


def state_directory(paths: Paths) -> Path:
    """What exists while containers run: pipes, shims, network namespaces."""
    return paths.containerd_socket.parent / "state"


def _find(program: str, package: str) -> str:
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/bin")
    if found is None:
        raise ContainerdError(f"{program} is not installed (apt install {package})")
    return found


def _find_cni_plugins() -> Path:
    for place in _CNI_PLACES:
        if (place / "bridge").is_file():
            return place
    searched = ", ".join(str(place) for place in _CNI_PLACES)
    raise ContainerdError(f"no CNI plugins in {searched} (apt install containernetworking-plugins)")


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _text(value: object) -> str:
    # JSON's escapes are also TOML's.
    return json.dumps(str(value), ensure_ascii=False)


def _boolean(value: bool) -> str:
    return "true" if value else "false"
