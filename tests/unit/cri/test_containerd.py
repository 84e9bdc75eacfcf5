"""The configuration of a private containerd, and what is said when there can't be one."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agents.cri import containerd
from agents.cri.client import CriClient
from agents.cri.containerd import (
    ContainerdError,
    ContainerdProcess,
    Machine,
    cgroup_parent,
    configuration,
    uses_systemd_cgroups,
    wait_ready,
)
from agents.cri.v1 import runtime_pb2 as cri
from orchestrator.paths import Paths
from tests.unit.cri.fake_runtime import FakeRuntime

PATHS = Paths(Path('/srv/a "quoted" place'))


def configured(machine: Machine, **options: str) -> dict[str, Any]:
    return tomllib.loads(configuration(PATHS, machine, **options))


def cri_section(found: dict[str, Any]) -> dict[str, Any]:
    section = found["plugins"]["io.containerd.grpc.v1.cri"]
    assert isinstance(section, dict)
    return section


def test_everything_of_it_is_below_its_root() -> None:
    found = configured(Machine(Path("/usr/lib/cni"), False, False), sandbox_image="registry.test/pause:9")
    section = cri_section(found)
    places = [found["root"], found["state"], found["grpc"]["address"], section["cni"]["conf_dir"]]
    places.append(section["containerd"]["runtimes"]["runc"]["options"]["Root"])
    assert all(place.startswith(str(PATHS.root)) for place in places)
    assert found["grpc"]["address"] == str(PATHS.containerd_socket)
    assert section["netns_mounts_under_state_dir"] is True
    assert section["stream_server_address"] == "127.0.0.1"
    assert section["sandbox_image"] == "registry.test/pause:9"
    assert section["cni"]["bin_dir"] == "/usr/lib/cni"


@pytest.mark.parametrize("may_lower", [True, False])
@pytest.mark.parametrize("systemd", [True, False])
def test_it_follows_what_the_machine_can_do(may_lower: bool, systemd: bool) -> None:
    section = cri_section(configured(Machine(Path("/x"), may_lower, systemd)))
    assert section["restrict_oom_score_adj"] is not may_lower
    assert section["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is systemd


@pytest.mark.parametrize(("systemd", "parent"), [(True, "navarch.slice"), (False, "/navarch")])
def test_cgroup_parents(systemd: bool, parent: str) -> None:
    assert cgroup_parent(systemd=systemd) == parent


def test_missing_plugins_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containerd, "_CNI_PLACES", (tmp_path,))
    with pytest.raises(ContainerdError, match="apt install containernetworking-plugins"):
        Machine.detect()
    (tmp_path / "bridge").touch()
    assert Machine.detect().cni_plugins == tmp_path
    assert Machine.detect(Path("/elsewhere")).cni_plugins == Path("/elsewhere")


def test_a_missing_program_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    process = ContainerdProcess(Paths(tmp_path), Machine(Path("/x"), True, False))
    with pytest.raises(ContainerdError, match=r"containerd is not installed \(apt install containerd\)"):
        process.prepare()


async def test_a_containerd_that_ends_at_once_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "containerd"
    program.write_text("#!/bin/sh\necho the disk is full\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(containerd, "_find", lambda *_: str(program))
    process = ContainerdProcess(Paths(tmp_path / "root"), Machine(Path("/x"), True, False))
    with pytest.raises(ContainerdError, match="containerd ended with 3: the disk is full"):
        await process.start()


async def test_waiting_for_a_runtime_that_never_comes_ends(tmp_path: Path) -> None:
    with pytest.raises(ContainerdError, match=r"is not ready after 0\.1 s: nothing listens"):
        await wait_ready(tmp_path / "absent.sock", 0.1)


@pytest.mark.parametrize("systemd", [True, False])
async def test_a_runtime_of_others_tells_who_makes_the_cgroups(tmp_path: Path, systemd: bool) -> None:
    runc = {"options": {"SystemdCgroup": systemd}}
    told = json.dumps({"containerd": {"defaultRuntimeName": "runc", "runtimes": {"runc": runc, "other": {}}}})
    runtime = FakeRuntime(tmp_path / "runtime.sock")
    runtime.answers["Status"] = lambda _: cri.StatusResponse(info={"config": told})
    await runtime.start()
    try:
        async with CriClient(runtime.socket) as client:
            assert await uses_systemd_cgroups(client) is systemd
            # One that doesn't tell: what such machines usually do.
            runtime.answers["Status"] = lambda _: cri.StatusResponse()
            expected = Machine.detect(Path("/")).systemd_cgroups
            assert await uses_systemd_cgroups(client) is expected
    finally:
        await runtime.stop()
