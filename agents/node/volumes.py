"""The volumes of this node's pods, as directories the runtime can mount.

    <node>/pods/<uid>/volumes/<name>       emptyDir, configMap, secret, downwardAPI, projected
    <node>/pods/<uid>/...                  what `mounts.py` adds for the containers

Preparing is idempotent: done again after a restart it finds what is there, keeps an emptyDir's content, and brings
projected files up to date. Secrets live in memory only. Removing unmounts everything first and deletes nothing while
a mount is left, for behind a mount is somebody else's data.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agents.mounting import MS_NODEV, MS_NOEXEC, MS_NOSUID, is_mount_point, mount, mounts_below, unmount_below
from agents.node.atomic_directory import write_directory
from agents.node.downward import Facts
from agents.node.errors import ConfigError
from agents.node.path_part import path_part
from agents.node.projection import ProjectedFile, References, is_projection, is_sensitive, references, volume_files
from agents.node.sources import Sources
from orchestrator.api.quantity import whole
from orchestrator.api.v1 import EmptyDirVolumeSource, HostPathVolumeSource, Pod, Volume
from orchestrator.paths import Paths

_FAILED = "FailedMount"


class Volumes:
    """All volumes below one node's directory."""

    def __init__(self, paths: Paths, sources: Sources) -> None:
        self._pods = paths.node / "pods"
        self._sources = sources

    def directory(self, pod_uid: str) -> Path:
        """Everything the node keeps for a pod."""
        if not pod_uid or "/" in pod_uid or pod_uid.startswith("."):
            raise ValueError(f"no pod uid: {pod_uid!r}")
        return self._pods / pod_uid

    def pod_uids(self) -> Sequence[str]:
        """The pods that have something here, finished removals apart."""
        if not self._pods.is_dir():
            return ()
        return sorted(path.name for path in self._pods.iterdir() if path.is_dir())

    def _make_private(self) -> None:
        """Other users of the machine have no business with what pods keep; containers come in by their mounts."""
        self._pods.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._pods.chmod(0o700)

    async def prepare(
        self, pod: Pod, *, pod_ips: Sequence[str], host_ips: Sequence[str], allocatable: Mapping[str, str]
    ) -> dict[str, Path]:
        """Makes all volumes ready; returns where they are, by name. Raises ConfigError (reason FailedMount)."""
        facts = Facts(pod_ips, host_ips, allocatable)
        await asyncio.to_thread(self._make_private)
        found = await self._fetch(pod)
        places: dict[str, Path] = {}
        for volume in pod.spec.volumes:
            try:
                places[volume.name] = await self._prepare(pod, volume, found, facts)
            except OSError as error:
                # An error of writing, as on a full disk, names no file.
                where = f": {error.filename}" if error.filename else ""
                raise ConfigError(_not_set_up(volume, f"{error.strerror}{where}"), _FAILED) from error
            except ConfigError as error:
                raise ConfigError(_not_set_up(volume, error.message), error.reason) from error
        return places

    async def refresh(
        self, pod: Pod, *, pod_ips: Sequence[str], host_ips: Sequence[str], allocatable: Mapping[str, str]
    ) -> bool:
        """Brings the files that come from API objects up to date; returns whether any changed. Raises ConfigError."""
        facts = Facts(pod_ips, host_ips, allocatable)
        found = await self._fetch(pod)
        changed = False
        for volume in pod.spec.volumes:
            place = self._place(pod, volume)
            if is_projection(volume) and place.is_dir():
                files = volume_files(pod, volume, found, facts)
                changed |= await asyncio.to_thread(write_directory, place, files, group=_group(pod))
        return changed

    async def excess(self, pod: Pod) -> str:
        """Which emptyDir on the disk holds more than its limit, in a sentence; nothing if none does.

        One in memory can't: the kernel sees to it.
        """
        for volume in pod.spec.volumes:
            source = volume.empty_dir
            limited = volume.HasField("empty_dir") and source.HasField("size_limit") and not source.medium
            if not limited or not whole(source.size_limit):
                continue
            if await asyncio.to_thread(_used, self._place(pod, volume)) > whole(source.size_limit):
                return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{source.size_limit}".'
        return ""

    async def remove(self, pod_uid: str) -> None:
        """Unmounts and deletes what a pod had. Can be repeated."""
        await asyncio.to_thread(_remove, self.directory(pod_uid))

    async def _fetch(self, pod: Pod) -> References:
        namespace = pod.metadata.namespace
        config_maps, secrets = references(pod.spec.volumes)
        return References(
            config_maps={name: await self._sources.config_map(namespace, name) for name in sorted(config_maps)},
            secrets={name: await self._sources.secret(namespace, name) for name in sorted(secrets)},
        )

    def _place(self, pod: Pod, volume: Volume) -> Path:
        return self.directory(pod.metadata.uid) / "volumes" / path_part(volume.name)

    async def _prepare(self, pod: Pod, volume: Volume, found: References, facts: Facts) -> Path:
        if volume.HasField("host_path"):
            return await asyncio.to_thread(_host_path, volume.host_path)
        place = self._place(pod, volume)
        if is_projection(volume):
            files = volume_files(pod, volume, found, facts)
            await asyncio.to_thread(_projection, place, files, _group(pod), is_sensitive(volume))
            return place
        others = [field.json_name for field, _ in volume.ListFields() if field.name not in ("name", "empty_dir")]
        if others:
            raise ConfigError(f"{others[0]} volumes are not supported", _FAILED)
        await asyncio.to_thread(_empty_dir, place, volume.empty_dir, pod)
        return place


def _not_set_up(volume: Volume, why: str) -> str:
    return f'MountVolume.SetUp failed for volume "{volume.name}" : {why}'


def _group(pod: Pod) -> int | None:
    context = pod.spec.security_context
    return context.fs_group if context.HasField("fs_group") else None


def _projection(place: Path, files: Mapping[str, ProjectedFile], group: int | None, sensitive: bool) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if sensitive and not is_mount_point(place):
        mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755")
    place.chmod(0o755)
    write_directory(place, files, group=group)


def _empty_dir(place: Path, source: EmptyDirVolumeSource, pod: Pod) -> None:
    fresh = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    if source.medium and not is_mount_point(place):
        fresh = True
        if source.medium == "Memory":
            size = _memory_size(source, pod)
            mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size}" if size else "")
        elif source.medium.startswith("HugePages"):
            size_of_page = source.medium.partition("-")[2].removesuffix("i")
            mount("nodev", place, "hugetlbfs", 0, f"pagesize={size_of_page}" if size_of_page else "")
        else:
            raise ConfigError(f'unknown storage medium "{source.medium}"', _FAILED)
    if fresh:
        # Containers may change the modes of what they were given: say them only once.
        group = _group(pod)
        if group is not None:
            os.chown(place, -1, group)
        place.chmod(0o777 if group is None else 0o2777)


def _memory_size(source: EmptyDirVolumeSource, pod: Pod) -> int:
    """Its limit, or what the containers may use together; 0: the kernel's default, half of the memory."""
    if source.HasField("size_limit") and whole(source.size_limit):
        return whole(source.size_limit)
    limits = [container.resources.limits.get("memory", "0") for container in pod.spec.containers]
    return sum(map(whole, limits)) if all(map(whole, limits)) else 0


def _used(place: Path) -> int:
    """The space that the files below a directory take on the disk, in bytes. They change meanwhile."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = (Path(directory) / name).lstat()
                seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def _host_path(source: HostPathVolumeSource) -> Path:
    path = Path(source.path)
    if source.type == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True)
    if source.type == "FileOrCreate" and not path.exists():
        # The directory is the user's business: a missing one is an error.
        path.touch(mode=0o644)
    check = _HOST_PATH_CHECKS.get(source.type)
    if check is not None:
        what, is_so = check
        if not path.exists():
            raise ConfigError(f"hostPath type check failed: {path} does not exist", _FAILED)
        if not is_so(path.stat().st_mode):
            raise ConfigError(f"hostPath type check failed: {path} is not a {what}", _FAILED)
    return path


_HOST_PATH_CHECKS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Directory": ("directory", stat.S_ISDIR),
    "DirectoryOrCreate": ("directory", stat.S_ISDIR),
    "File": ("file", stat.S_ISREG),
    "FileOrCreate": ("file", stat.S_ISREG),
    "Socket": ("socket file", stat.S_ISSOCK),
    "CharDevice": ("character device", stat.S_ISCHR),
    "BlockDevice": ("block device", stat.S_ISBLK),
}


def _remove(directory: Path) -> None:
    unmount_below(directory)
    left = mounts_below(directory)
    if left:
        raise OSError(f"still mounted: {left[0]}")
    if directory.exists():
        shutil.rmtree(directory)
