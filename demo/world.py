"""Where the demo happens: a network namespace with an uplink that leads nowhere, and a directory for all files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo.steps import LOOK_AGAIN_SECONDS, DemoError
from orchestrator.paths import Paths

NODE_ADDRESS = "192.0.2.10"
COMMAND_SECONDS = 120.0
VANISH_SECONDS = 10.0


class World:
    """`with World(name)` makes it and removes it again, with everything that runs in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.paths = Paths(Path("/var/tmp") / name)
        self.environment = os.environ | {"KUBECONFIG": str(self.paths.kubeconfig("admin"))}

    def __enter__(self) -> Self:
        try:
            self.paths.root.mkdir()
            _run(["ip", "netns", "add", self.name])
            for command in (
                "ip link set lo up",
                "ip link add uplink type veth peer name beyond",
                f"ip address add {NODE_ADDRESS}/24 dev uplink",
                "ip link set uplink up",
                "ip link set beyond up",
                "ip route add default dev uplink",
            ):
                _run(self.command(*command.split()))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, DemoError):
            self._tell_logs()
        self._remove()

    def command(self, *arguments: str) -> list[str]:
        """A command line that runs in the namespace. The file systems stay the machine's: cgroups are mounted there."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *arguments]

    def python(self, module: str, *arguments: str) -> list[str]:
        return self.command(sys.executable, "-m", module, *arguments)

    def start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """A Python module as a process whose output is read later."""
        return subprocess.Popen(self.python(module, *arguments), stdout=subprocess.PIPE, text=True)

    def output(self, module: str, *arguments: str) -> str:
        return _run(self.python(module, *arguments), self.environment)

    def navctl(self, *arguments: str) -> str:
        """What navctl prints. Raises DemoError with its message when it fails."""
        return self.output("cli.navctl", *arguments)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.navctl("get", *arguments, "-o", "json"))

    def remains(self) -> Sequence[str]:
        """What is still there of this world. Processes and cgroups get a moment: the kernel buries them by itself."""
        deadline = time.monotonic() + VANISH_SECONDS
        while (found := self._remains()) and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_SECONDS)
        return found

    def _remains(self) -> list[str]:
        mark = self.name.encode()
        found = [f"process {path.parent.name}" for path in Path("/proc").glob("[0-9]*/cmdline") if mark in _read(path)]
        found += [f"mount {line.split()[4]}" for line in _mounts() if self.name in line]
        if self.paths.root.exists():
            found.append(f"files in {self.paths.root}")
        if Path("/run/netns", self.name).exists():
            found.append("its network namespace")
        return found

    def _remove(self) -> None:
        if Path("/run/netns", self.name).exists():
            down = self.python("cli.navctl", "down", f"--root={self.paths.root}", "--purge")
            subprocess.run(down, stderr=subprocess.DEVNULL, check=False)
            subprocess.run(["ip", "netns", "delete", self.name], check=False)
        shutil.rmtree(self.paths.root, ignore_errors=True)

    def _tell_logs(self) -> None:
        for log in sorted(self.paths.log.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-25:]
            print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"{' '.join(command)}: not done within {COMMAND_SECONDS:g} s") from error
    if done.returncode:
        raise DemoError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # ended meanwhile


def _mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()
