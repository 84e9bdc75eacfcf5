"""A private containerd for the tests of a session, in a network namespace of its own.

It has the pause image, a busybox image and a CNI configuration for pods. What a test starts there it removes, and what
it forgot goes with the session: processes, mounts, cgroups, the namespace, the files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.cri.client import CriClient
from agents.cri.containerd import ContainerdProcess, Machine, wait_ready
from agents.cri.images import ImageSource, busybox_files, ensure_image, pause_image
from agents.cri.leftovers import clean_up, remove_pods
from orchestrator.paths import Paths
from tests.requires import require, require_program, require_root

BUSYBOX_IMAGE = "registry.test/busybox:1"


@dataclass(frozen=True)
class RuntimeLab:
    """A running containerd, the directory it works in and the network namespace it is in."""

    paths: Paths
    namespace: str

    @property
    def socket(self) -> Path:
        return self.paths.containerd_socket


@contextlib.contextmanager
def laboratory() -> Iterator[tuple[RuntimeLab, running_containerd]]:
    """A lab and its containerd; nothing is left of them afterwards."""
    require_root()
    require_program("containerd", "runc", "ctr", "ip", "nsenter", "busybox")
    require(any((place / "ptp").exists() for place in map(Path, ("/usr/lib/cni", "/opt/cni/bin"))), "the CNI plugins")
    # A short path: that of a socket has at most 107 characters.
    root = Path(tempfile.mkdtemp(prefix="navarch-lab-"))
    lab = RuntimeLab(Paths(root), f"navarch-{secrets.token_hex(4)}")
    subprocess.run(["ip", "netns", "add", lab.namespace], check=True)
    try:
        subprocess.run(["ip", "-n", lab.namespace, "link", "set", "lo", "up"], check=True)
        _configure_network(lab.paths)
        with running_containerd(lab) as containerd:
            asyncio.run(_import_images(lab))
            yield lab, containerd
            asyncio.run(_remove_pods(lab))
    finally:
        asyncio.run(clean_up(lab.paths))
        subprocess.run(["ip", "netns", "delete", lab.namespace], check=True)
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def runtime_lab() -> Iterator[RuntimeLab]:
    with laboratory() as (lab, _):
        yield lab


class running_containerd:  # noqa: N801 - used like a function
    """Runs the lab's containerd within a `with`; kills it when told to."""

    def __init__(self, lab: RuntimeLab) -> None:
        self._lab = lab
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> running_containerd:
        prefix = ["nsenter", f"--net=/run/netns/{self._lab.namespace}"]
        command = ContainerdProcess(self._lab.paths, Machine.detect(), prefix=prefix).prepare()
        with (self._lab.paths.log / "containerd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        asyncio.run(wait_ready(self._lab.socket))
        return self

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def __exit__(self, *_: object) -> None:
        self.kill(signal.SIGTERM)


@pytest.fixture
async def cri(runtime_lab: RuntimeLab) -> AsyncIterator[CriClient]:
    """A client of the session's containerd. Pods that are left are removed after the test."""
    async with CriClient(runtime_lab.socket) as client:
        yield client
        await remove_pods(client)


async def _import_images(lab: RuntimeLab) -> None:
    busybox = shutil.which("busybox")
    assert busybox is not None
    source = ImageSource(BUSYBOX_IMAGE, busybox_files(Path(busybox)), command=["/bin/sh"])
    async with CriClient(lab.socket) as client:
        await ensure_image(client, pause_image())
        await ensure_image(client, source)


async def _remove_pods(lab: RuntimeLab) -> None:
    async with CriClient(lab.socket) as client:
        await remove_pods(client)


def _configure_network(paths: Paths) -> None:
    paths.cni_conf.mkdir(parents=True)
    plugin = {
        "type": "ptp",
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": str(paths.run / "cni"),
            "ranges": [[{"subnet": "10.244.7.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    network = {"cniVersion": "0.4.0", "name": "lab", "plugins": [plugin]}
    (paths.cni_conf / "10-lab.conflist").write_text(json.dumps(network))
