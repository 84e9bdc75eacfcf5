"""What a killed containerd leaves behind is found and removed."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.cri.client import CriClient
from agents.cri.images import ImageSource, busybox_files, ensure_image, pause_image
from agents.cri.leftovers import clean_up
from agents.cri.v1 import runtime_pb2 as cri_v1
from agents.mounting import mounts_below
from orchestrator.paths import Paths
from tests.node.conftest import BUSYBOX_IMAGE, RuntimeLab, running_containerd
from tests.node.pods import PodRunner, make_pod
from tests.requires import require_program, require_root


@pytest.fixture
def lab() -> Iterator[RuntimeLab]:
    """A containerd of the test's own, to be killed."""
    require_root()
    require_program("containerd", "runc", "ctr", "ip", "nsenter", "busybox")
    root = Path(tempfile.mkdtemp(prefix="navarch-lab-"))
    made = RuntimeLab(Paths(root), f"navarch-{secrets.token_hex(4)}")
    subprocess.run(["ip", "netns", "add", made.namespace], check=True)
    subprocess.run(["ip", "-n", made.namespace, "link", "set", "lo", "up"], check=True)
    yield made
    asyncio.run(clean_up(made.paths))
    subprocess.run(["ip", "netns", "delete", made.namespace], check=True)
    shutil.rmtree(root)


async def start_pod(lab: RuntimeLab) -> str:
    busybox = shutil.which("busybox")
    assert busybox is not None
    async with CriClient(lab.socket) as client:
        await ensure_image(client, pause_image())
        await ensure_image(client, ImageSource(BUSYBOX_IMAGE, busybox_files(Path(busybox))))
        pod = make_pod(main=["sleep", "987654"])
        # The lab has no CNI configuration: the node's network does.
        pod.spec.host_network = True
        return (await PodRunner(lab.paths, client).start(pod))["main"]


async def state_of(lab: RuntimeLab, container_id: str) -> int:
    async with CriClient(lab.socket) as client:
        return (await client.container_status(container_id)).state


def test_containers_outlive_their_containerd_and_end_with_the_clean_up(lab: RuntimeLab) -> None:
    with running_containerd(lab) as containerd:
        container_id = asyncio.run(start_pod(lab))
        containerd.kill()
    assert "sleep 987654" in _processes()
    # The next one takes them over as they are.
    with running_containerd(lab) as containerd:
        assert asyncio.run(state_of(lab, container_id)) == cri_v1.CONTAINER_RUNNING
        containerd.kill()
    assert mounts_below(lab.paths.root)

    asyncio.run(clean_up(lab.paths))
    left = _processes()
    assert "sleep 987654" not in left
    assert str(lab.socket) not in left
    assert not mounts_below(lab.paths.root)
    assert not lab.socket.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/navarch/{container_id}"))

    # And all begins again, with the images still there.
    with running_containerd(lab):
        again = asyncio.run(start_pod(lab))
        assert asyncio.run(state_of(lab, again)) == cri_v1.CONTAINER_RUNNING


def _processes() -> str:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return "\n".join(found)
