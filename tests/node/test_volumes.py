"""Volumes that need real mounts: memory, pinned paths, removal."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.mounting import bind, is_mount_point, mounts_below, unmount_below
from agents.node.errors import ConfigError
from agents.node.mounts import pin_sub_path
from agents.node.volumes import Volumes
from orchestrator.api.v1 import Pod, Secret
from orchestrator.paths import Paths
from tests.node.pods import Objects, make_pod
from tests.requires import require_root


@pytest.fixture(autouse=True)
def as_root() -> None:
    require_root()


@pytest.fixture
async def volumes(tmp_path: Path) -> AsyncIterator[Volumes]:
    made = Volumes(Paths(tmp_path), Objects(secrets={"keys": Secret(data={"token": b"s3cret"})}))
    yield made
    unmount_below(tmp_path)


async def prepare(volumes: Volumes, pod: Pod) -> dict[str, Path]:
    return await volumes.prepare(pod, pod_ips=[], host_ips=[], allocatable={})


async def test_secrets_never_reach_the_disk_and_nobody_else_can_look(volumes: Volumes) -> None:
    pod = make_pod(main=["true"])
    pod.spec.volumes.add(name="keys").secret.secret_name = "keys"
    place = (await prepare(volumes, pod))["keys"]
    assert is_mount_point(place)
    assert os.statvfs(place).f_fsid != os.statvfs(place.parent).f_fsid
    assert (place / "token").read_bytes() == b"s3cret"
    pods = volumes.directory(pod.metadata.uid).parent
    assert stat.S_IMODE(pods.stat().st_mode) == 0o700


async def test_preparing_again_keeps_what_containers_have_written(volumes: Volumes) -> None:
    pod = make_pod(main=["true"])
    pod.spec.volumes.add(name="disk").empty_dir.SetInParent()
    pod.spec.volumes.add(name="memory").empty_dir.medium = "Memory"
    places = await prepare(volumes, pod)
    for place in places.values():
        (place / "file").write_text("kept")
        place.chmod(0o700)
    again = await prepare(volumes, pod)
    assert again == places
    assert {(place / "file").read_text() for place in places.values()} == {"kept"}
    assert {stat.S_IMODE(place.stat().st_mode) for place in places.values()} == {0o700}
    assert len(mounts_below(places["memory"])) == 1


@pytest.mark.parametrize(
    ("size_limit", "limits", "size"),
    [("2Mi", ["64Mi"], 2 << 20), ("", ["4Mi", "4Mi"], 8 << 20), ("", ["4Mi", ""], None)],
)
async def test_memory_volumes_have_a_size(
    volumes: Volumes, size_limit: str, limits: list[str], size: int | None
) -> None:
    pod = make_pod(**{f"c{number}": ["true"] for number in range(len(limits))})
    for container, limit in zip(pod.spec.containers, limits, strict=True):
        if limit:
            container.resources.limits["memory"] = limit
    source = pod.spec.volumes.add(name="memory").empty_dir
    source.medium = "Memory"
    if size_limit:
        source.size_limit = size_limit
    place = (await prepare(volumes, pod))["memory"]
    found = os.statvfs(place)
    capacity = found.f_blocks * found.f_frsize
    assert capacity == size if size is not None else capacity > 16 << 20


async def test_host_paths_are_what_they_are_said_to_be(volumes: Volumes, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()

    async def check(name: str, kind: str) -> str:
        pod = make_pod(main=["true"])
        source = pod.spec.volumes.add(name="host").host_path
        source.path, source.type = str(tmp_path / name), kind
        try:
            assert await prepare(volumes, pod) == {"host": tmp_path / name}
        except ConfigError as error:
            assert error.reason == "FailedMount"
            assert error.message.startswith('MountVolume.SetUp failed for volume "host" : ')
            return error.message.partition(" : ")[2].replace(str(tmp_path), "")
        return "ok"

    assert await check("absent", "") == "ok"
    assert await check("file", "File") == "ok"
    assert await check("file", "Directory") == "hostPath type check failed: /file is not a directory"
    assert await check("directory", "File") == "hostPath type check failed: /directory is not a file"
    assert await check("absent", "Socket") == "hostPath type check failed: /absent does not exist"
    assert await check("made/deep", "DirectoryOrCreate") == "ok"
    assert (tmp_path / "made" / "deep").is_dir()
    assert await check("made/file", "FileOrCreate") == "ok"
    assert (tmp_path / "made" / "file").is_file()
    assert "No such file" in await check("nowhere/file", "FileOrCreate")


async def test_a_kind_of_volume_that_is_not_mounted_is_refused(volumes: Volumes) -> None:
    pod = make_pod(main=["true"])
    pod.spec.volumes.add(name="share").persistent_volume_claim.claim_name = "data"
    with pytest.raises(ConfigError, match='volume "share" : persistentVolumeClaim volumes are not supported'):
        await prepare(volumes, pod)


async def test_removing_takes_all_of_the_pod_and_nothing_of_others(volumes: Volumes, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    pod = make_pod(main=["true"])
    pod.spec.volumes.add(name="keys").secret.secret_name = "keys"
    pod.spec.volumes.add(name="disk").empty_dir.SetInParent()
    places = await prepare(volumes, pod)
    (places["disk"] / "link").symlink_to(outside)
    pinned = volumes.directory(pod.metadata.uid) / "subpaths" / "main" / "0"
    pinned.mkdir(parents=True)
    bind(str(outside), pinned)
    assert volumes.pod_uids() == [pod.metadata.uid]
    await volumes.remove(pod.metadata.uid)
    await volumes.remove(pod.metadata.uid)
    assert volumes.pod_uids() == []
    assert (outside / "precious").read_text() == "x"
    assert not mounts_below(tmp_path)


@pytest.mark.parametrize("uid", ["", ".", "..", "a/b", "../../etc"])
def test_only_a_pods_own_directory_can_be_meant(volumes: Volumes, uid: str) -> None:
    with pytest.raises(ValueError):
        volumes.directory(uid)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    (made / "in" / "side").mkdir(parents=True)
    (made / "in" / "file").write_text("content")
    (made / "inwards").symlink_to("in/side")
    (made / "absolute").symlink_to("/etc")
    (made / "upwards").symlink_to("../../etc")
    (tmp_path / "secret").write_text("outside")
    (made / "in" / "sibling").symlink_to("../../secret")
    return made


@pytest.mark.parametrize(
    "path", ["in/side", "inwards", "inwards/", "./in//side", "new", "new/deep", "inwards/new/deep"]
)
def test_paths_inside_are_pinned(volumes: Volumes, volume: Path, tmp_path: Path, path: str) -> None:
    pinned = tmp_path / "pins" / "0"
    pin_sub_path(volume, path, pinned)
    (pinned / "made").write_text("through the pin")
    assert (volume / path / "made").read_text() == "through the pin"


def test_who_may_write_to_the_volume_may_write_to_a_new_sub_path(
    volumes: Volumes, volume: Path, tmp_path: Path
) -> None:
    volume.chmod(0o2777)
    pin_sub_path(volume, "new/deep", tmp_path / "pins" / "0")
    assert [stat.S_IMODE((volume / path).stat().st_mode) for path in ("new", "new/deep")] == [0o2777] * 2


async def test_an_empty_dir_is_held_to_its_limit(volumes: Volumes) -> None:
    pod = make_pod(main=["true"])
    pod.spec.volumes.add(name="free").empty_dir.SetInParent()
    pod.spec.volumes.add(name="data").empty_dir.size_limit = "1Mi"
    places = await prepare(volumes, pod)
    for place in places.values():
        (place / "below").mkdir()
        (place / "below" / "file").write_bytes(b"x" * 900_000)
        # Another name takes no space.
        (place / "same").hardlink_to(place / "below" / "file")
    assert await volumes.excess(pod) == ""
    (places["free"] / "more").write_bytes(b"x" * 900_000)
    assert await volumes.excess(pod) == ""
    (places["data"] / "more").write_bytes(b"x" * 900_000)
    assert await volumes.excess(pod) == 'Usage of EmptyDir volume "data" exceeds the limit "1Mi".'


def test_a_file_is_pinned_as_a_file_and_again_after_it_was_replaced(
    volumes: Volumes, volume: Path, tmp_path: Path
) -> None:
    pinned = tmp_path / "pins" / "0"
    pin_sub_path(volume, "in/file", pinned)
    assert pinned.read_text() == "content"
    (volume / "in" / "file").unlink()
    (volume / "in" / "file").mkdir()
    pin_sub_path(volume, "in/file", pinned)
    assert pinned.is_dir()
    assert len(mounts_below(pinned)) == 1


@pytest.mark.parametrize(
    "path",
    ["absolute", "absolute/passwd", "upwards", "upwards/new", "in/sibling", "../secret", "in/../../secret", "/etc"],
)
def test_paths_that_lead_out_are_refused(volumes: Volumes, volume: Path, tmp_path: Path, path: str) -> None:
    pinned = tmp_path / "pins" / "0"
    with pytest.raises(OSError) as error:
        pin_sub_path(volume, path, pinned)
    assert error.value.errno == errno.EXDEV
    assert not mounts_below(pinned)


def test_a_pin_stays_when_the_path_is_turned_elsewhere(volumes: Volumes, volume: Path, tmp_path: Path) -> None:
    pinned = tmp_path / "pins" / "0"
    pin_sub_path(volume, "in/side", pinned)
    (volume / "in" / "side").rename(volume / "moved")
    (volume / "in" / "side").symlink_to("/etc")
    assert not (pinned / "passwd").exists()
